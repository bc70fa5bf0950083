//go:build unix

package redisstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/redisstore"
)

// breaker breaks connections after the server has carried out a script, before its response.
type breaker struct {
	armed   atomic.Bool
	between func() // is called then, before the client knows
}

type breakingConn struct {
	net.Conn
	b      *breaker
	script atomic.Bool // was sent, and its response is due
}

// breakingClient returns a client with connections that b breaks.
func breakingClient(t *testing.T, server *servicetest.Redis, b *breaker) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "unix", server.Socket())
			return &breakingConn{Conn: conn, b: b}, err
		},
	})
	t.Cleanup(func() { client.Close() })
	return client
}

func (c *breakingConn) Write(p []byte) (int, error) {
	c.script.Store(bytes.Contains(p, []byte("evalsha")))
	return c.Conn.Write(p)
}

func (c *breakingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.script.Load() && !bytes.HasPrefix(p[:n], []byte("-NOSCRIPT")) && c.b.armed.CompareAndSwap(true, false) {
		c.Conn.Close()
		if c.b.between != nil {
			c.b.between()
		}
		return 0, io.EOF
	}
	return n, err
}

// A write whose response was lost is done: the next attempt finds what it has written, and not
// another's value.
func TestConnectionBreaksAfterTheWrite(t *testing.T) {
	var b breaker
	server := servicetest.StartRedis(t)
	s := storeOf(t, open(t, breakingClient(t, server, &b), redisstore.Options{}), ada)
	revision := mustPut(t, s, lockedKey, "first", "") // the server has the scripts now
	if err := s.Delete(t.Context(), lockedKey, revision); err != nil {
		t.Fatal(err)
	}
	b.armed.Store(true)
	revision = mustPut(t, s, lockedKey, "created", "")
	b.armed.Store(true)
	revision = mustPut(t, s, lockedKey, "replaced", revision)
	if value, now, err := s.Get(t.Context(), lockedKey); string(value) != "replaced" || now != revision || err != nil {
		t.Errorf("Get = %q, %q, %v; want the revision %q", value, now, err, revision)
	}
	b.armed.Store(true)
	if err := s.Delete(t.Context(), lockedKey, revision); err != nil {
		t.Errorf("Delete = %v", err)
	}
	if b.armed.Load() {
		t.Error("no connection broke")
	}
}

// A write whose response was lost, and whose value was replaced before it is sent again, is no
// conflict: that would mean that it changed nothing.
func TestConnectionBreaksBeforeAnotherWrite(t *testing.T) {
	var b breaker
	server := servicetest.StartRedis(t)
	s := storeOf(t, open(t, breakingClient(t, server, &b), redisstore.Options{}), ada)
	other := storeOf(t, open(t, breakingClient(t, server, new(breaker)), redisstore.Options{}), ada)
	revision := mustPut(t, other, lockedKey, "first", "") // the server has the scripts now
	if err := other.Delete(t.Context(), lockedKey, revision); err != nil {
		t.Fatal(err)
	}
	revision = mustPut(t, other, lockedKey, "first", "")
	b.between = func() {
		_, now, err := other.Get(t.Context(), lockedKey)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Error(err)
		}
		if revision, err = other.Put(t.Context(), lockedKey, []byte("replaced"), now); err != nil {
			t.Error(err)
		}
	}
	for name, write := range map[string]func() error{
		"Put": func() error {
			_, err := s.Put(t.Context(), lockedKey, []byte("lost"), revision)
			return err
		},
		"Delete": func() error { return s.Delete(t.Context(), lockedKey, revision) },
	} {
		b.armed.Store(true)
		if err := write(); !errors.Is(err, store.ErrUnusable) {
			t.Errorf("%s = %v, want ErrUnusable", name, err)
		}
		if value, _, err := other.Get(t.Context(), lockedKey); string(value) != "replaced" || err != nil {
			t.Errorf("after %s: %q, %v", name, value, err)
		}
	}
}

// A lock that was taken on a connection that broke is the caller's.
func TestConnectionBreaksAfterTheLock(t *testing.T) {
	var b breaker
	server := servicetest.StartRedis(t)
	s := storeOf(t, open(t, breakingClient(t, server, &b), redisstore.Options{}), ada)
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
		unlock, err := s.Lock(ctx, lockedKey, store.LockRefresh)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		unlock()
		b.armed.Store(true)
	}
}

// While the database is down reads, writes and locks fail as they have to. A write that has begun
// waits for the database, and the store goes on once it is there.
func TestDatabaseRestart(t *testing.T) {
	server := servicetest.StartRedis(t)
	dials := make(chan struct{}, 1000)
	client := redis.NewClient(&redis.Options{
		MaxRetries: -1, // so that all attempts are the store's
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			dials <- struct{}{}
			var d net.Dialer
			return d.DialContext(ctx, "unix", server.Socket())
		},
	})
	t.Cleanup(func() { client.Close() })
	s := storeOf(t, open(t, client, redisstore.Options{}), ada)
	revision := mustPut(t, s, lockedKey, "kept", "")
	server.Kill()
	if _, _, err := s.Get(t.Context(), lockedKey); !errors.Is(err, store.ErrUnusable) {
		t.Errorf("Get = %v", err)
	}
	if _, err := s.List(t.Context()); !errors.Is(err, store.ErrUnusable) {
		t.Errorf("List = %v", err)
	}
	if _, err := s.Lock(t.Context(), lockedKey, store.LockRefresh); !errors.Is(err, store.ErrUnusable) {
		t.Errorf("Lock = %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Put(ctx, lockedKey, nil, revision); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put with a context that ends = %v", err)
	}
	for len(dials) > 0 {
		<-dials
	}
	written := make(chan error, 1)
	go func() {
		_, err := s.Put(t.Context(), lockedKey, []byte("written"), revision)
		written <- err
	}()
	for range 20 { // several attempts, of which each may dial more than once
		select {
		case <-dials:
		case err := <-written:
			t.Fatalf("Put = %v while the database is down", err)
		}
	}
	server.Start()
	if err := <-written; err != nil {
		t.Errorf("Put = %v", err)
	}
	if value, _, err := s.Get(t.Context(), lockedKey); string(value) != "written" || err != nil {
		t.Errorf("Get = %q, %v", value, err)
	}
}

// A server that runs another's script for long rejects a write for as long, which then succeeds.
func TestBusyServer(t *testing.T) {
	server := servicetest.StartRedis(t, "--lua-time-limit", "50")
	client := newClient(t, addresses(server))
	s := storeOf(t, open(t, client, redisstore.Options{}), ada)
	before := mustPut(t, s, lockedKey, "before", "")
	patient := addresses(server)
	patient.ReadTimeout = testenv.Timeout
	other := newClient(t, patient)
	ended := make(chan error, 1)
	run := func() {
		const long = "local function now() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end " +
			"local ends = now() + 1500 while now() < ends do end return 1"
		ended <- other.Eval(context.WithoutCancel(t.Context()), long, nil).Err()
	}
	go run()
	runs := 1
	for busy := false; !busy; {
		select {
		case err := <-ended: // on a busy machine before the server has rejected a request
			if runs++; err != nil || runs > 10 {
				t.Fatalf("the server was not busy: %v", err)
			}
			go run()
		default:
		}
		err := client.Get(t.Context(), "x").Err()
		busy = err != nil && err.Error() != redis.Nil.Error()
	}
	if _, err := s.Put(t.Context(), lockedKey, []byte("after"), before); err != nil {
		t.Errorf("Put = %v", err)
	}
	if err := <-ended; err != nil {
		t.Fatalf("the server was not busy: %v", err)
	}
}
