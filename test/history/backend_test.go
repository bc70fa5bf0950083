//go:build unix

package history

import (
	"context"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/handstamp/handstamp/internal/servicetest"
)

// backend is what a store of the test is kept in, which the test ends, starts and cuts off.
type backend struct {
	store    string
	direct   place
	network  string // the target of proxies; empty: there is no server
	socket   string // the name of a proxy's socket
	lossy    bool   // a connection that ends takes locks with it,
	kept     bool   // but for those under which something was written
	stop     func(immediate bool)
	start    func()
	expire   func(ctx context.Context) error // ends all leases
	leases   []string                        // the names of locks that are leases
	describe func(proxyDir string) string    // what a process needs to come through a proxy
}

// newBackend starts what a store needs.
func newBackend(t *testing.T, name string) *backend {
	t.Helper()
	b := &backend{store: name}
	switch name {
	case postgres:
		b.usePostgres(t)
	case redisName:
		b.useRedis(t)
	default:
		b.direct = place{name, t.TempDir() + "/credentials"}
	}
	return b
}

func (b *backend) usePostgres(t *testing.T) {
	server := servicetest.StartPostgres(t, "max_connections=400")
	b.direct = place{postgres, server.URL()}
	_, rest, _ := strings.Cut(server.URL(), "host=")
	dir, rest, _ := strings.Cut(rest, " ")
	b.socket, b.lossy, b.kept = ".s.PGSQL.5432", true, true
	b.network = filepath.Join(dir, b.socket)
	b.describe = func(proxy string) string { return "host=" + proxy + " " + rest }
	b.start = server.Start
	b.stop = func(immediate bool) {
		if immediate {
			server.Stop(syscall.SIGQUIT)
			return
		}
		server.Stop(syscall.SIGINT)
	}
	b.leases = []string{"login"}
	b.expire = func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, server.URL())
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, "UPDATE handstamp_lease SET expires_at = now() - interval '1 second' "+
			"WHERE name = 'login'")
		return err
	}
	createSchema(t, server.URL())
}

func (b *backend) useRedis(t *testing.T) {
	server := servicetest.StartRedis(t)
	b.direct, b.network, b.socket = place{redisName, server.Socket()}, server.Socket(), "redis.sock"
	b.describe = func(proxy string) string { return filepath.Join(proxy, b.socket) }
	b.start = server.Start
	b.stop = func(immediate bool) {
		if immediate {
			server.Kill()
			return
		}
		server.Stop()
	}
	b.leases = []string{"refresh", "login"}
	b.expire = func(ctx context.Context) error {
		client := redis.NewClient(&redis.Options{Network: "unix", Addr: server.Socket()})
		defer client.Close()
		names, err := client.Keys(ctx, "*:lock:*").Result()
		if err != nil || len(names) == 0 {
			return err
		}
		return client.Del(ctx, names...).Err()
	}
}

// through returns where the store is for a process with a proxy of its own.
func (b *backend) through(p *proxy) place {
	if p == nil {
		return b.direct
	}
	return place{b.store, b.describe(p.dir)}
}
