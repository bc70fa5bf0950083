package redisstore_test

import (
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/redisstore"
	"github.com/handstamp/handstamp/store/sealed"
	"github.com/handstamp/handstamp/store/storetest"
)

func open(t *testing.T, server *servicetest.Redis, o redisstore.Options) *redisstore.Database {
	t.Helper()
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: server.Socket()})
	t.Cleanup(func() { client.Close() })
	db, err := redisstore.New(t.Context(), client, o)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestStore(t *testing.T) {
	server := servicetest.StartRedis(t)
	key, err := sealed.NewKey(make([]byte, sealed.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	for name, keys := range map[string][]sealed.Key{"in the clear": nil, "sealed": {key}} {
		t.Run(name, func(t *testing.T) {
			first := open(t, server, redisstore.Options{Keys: keys})
			second := open(t, server, redisstore.Options{Keys: keys})
			users := 0
			owner := store.Owner{Tenant: name}
			storetest.Suite{
				Open: func(t *testing.T) store.Store {
					users++
					owner.User = strconv.Itoa(users)
					return storeOf(t, first, owner)
				},
				Reopen: func(*testing.T, store.Store) store.Store { return storeOf(t, second, owner) },
			}.Run(t)
		})
	}
}

func storeOf(t *testing.T, db *redisstore.Database, o store.Owner) store.Store {
	t.Helper()
	s, err := db.Store(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A server that loses logins by its configuration is rejected, with what to set.
func TestServerThatLosesLogins(t *testing.T) {
	for name, flags := range map[string][]string{
		"evicts":            {"--maxmemory-policy", "allkeys-lru"},
		"evicts with a TTL": {"--maxmemory-policy", "volatile-lru"},
		"forgets":           {"--appendonly", "no"},
	} {
		t.Run(name, func(t *testing.T) {
			server := servicetest.StartRedis(t, flags...)
			client := redis.NewClient(&redis.Options{Network: "unix", Addr: server.Socket()})
			defer client.Close()
			if _, err := redisstore.New(t.Context(), client, redisstore.Options{}); err == nil {
				t.Error("it is accepted")
			}
			_, err := redisstore.New(t.Context(), client, redisstore.Options{InsecureAllowLoss: true})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
