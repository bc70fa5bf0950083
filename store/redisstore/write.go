package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/handstamp/handstamp/store"

	"github.com/handstamp/handstamp/internal/awake"
)

const (
	// writeTimeout bounds a write with all its attempts, by the time that the process is awake:
	// after a stop it tries again, and the lock is not given up with the value unwritten.
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
	sending, cancel := awake.WithTimeout(context.WithoutCancel(ctx), db.writeTime, nil)
	defer cancel()
	sent := false // and the response did not come
	for wait := firstPoll; ; wait = min(2*wait, lastPoll) {
		done, err = db.run(sending, once, script, keys, args...)
		switch {
		case err == nil && !done && sent:
			return false, errUnclear
		case err == nil:
			return done, nil
		case !passes(err):
			return false, unusable(ctx, err)
		}
		sent = sent || lostResponse(err)
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

// errUnclear is what a write returns that is not there, although it may have been carried out before
// its connection broke: another write came after it, or in its place.
var errUnclear = fmt.Errorf("%w: the connection to Redis broke during a write, and it is not known "+
	"whether it was carried out before another one was", store.ErrUnusable)

// lostResponse reports whether a script may have been carried out although it has failed.
func lostResponse(err error) bool {
	if _, ok := errors.AsType[redis.Error](err); ok {
		return false // which the server has rejected
	}
	failed, ok := errors.AsType[*net.OpError](err)
	return !ok || failed.Op != "dial"
}

// processor is a client, or one connection of it.
type processor interface {
	redis.Scripter
	Process(ctx context.Context, cmd redis.Cmder) error
}

// often runs scripts that the client sends again by itself.
func often(p processor) redis.Scripter { return p }

// once runs scripts that it does not: whoever sends a write again has to know that it does.
func once(p processor) redis.Scripter { return onceScripter{p} }

type onceScripter struct{ processor }

// Eval implements redis.Scripter.
func (s onceScripter) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return s.do(ctx, "eval", script, keys, args)
}

// EvalSha implements redis.Scripter.
func (s onceScripter) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return s.do(ctx, "evalsha", sha, keys, args)
}

func (s onceScripter) do(
	ctx context.Context, name, script string, keys []string, args []any,
) *redis.Cmd {
	all := []any{name, script, len(keys)}
	for _, key := range keys {
		all = append(all, key)
	}
	cmd := redis.NewCmd(ctx, append(all, args...)...)
	cmd.SetFirstKeyPos(3)
	_ = s.Process(ctx, onceCmd{cmd}) // cmd has the error
	return cmd
}

// onceCmd is a command that a client does not send again.
type onceCmd struct{ *redis.Cmd }

// NoRetry implements redis.Cmder.
func (onceCmd) NoRetry() bool { return true }

// run runs a script that writes and that returns 1, or 0 if it does nothing. It waits for replicas.
func (db *Database) run(
	ctx context.Context, times func(processor) redis.Scripter, script *redis.Script,
	keys []string, args ...any,
) (done bool, err error) {
	if db.replicas == 0 {
		number, err := script.Run(ctx, times(db.client), keys, args...).Int()
		return number == 1, err
	}
	server, err := db.serverOf(ctx, keys[0])
	if err != nil {
		return false, err
	}
	conn := server.Conn() // WAIT is about what was written on its own connection
	defer conn.Close()
	number, err := script.Run(ctx, times(conn), keys, args...).Int()
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
// the keys, or that runs another's script.
var passing = []string{
	"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "NOREPLICAS",
	"UNBLOCKED", "BUSY",
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
