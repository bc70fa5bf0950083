package redisstore

import (
	"context"
	"errors"
	mathrand "math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/handstamp/handstamp/store"
)

const (
	// idSize is the size of an ID of an owner or a key.
	idSize = 16

	// quietTime is how long a connection that listens may say nothing before it is tested.
	quietTime = 20 * time.Second

	// pollTime is how often everything is taken for changed while nothing listens.
	pollTime = time.Minute

	// How long a lost connection is waited for: a moment at first.
	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// channel is where changes are announced, in a Cluster on all servers.
func (db *Database) channel() string { return db.prefix + ":change" }

// message announces a change, without any name.
func (db *Database) message(owner, key string) string { return db.self + " " + owner + key }

// changeIn returns the change that a message of another sender announces.
func (db *Database) changeIn(message string) (change store.Change, ok bool) {
	sender, ids, _ := strings.Cut(message, " ")
	if sender == db.self || len(ids) != 2*idSize {
		return store.Change{}, false
	}
	return store.Change{Owner: ids[:idSize], Key: ids[idSize:]}, true
}

// Watch implements [store.Watcher]. It has a connection of its own, on which it subscribes to the
// channel "change" with the prefix of the keys. While it cannot, everything may have changed once a
// minute.
func (db *Database) Watch(ctx context.Context, changed func(store.Change)) error {
	var reported time.Time
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		if db.follow(ctx, changed) {
			reported, wait = time.Now(), firstRetry // it did listen
		} else if time.Since(reported) >= db.poll {
			changed(store.Change{})
			reported = time.Now()
		}
		select {
		case <-time.After(wait/2 + mathrand.N(wait)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var _ store.Watcher = (*Database)(nil)

// follow reports changes until the connection is lost, and whether there was one.
func (db *Database) follow(ctx context.Context, changed func(store.Change)) (listened bool) {
	subscription := db.client.Subscribe(ctx, db.channel())
	defer subscription.Close()
	// A read does not end with its context.
	defer context.AfterFunc(ctx, func() { _ = subscription.Close() })()
	tested := false // no response to a test since
	for ctx.Err() == nil {
		message, err := subscription.ReceiveTimeout(ctx, quietTime)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() && listened && !tested {
			err = subscription.Ping(ctx)
			tested = true
		} else {
			tested = false
		}
		if err != nil {
			break
		}
		switch m := message.(type) {
		case *redis.Subscription: // at the beginning, and after go-redis has lost the connection
			listened = true
			changed(store.Change{})
		case *redis.Message:
			if change, ok := db.changeIn(m.Payload); ok {
				changed(change)
			}
		}
	}
	return listened
}
