package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// writeTimeout bounds a write with all its attempts.
	writeTimeout = 30 * time.Second

	// replicaTimeout bounds the wait for replicas. What the library does after a token request, it
	// does in 15 seconds.
	replicaTimeout = 5 * time.Second
)

// persist runs a script that changes a value, and tries again while the database cannot be
// reached or changes its primary server: the value may be the only copy of a refresh token.
func (db *Database) persist(
	ctx context.Context, script *redis.Script, keys []string, args ...any,
) (done bool, err error) {
	if ctx.Err() != nil {
		return false, unusable(ctx, ctx.Err())
	}
	// Once a script is sent, the caller's context does not end it.
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	for wait := firstPoll; ; wait = min(2*wait, lastPoll) {
		done, err = db.run(sending, script, keys, args...)
		switch {
		case err == nil:
			return done, nil
		case !passes(err):
			return false, unusable(ctx, err)
		}
		if cluster, ok := db.client.(*redis.ClusterClient); ok {
			cluster.ReloadState(sending)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return false, unusable(ctx, err)
		case <-sending.Done():
			return false, unusable(ctx, err)
		}
	}
}

// run runs a script that writes and that returns 1, or 0 if it does nothing. It waits for replicas.
func (db *Database) run(
	ctx context.Context, script *redis.Script, keys []string, args ...any,
) (done bool, err error) {
	if db.replicas == 0 {
		number, err := script.Run(ctx, db.client, keys, args...).Int()
		return number == 1, err
	}
	server, err := db.serverOf(ctx, keys[0])
	if err != nil {
		return false, err
	}
	conn := server.Conn() // WAIT is about what was written on its own connection
	defer conn.Close()
	number, err := script.Run(ctx, conn, keys, args...).Int()
	if number == 0 || err != nil {
		return false, err
	}
	reached, err := conn.Wait(ctx, db.replicas, replicaTimeout).Result()
	if err == nil && reached < int64(db.replicas) {
		err = &replicaError{reached, db.replicas}
	}
	return err == nil, err
}

// serverOf returns the client of the primary server that has a key.
func (db *Database) serverOf(ctx context.Context, key string) (*redis.Client, error) {
	if cluster, ok := db.client.(*redis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, key)
	}
	return db.client.(*redis.Client), nil // New takes no other
}

// replicaError reports that too few replicas have a write.
type replicaError struct {
	reached int64
	wanted  int
}

func (e *replicaError) Error() string {
	return fmt.Sprintf("%d of %d replicas have what was written", e.reached, e.wanted)
}

// passing are the errors of a server that is about to be another one, or to have another part of
// the keys.
var passing = []string{
	"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "NOREPLICAS",
	"UNBLOCKED",
}

// passes reports whether another attempt may succeed.
func passes(err error) bool {
	if e, ok := errors.AsType[redis.Error](err); ok {
		code, _, _ := strings.Cut(e.Error(), " ")
		return slices.Contains(passing, code)
	}
	if _, ok := errors.AsType[*replicaError](err); ok {
		return false
	}
	return !errors.Is(err, redis.ErrClosed)
}
