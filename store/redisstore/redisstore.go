// Package redisstore keeps credentials in Redis or Valkey, alone, with Sentinel or as a Cluster.
//
//	client := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: addresses})
//	db, err := redisstore.New(ctx, client, redisstore.Options{Keys: []sealed.Key{key}})
//	ada, err := db.Store(store.Owner{Tenant: "acme", User: "ada"})
//	auth := &handstamp.Client{Store: ada}
//
// # What it cannot promise
//
// A lock is a lease: it is extended while its holder is alive, and expires when the holder is
// suspended for longer than [LeaseTime]. Then two replicas may use one refresh token, and a server
// that detects that ends the login. What is stored is still right, since each write compares the
// revision. Package pgstore has locks that do not expire.
//
// Redis acknowledges a write before a replica or, with appendfsync everysec, the disk has it. A
// server that crashes or fails over may lose the last refresh tokens that were issued, and with
// them logins. Options.Replicas waits for replicas; appendfsync always waits for the disk.
package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/internal/locks"
	"github.com/handstamp/handstamp/store/sealed"
)

// Options are what a [Database] needs in addition to a client. The zero value keeps values in the clear.
type Options struct {
	// Keys seal the values: the first one seals, and all of them open what they have sealed. To
	// change the key, first give the new one to all processes as a further key, then put it first.
	// None: values are kept in the clear, and whoever reads the database has the tokens.
	Keys []sealed.Key

	// Prefix begins the names of all keys in the database. Empty is "handstamp".
	Prefix string

	// Replicas is how many replicas must have a value before a write succeeds, and a lock before it
	// is held (WAIT). What they do not have after 5 seconds is store.ErrUnusable, though it may be
	// stored. To lose nothing in a failover, name all replicas that may take the primary server's
	// place: Sentinel may choose any of them. Zero does not wait.
	Replicas int

	// InsecureAllowLoss accepts a server that evicts keys or has no persistence: logins are then
	// lost when it is full or starts again.
	InsecureAllowLoss bool
}

// Database keeps the credentials of all tenants and users. Its methods may be called concurrently.
type Database struct {
	client   redis.UniversalClient
	keys     []sealed.Key
	prefix   string
	replicas int
	self     string            // the sender of this handle's changes
	waits    locks.Set[string] // one goroutine of this process waits for a lock of the database

	lease, writeTime, poll time.Duration // LeaseTime, writeTimeout and pollTime, but in tests
}

// New returns the Database behind a client, which stays the caller's. It fails if the server would
// lose logins by its configuration; see [Options].
func New(ctx context.Context, client redis.UniversalClient, o Options) (*Database, error) {
	db := &Database{
		client: client, keys: o.Keys, prefix: o.Prefix, replicas: o.Replicas,
		self: rand.Text(), lease: LeaseTime, writeTime: writeTimeout, poll: pollTime,
	}
	if db.prefix == "" {
		db.prefix = "handstamp"
	}
	if strings.ContainsAny(db.prefix, "{}") {
		return nil, errors.New("redisstore: Options.Prefix must not have braces, which mark hash tags")
	}
	if err := checkClient(client); err != nil {
		return nil, err
	}
	if o.InsecureAllowLoss {
		return db, nil
	}
	if err := eachServer(ctx, client, checkServer); err != nil {
		return nil, err
	}
	return db, nil
}

// checkClient rejects a client that may read what was replaced.
func checkClient(client redis.UniversalClient) error {
	switch c := client.(type) {
	case *redis.Client:
		return nil
	case *redis.ClusterClient:
		if o := c.Options(); !o.ReadOnly && !o.RouteByLatency && !o.RouteRandomly {
			return nil
		}
		return errors.New("redisstore: the client reads from replicas, which may have refresh tokens " +
			"that were used: it must not set ReadOnly, ReplicaOnly, RouteByLatency or RouteRandomly")
	}
	return fmt.Errorf("redisstore: a %T is no client of a server, Sentinel or a Cluster", client)
}

// eachServer calls check with each server that has keys.
func eachServer(
	ctx context.Context, client redis.UniversalClient,
	check func(context.Context, redis.UniversalClient) error,
) error {
	if cluster, ok := client.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
			return check(ctx, c)
		})
	}
	return check(ctx, client)
}

// checkServer rejects a server that loses what is stored.
func checkServer(ctx context.Context, c redis.UniversalClient) error {
	var info string
	for _, section := range []string{"memory", "persistence", "replication"} {
		text, err := c.Info(ctx, section).Result()
		if err != nil {
			return unusable(ctx, err)
		}
		info += text
	}
	if field(info, "role") == "slave" {
		return errors.New("redisstore: the server is a replica: use the primary server, or Sentinel")
	}
	if policy := field(info, "maxmemory_policy"); policy != "noeviction" {
		return fmt.Errorf("redisstore: the server evicts keys when it is full (maxmemory-policy %s), "+
			"and with them logins: set noeviction, or Options.InsecureAllowLoss", policy)
	}
	if field(info, "aof_enabled") != "1" {
		return errors.New("redisstore: the server has no append-only file, and loses logins when it " +
			"starts again: set appendonly yes, or Options.InsecureAllowLoss")
	}
	return nil
}

// field returns a field of the output of INFO.
func field(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Store returns the store of one user. It can read, list, lock and change what that user has, and
// nothing else.
func (db *Database) Store(o store.Owner) (store.Store, error) {
	if err := o.Check(); err != nil {
		return nil, fmt.Errorf("redisstore: %w", err)
	}
	s := newOwnedStore(db, o)
	if len(db.keys) == 0 {
		return s, nil
	}
	keys := make([]sealed.Key, len(db.keys))
	for i, key := range db.keys {
		keys[i] = key.For(o.Tenant, o.User)
	}
	return sealed.New(s, keys[0], keys[1:]...), nil
}

var _ store.Database = (*Database)(nil)

// unusable is what the store's callers get when the database fails: the context's error, or
// [store.ErrUnusable].
func unusable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("redisstore: %w", ctx.Err())
	}
	return fmt.Errorf("%w: Redis: %w", store.ErrUnusable, err)
}
