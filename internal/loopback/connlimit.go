package loopback

import (
	"context"
	"net"
	"slices"
	"sync"
)

// maxConns is how many connections are open at once. A browser needs two or
// three.
const maxConns = 32

// connLimiter bounds the number of open connections of one or more listeners. Beyond the bound the
// oldest connection is closed instead of the newest waiting, so that a process that opens
// connections and sends nothing cannot lock the browser out. A connection whose request waits for
// its page is kept.
type connLimiter struct {
	max int

	mu   sync.Mutex
	open []*conn // guarded by mu; oldest first
}

// conn is a connection that counts for a [connLimiter].
type conn struct {
	net.Conn
	limiter *connLimiter
	pinned  bool // guarded by limiter.mu
}

// wrap returns a listener whose connections count for the limiter.
func (c *connLimiter) wrap(l net.Listener) net.Listener { return &limitedListener{l, c} }

type limitedListener struct {
	net.Listener
	limiter *connLimiter
}

// Accept implements net.Listener.
func (l *limitedListener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: accepted, limiter: l.limiter}
	if old := l.limiter.add(c); old != nil {
		old.Close()
	}
	return c, nil
}

// add adds newest and returns the connection to close where there are too many.
func (c *connLimiter) add(newest *conn) *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = append(c.open, newest)
	if len(c.open) <= c.max {
		return nil
	}
	i := slices.IndexFunc(c.open, func(o *conn) bool { return !o.pinned })
	old := c.open[i] // there is one: newest is not pinned
	c.open = slices.Delete(c.open, i, i+1)
	return old
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.limiter.mu.Lock()
	if i := slices.Index(c.limiter.open, c); i >= 0 {
		c.limiter.open = slices.Delete(c.limiter.open, i, i+1)
	}
	c.limiter.mu.Unlock()
	return c.Conn.Close()
}

// connKey is the context key of a request's *conn.
type connKey struct{}

// withConn is a http.Server's ConnContext.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// pin keeps the connection of a request, by its context, from being closed by the limiter.
func pin(ctx context.Context) {
	if c, ok := ctx.Value(connKey{}).(*conn); ok {
		c.limiter.mu.Lock()
		c.pinned = true
		c.limiter.mu.Unlock()
	}
}
