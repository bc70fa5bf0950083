//go:build unix

package redisstore_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/redisstore"
	"github.com/handstamp/handstamp/store/sealed"
	"github.com/handstamp/handstamp/store/storetest"
)

var (
	lockedKey = store.Key{Server: "https://a.example/mcp", Profile: store.DefaultProfile}
	ada       = store.Owner{Tenant: "acme", User: "ada"}
)

// arrangements are how Redis is run: each starts servers and returns how a client finds them.
var arrangements = map[string]func(t *testing.T) *redis.UniversalOptions{
	"one server": func(t *testing.T) *redis.UniversalOptions { return addresses(servicetest.StartRedis(t)) },
	"Valkey":     func(t *testing.T) *redis.UniversalOptions { return addresses(servicetest.StartValkey(t)) },
	"Cluster": func(t *testing.T) *redis.UniversalOptions {
		return addresses(servicetest.StartRedisCluster(t)...)
	},
	"Sentinel": func(t *testing.T) *redis.UniversalOptions {
		return group(servicetest.StartRedisGroup(t, 1))
	},
}

// addresses returns options for a server on its socket, or a Cluster on ports.
func addresses(servers ...*servicetest.Redis) *redis.UniversalOptions {
	if len(servers) == 1 {
		return &redis.UniversalOptions{Addrs: []string{servers[0].Socket()}}
	}
	o := &redis.UniversalOptions{IsClusterMode: true}
	for _, s := range servers {
		o.Addrs = append(o.Addrs, s.Addr())
	}
	return o
}

func group(g *servicetest.RedisGroup) *redis.UniversalOptions {
	return &redis.UniversalOptions{Addrs: []string{g.Sentinel()}, MasterName: servicetest.SentinelName}
}

func newClient(t testing.TB, o *redis.UniversalOptions) redis.UniversalClient {
	t.Helper()
	client := redis.NewUniversalClient(o)
	t.Cleanup(func() { client.Close() })
	return client
}

func open(
	t testing.TB, client redis.UniversalClient, o redisstore.Options,
) *redisstore.Database {
	t.Helper()
	db, err := redisstore.New(t.Context(), client, o)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func storeOf(t testing.TB, db store.Database, o store.Owner) store.Store {
	t.Helper()
	s, err := db.Store(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustPut(
	t testing.TB, s store.Store, key store.Key, value string, revision store.Revision,
) store.Revision {
	t.Helper()
	revision, err := s.Put(t.Context(), key, []byte(value), revision)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func newKey(t testing.TB, fill byte) sealed.Key {
	t.Helper()
	raw := make([]byte, sealed.KeySize)
	raw[0] = fill
	key, err := sealed.NewKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestStore(t *testing.T) {
	for name, arrange := range arrangements {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := redisstore.Options{Keys: []sealed.Key{newKey(t, 0)}}
			if name == "Sentinel" {
				o.Replicas = 1
			}
			testStore(t, arrange(t), o)
		})
	}
	t.Run("in the clear", func(t *testing.T) {
		testStore(t, addresses(servicetest.StartRedis(t)), redisstore.Options{})
	})
}

func testStore(t *testing.T, servers *redis.UniversalOptions, o redisstore.Options) {
	client := newClient(t, servers)
	first, second := open(t, client, o), open(t, newClient(t, servers), o)
	users := 0
	owner := store.Owner{Tenant: "acme"}
	storetest.Suite{
		Open: func(t *testing.T) store.Store {
			users++
			owner.User = strconv.Itoa(users)
			return storeOf(t, first, owner)
		},
		Reopen: func(*testing.T, store.Store) store.Store { return storeOf(t, second, owner) },
		ReadRaw: func(t *testing.T, _ store.Store, key store.Key) []byte {
			return readRaw(t, client, first.ValueKey(owner, key))
		},
		WriteRaw: func(t *testing.T, s store.Store, key store.Key, data []byte) {
			if _, _, err := s.Get(t.Context(), key); errors.Is(err, store.ErrNotFound) {
				mustPut(t, s, key, "damaged next", "")
			}
			writeRaw(t, client, first.ValueKey(owner, key), data)
		},
	}.Run(t)
}

func readRaw(t testing.TB, client redis.UniversalClient, key string) []byte {
	t.Helper()
	value, err := client.HGet(t.Context(), key, "value").Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func writeRaw(t testing.TB, client redis.UniversalClient, key string, value []byte) {
	t.Helper()
	if err := client.HSet(t.Context(), key, "value", value).Err(); err != nil {
		t.Fatal(err)
	}
}

// A server that loses logins by its configuration is rejected, with what to set.
func TestServerThatLosesLogins(t *testing.T) {
	for name, flags := range map[string][]string{
		"evicts":            {"--maxmemory-policy", "allkeys-lru"},
		"evicts with a TTL": {"--maxmemory-policy", "volatile-lru"},
		"forgets":           {"--appendonly", "no"},
	} {
		t.Run(name, func(t *testing.T) {
			client := newClient(t, addresses(servicetest.StartRedis(t, flags...)))
			_, err := redisstore.New(t.Context(), client, redisstore.Options{})
			if err == nil || !strings.Contains(err.Error(), "InsecureAllowLoss") {
				t.Errorf("New = %v", err)
			}
			_, err = redisstore.New(t.Context(), client, redisstore.Options{InsecureAllowLoss: true})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// A client that reads from replicas would bring back refresh tokens that were used.
func TestClientOfReplicasIsRejected(t *testing.T) {
	g := servicetest.StartRedisGroup(t, 1)
	sentinel := group(g)
	for name, client := range map[string]redis.UniversalClient{
		"a replica": newClient(t, addresses(g.Replicas[0])),
		"a Cluster's replicas": newClient(t, &redis.UniversalOptions{
			Addrs: sentinel.Addrs, IsClusterMode: true, ReadOnly: true,
		}),
		"the nearest": redis.NewFailoverClusterClient(&redis.FailoverOptions{
			MasterName: sentinel.MasterName, SentinelAddrs: sentinel.Addrs, RouteByLatency: true,
		}),
		"Sentinel's replicas": redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: sentinel.MasterName, SentinelAddrs: sentinel.Addrs, ReplicaOnly: true,
		}),
		"a ring": redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": g.Primary.Addr()}}),
	} {
		t.Run(name, func(t *testing.T) {
			defer client.Close()
			if _, err := redisstore.New(t.Context(), client, redisstore.Options{}); err == nil {
				t.Error("it is accepted")
			}
		})
	}
}
