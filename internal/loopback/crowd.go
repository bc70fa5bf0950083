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

// crowd bounds the connections of one or more listeners. Where there are too
// many the oldest has to go, rather than the newest to wait: whoever opens
// connections and says nothing cannot lock the browser out. A connection whose
// request waits for its page is kept.
type crowd struct {
	max int

	mu   sync.Mutex
	open []*conn // guarded by mu; oldest first
}

// conn is a connection in a crowd.
type conn struct {
	net.Conn
	crowd  *crowd
	pinned bool // guarded by crowd.mu
}

// wrap returns a listener whose connections belong to the crowd.
func (c *crowd) wrap(l net.Listener) net.Listener { return &crowdListener{l, c} }

type crowdListener struct {
	net.Listener
	crowd *crowd
}

// Accept implements net.Listener.
func (l *crowdListener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: accepted, crowd: l.crowd}
	if old := l.crowd.enter(c); old != nil {
		old.Close()
	}
	return c, nil
}

// enter adds c and returns the connection that has to go, if any.
func (c *crowd) enter(newest *conn) *conn {
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
	c.crowd.mu.Lock()
	if i := slices.Index(c.crowd.open, c); i >= 0 {
		c.crowd.open = slices.Delete(c.crowd.open, i, i+1)
	}
	c.crowd.mu.Unlock()
	return c.Conn.Close()
}

// connKey is the context key of a request's *conn.
type connKey struct{}

// withConn is a http.Server's ConnContext.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// pin keeps the connection that ctx belongs to from having to go.
func pin(ctx context.Context) {
	if c, ok := ctx.Value(connKey{}).(*conn); ok {
		c.crowd.mu.Lock()
		c.pinned = true
		c.crowd.mu.Unlock()
	}
}
