//go:build unix

package history

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
	"github.com/handstamp/handstamp/store/pgstore"
	"github.com/handstamp/handstamp/store/redisstore"
	"github.com/handstamp/handstamp/store/sealed"
)

// The stores, as tests and tables name them.
const (
	file      = "file"
	encrypted = "encrypted file"
	postgres  = "PostgreSQL"
	redisName = "Redis"
)

var allStores = []string{file, encrypted, postgres, redisName}

// place is where a store is. Each process opens it for itself.
type place struct {
	Store string // one of allStores
	Where string // a folder, PostgreSQL's connection string, or Redis's socket
}

// watch is what a process sees of its own store's work. Both functions may be nil.
type watch struct {
	step func(filestore.Step)    // of a write of the file store
	conn func(net.Conn) net.Conn // a connection to a database
	warn func(message string)    // a notice of the file store
}

// testKey seals what is not in plain files.
var testKey = func() sealed.Key {
	key, err := sealed.NewKey(make([]byte, sealed.KeySize))
	if err != nil {
		panic(err)
	}
	return key
}()

// opened is a store with what has to be closed.
type opened struct {
	store.Store
	close func()
}

// open opens the store with connections of its own.
func (p place) open(ctx context.Context, w watch) (*opened, error) {
	switch p.Store {
	case file, encrypted:
		return p.openFile(w)
	case postgres:
		return p.openPostgres(ctx, w)
	case redisName:
		return p.openRedis(ctx, w)
	}
	return nil, fmt.Errorf("no store %q", p.Store)
}

func (p place) openFile(w watch) (*opened, error) {
	s, err := filestore.Open(filestore.Options{Dir: p.Where, Trace: w.step, Warn: w.warn})
	if err != nil {
		return nil, err
	}
	if p.Store == encrypted {
		return &opened{sealed.New(s, testKey), func() {}}, nil
	}
	return &opened{s, func() {}}, nil
}

func (p place) openPostgres(ctx context.Context, w watch) (*opened, error) {
	// Without prepared statements each statement is one write to the connection.
	config, err := pgxpool.ParseConfig(p.Where + " connect_timeout=5 default_query_exec_mode=exec pool_max_conns=4")
	if err != nil {
		return nil, err
	}
	if w.conn != nil {
		dial := config.ConnConfig.DialFunc
		config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return w.conn(conn), nil
		}
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	db, err := pgstore.New(ctx, pool, pgstore.Options{Keys: []sealed.Key{testKey}, Refreshes: 3})
	if err != nil {
		pool.Close()
		return nil, err
	}
	s, err := db.Store(store.Owner{Tenant: "acme", User: "ada"})
	return &opened{s, func() { db.Close(); pool.Close() }}, err
}

func (p place) openRedis(ctx context.Context, w watch) (*opened, error) {
	o := &redis.Options{Network: "unix", Addr: p.Where}
	if w.conn != nil {
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return w.conn(conn), nil
		}
	}
	client := redis.NewClient(o)
	db, err := openDatabase(ctx, client)
	if err != nil {
		client.Close()
		return nil, err
	}
	s, err := db.Store(store.Owner{Tenant: "acme", User: "ada"})
	return &opened{s, func() { client.Close() }}, err
}

// openDatabase tries for a while: New looks at the server's configuration, and a server may be
// down for the moment.
func openDatabase(ctx context.Context, client *redis.Client) (*redisstore.Database, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		db, err := redisstore.New(ctx, client, redisstore.Options{Keys: []sealed.Key{testKey}})
		if !errors.Is(err, store.ErrUnusable) {
			return db, err
		}
		time.Sleep(50 * time.Millisecond) // between tries
	}
}

// createSchema creates pgstore's tables.
func createSchema(t *testing.T, url string) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	db, err := pgstore.New(t.Context(), pool, pgstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.CreateSchema(t.Context()); err != nil {
		t.Fatal(err)
	}
}
