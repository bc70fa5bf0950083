//go:build unix

package pgstore_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store/pgstore"
)

// vanisher is a server's address. Its server can vanish, without a word to those who are connected;
// another one is there in its place.
type vanisher struct {
	addr *net.TCPAddr

	mu    sync.Mutex
	conns []*vanishing // guarded by mu
}

// vanishing is a connection to a server that may vanish.
type vanishing struct {
	client, upstream net.Conn

	mu    sync.Mutex
	gone  bool // guarded by mu
	tried bool // guarded by mu; something was sent after that, and more than a farewell
}

func startVanisher(t *testing.T, server *servicetest.Postgres) *vanisher {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	v := &vanisher{addr: l.Addr().(*net.TCPAddr)}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("unix", filepath.Join(filepath.Dir(server.Dir()), ".s.PGSQL.5432"))
			if err != nil {
				client.Close()
				continue
			}
			c := &vanishing{client: client, upstream: upstream}
			v.mu.Lock()
			v.conns = append(v.conns, c)
			v.mu.Unlock()
			go c.request()
			go c.respond()
		}
	}()
	return v
}

// URL has more connections than may be tried one by one.
func (v *vanisher) URL() string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=postgres sslmode=disable "+
		"pool_max_conns=20 pool_ping_timeout=2s", v.addr.Port)
}

// vanish has the server vanish: what it has of its clients ends, and they hear nothing.
func (v *vanisher) vanish() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.conns {
		c.mu.Lock()
		c.gone = true
		c.mu.Unlock()
		c.upstream.Close()
	}
}

// end has those hear that the server is gone who still wait for it.
func (v *vanisher) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.conns {
		if c.isGone() {
			c.client.Close()
		}
	}
}

// tried returns how many connections to the server that has vanished were used since.
func (v *vanisher) tried() (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.conns {
		c.mu.Lock()
		if c.tried {
			n++
		}
		c.mu.Unlock()
	}
	return n
}

func (c *vanishing) request() {
	buf := make([]byte, 1<<16)
	for {
		n, err := c.client.Read(buf)
		c.mu.Lock()
		gone := c.gone
		const terminate = 'X'
		c.tried = c.tried || gone && n > 0 && buf[0] != terminate
		c.mu.Unlock()
		if !gone && err == nil {
			_, err = c.upstream.Write(buf[:n])
		}
		if err != nil && !c.isGone() {
			c.upstream.Close()
		}
		if err != nil {
			return
		}
	}
}

func (c *vanishing) respond() {
	buf := make([]byte, 1<<16)
	for {
		n, err := c.upstream.Read(buf)
		if c.isGone() {
			return
		}
		if err == nil {
			_, err = c.client.Write(buf[:n])
		}
		if err != nil {
			c.client.Close()
			return
		}
	}
}

func (c *vanishing) isGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// acquireAll returns all connections of a pool.
func acquireAll(t *testing.T, pool *pgxpool.Pool) (conns []*pgxpool.Conn) {
	t.Helper()
	for range pool.Config().MaxConns {
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	return conns
}

// A holder extends its lease where all connections of the pool wait for a server that has vanished.
func TestLeaseWhenTheServerVanishes(t *testing.T) {
	server := servicetest.StartPostgres(t)
	v := startVanisher(t, server)
	db, pool := openURL(t, v.URL(), pgstore.Options{})
	_, direct := open(t, server, pgstore.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
	defer cancel()
	s := storeOf(t, db, ownerOf(0))
	revision := mustPut(t, s, lockedKey, nil)
	mustLock(t, s)
	if _, err := s.Put(ctx, lockedKey, []byte("begun"), revision); err != nil {
		t.Fatal(err)
	}
	for _, conn := range acquireAll(t, pool) {
		defer conn.Release()
	}
	v.vanish()
	defer v.end()
	expires := func() (at time.Time) {
		if err := direct.QueryRow(ctx, "SELECT expires_at FROM handstamp_lease").Scan(&at); err != nil {
			t.Fatalf("the lease is not extended: %v", err)
		}
		return at
	}
	for last := expires(); !expires().After(last); {
		time.Sleep(10 * time.Millisecond) // so as not to keep the machine busy
	}
}

// A write does not try each idle connection to a server that has vanished.
func TestWriteWhenTheServerVanishes(t *testing.T) {
	v := startVanisher(t, servicetest.StartPostgres(t))
	db, pool := openURL(t, v.URL(), pgstore.Options{})
	s := storeOf(t, db, ownerOf(0))
	revision := mustPut(t, s, lockedKey, nil)
	conns := acquireAll(t, pool)
	for _, conn := range conns {
		conn.Release()
	}
	v.vanish()
	defer v.end()
	for began := time.Now(); ; {
		_, err := s.Put(t.Context(), lockedKey, []byte("refreshed"), revision)
		if err == nil {
			break
		}
		if time.Since(began) > testenv.Timeout {
			t.Fatal(err)
		}
	}
	if n := v.tried(); n > len(conns)/2 {
		t.Errorf("%d of %d connections were tried", n, len(conns))
	}
}
