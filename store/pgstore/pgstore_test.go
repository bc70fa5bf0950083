//go:build unix

package pgstore_test

import (
	"errors"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
	"github.com/handstamp/handstamp/store/sealed"
	"github.com/handstamp/handstamp/store/storetest"
)

// open returns a database with its schema.
func open(t *testing.T, server *servicetest.Postgres, o pgstore.Options) (*pgstore.Database, *pgxpool.Pool) {
	t.Helper()
	return openURL(t, server.URL(), o)
}

// config reads a URL.
func config(t *testing.T, url string) *pgxpool.Config {
	t.Helper()
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func openURL(t *testing.T, url string, o pgstore.Options) (*pgstore.Database, *pgxpool.Pool) {
	t.Helper()
	return openConfig(t, config(t, url), o)
}

func openConfig(t *testing.T, c *pgxpool.Config, o pgstore.Options) (*pgstore.Database, *pgxpool.Pool) {
	t.Helper()
	pool, err := pgxpool.NewWithConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	db, err := pgstore.New(t.Context(), pool, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.CreateSchema(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db, pool
}

func storeOf(t *testing.T, db *pgstore.Database, o store.Owner) store.Store {
	t.Helper()
	s, err := db.Store(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	server := servicetest.StartPostgres(t)
	for name, keys := range map[string][]sealed.Key{"in the clear": nil, "sealed": {newKey(t)}} {
		t.Run(name, func(t *testing.T) {
			first, pool := open(t, server, pgstore.Options{Keys: keys})
			second, _ := open(t, server, pgstore.Options{Keys: keys})
			users := 0
			owner := store.Owner{Tenant: name}
			storetest.Suite{
				Open: func(t *testing.T) store.Store {
					users++
					owner.User = strconv.Itoa(users)
					return storeOf(t, first, owner)
				},
				Reopen: func(t *testing.T, _ store.Store) store.Store { return storeOf(t, second, owner) },
				ReadRaw: func(t *testing.T, _ store.Store, key store.Key) (value []byte) {
					err := pool.QueryRow(t.Context(), "SELECT value FROM handstamp_credential "+
						"WHERE tenant = $1 AND user_name = $2 AND server = $3 AND profile = $4",
						owner.Tenant, owner.User, key.Server, key.Profile).Scan(&value)
					if err != nil {
						t.Fatal(err)
					}
					return value
				},
				WriteRaw: func(t *testing.T, s store.Store, key store.Key, data []byte) {
					if _, _, err := s.Get(t.Context(), key); errors.Is(err, store.ErrNotFound) {
						mustPut(t, s, key, data)
					}
					_, err := pool.Exec(t.Context(), "UPDATE handstamp_credential SET value = $5 "+
						"WHERE tenant = $1 AND user_name = $2 AND server = $3 AND profile = $4",
						owner.Tenant, owner.User, key.Server, key.Profile, data)
					if err != nil {
						t.Fatal(err)
					}
				},
			}.Run(t)
		})
	}
}

func mustPut(t *testing.T, s store.Store, key store.Key, value []byte) store.Revision {
	t.Helper()
	revision, err := s.Put(t.Context(), key, value, "")
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func newKey(t *testing.T) sealed.Key {
	t.Helper()
	key, err := sealed.NewKey(make([]byte, sealed.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return key
}
