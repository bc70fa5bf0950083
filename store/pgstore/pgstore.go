// Package pgstore keeps credentials in PostgreSQL, for any number of replicas, tenants and users.
//
//	pool, err := pgxpool.New(ctx, databaseURL) // New names the timeouts that it needs
//	db, err := pgstore.New(ctx, pool, pgstore.Options{Keys: []sealed.Key{key}})
//	ada, err := db.Store(store.Owner{Tenant: "acme", User: "ada"})
//	client := &handstamp.Client{Store: ada}
//
// The tables are those of [Schema]; [Database.CreateSchema] creates them.
//
// # Locks
//
// The lock of a refresh is an advisory lock of a transaction, which is open for as long as the
// request to the authorization server takes. It does not end before its holder, however long that
// is suspended. A lease, which the holder extends, keeps others away when the lock ends with its
// connection, as it does when the server is restarted. These transactions have a pool of their own,
// whose size bounds how many refreshes a replica has under way. Whoever waits for a lock holds no
// connection. The lock of a login, for which a user needs minutes, is a lease alone.
//
// # Failures
//
// A read or a write whose connection breaks is repeated in another one. Where there is no server,
// methods fail with [store.ErrUnusable]; they work again when it is back.
//
// # PgBouncer
//
// All of it works behind PgBouncer in transaction mode, but for [Options.Listen], which has to be a
// connection to the server itself. Statements are prepared until the first error shows that there is
// a pooler that does not keep them.
package pgstore

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/internal/locks"
	"github.com/handstamp/handstamp/store/sealed"
)

// Options are what a [Database] needs in addition to a pool. The zero value keeps values in the clear.
type Options struct {
	// Keys seal the values: the first one seals, and all of them open what they have sealed. To
	// change the key, first give the new one to all replicas as a further key, then put it first;
	// after [Database.Reseal] the old one can go. None: values are kept in the clear, and whoever
	// reads the database has the tokens.
	Keys []sealed.Key

	// Listen is a connection with which [Database.Watch] learns at once what other replicas change:
	// the pool's (pool.Config().ConnConfig), or behind PgBouncer, which keeps no LISTEN, one that goes
	// to the server itself. Nil, or one that ends at PgBouncer: every [Options.Poll] everything is
	// taken for changed.
	Listen *pgx.ConnConfig

	// Poll is how often that is. Zero is a minute.
	Poll time.Duration

	// Refreshes is how many refreshes this replica has under way at one MCP server at most, each with
	// a connection of its own, not from the pool. For those at others there are a quarter more:
	// one whose authorization server hangs does not hold them up. Zero is 8.
	Refreshes int32
}

const defaultRefreshes = 8

// Database keeps the credentials of all tenants and users. Its methods may be called concurrently.
type Database struct {
	pool    *pgxpool.Pool
	refresh *pgxpool.Pool // for transactions that are the lock of a refresh
	keys    []sealed.Key

	pooled     atomic.Bool       // statements cannot be prepared
	unprepared pgx.QueryExecMode // is the mode that works all the same

	waits     locks.Set[lockName] // one goroutine of this process waits for a lock of the database
	refreshes locks.Set[string]   // at one server: that one that hangs does not take all connections

	changes  *notifier
	listen   *pgx.ConnConfig
	pollEach time.Duration

	mu      sync.Mutex
	held    map[string]*refreshLock // guarded by mu; by the credential's id
	orphans map[lockName]orphan     // guarded by mu; those that were found lately
}

// New returns the Database behind a pool, which stays the caller's. It should have a ConnectTimeout
// and a PingTimeout: without them, a server that does not respond, or that has vanished in a
// failover, takes all of its connections for a minute or more. [Database.Close] closes the
// connections that the Database has of its own.
func New(ctx context.Context, pool *pgxpool.Pool, o Options) (*Database, error) {
	config := pool.Config()
	refreshes := cmp.Or(max(o.Refreshes, 0), defaultRefreshes)
	config.MaxConns, config.MinConns, config.MinIdleConns = refreshes+max(refreshes/4, 1), 0, 0
	// A pool goes on connecting to a server that is there and does not respond, although no caller
	// waits for it any more; another one that takes over would find no connection left.
	config.ConnConfig.ConnectTimeout = cmp.Or(config.ConnConfig.ConnectTimeout, connectTimeout)
	// A connection that was idle is tried first. Where its server has vanished, nothing ends that.
	config.PingTimeout = cmp.Or(config.PingTimeout, pingTimeout)
	config.ConnConfig.DefaultQueryExecMode = unprepared(pool)
	refresh, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("pgstore: %w", err)
	}
	db := &Database{
		pool: pool, refresh: refresh, keys: o.Keys, unprepared: unprepared(pool),
		changes: newNotifier(pool), listen: o.Listen, pollEach: o.Poll,
		refreshes: locks.Set[string]{Holders: int(refreshes)},
		held:      make(map[string]*refreshLock), orphans: make(map[lockName]orphan),
	}
	// What is prepared in one round trip would be another's statement in the next.
	db.pooled.Store(pool.Config().ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeDescribeExec)
	return db, nil
}

// Close closes the connections of refreshes, and waits for those under way. Close the pool after
// it.
func (db *Database) Close() {
	db.refresh.Close()
	db.changes.close()
}

// Store returns the store of one user. It can read, list, lock and change what that user has, and
// nothing else.
func (db *Database) Store(o store.Owner) (store.Store, error) {
	if err := o.Check(); err != nil {
		return nil, fmt.Errorf("pgstore: %w", err)
	}
	return db.seal(&ownedStore{db: db, owner: o}, o), nil
}

// seal seals the values of a user's store, if there is a key.
func (db *Database) seal(s store.Store, o store.Owner) store.Store {
	if len(db.keys) == 0 {
		return s
	}
	keys := make([]sealed.Key, len(db.keys))
	for i, key := range db.keys {
		keys[i] = key.For(o.Tenant, o.User)
	}
	return sealed.New(s, keys[0], keys[1:]...)
}

var _ store.Database = (*Database)(nil)

// unusable is what the store's callers get when the database fails: the context's error, or
// [store.ErrUnusable].
func unusable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("pgstore: %w", ctx.Err())
	}
	return fmt.Errorf("%w: PostgreSQL: %w", store.ErrUnusable, err)
}
