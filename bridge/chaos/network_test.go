package chaos

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// The address of the server, and of one that must never be reached.
const (
	serverHost  = "server.test"
	foreignHost = "foreign.test"
)

// network is the network that the bridge sees: one machine, which can vanish and
// come back. Writing to a connection never blocks, so that no lock is ever held
// across a wait.
type network struct {
	mu       sync.Mutex // guards what follows
	listener *listener  // nil: nothing listens
	conns    map[*conn]bool
	reset    bool         // connections that are cut end with a reset
	foreign  func(string) // called for a connection to another machine
}

// DialContext connects to the server.
func (n *network) DialContext(_ context.Context, _, address string) (net.Conn, error) {
	rejected := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	if address != serverHost+":80" {
		n.foreign(address)
		return nil, rejected
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listener == nil {
		return nil, rejected
	}
	up, down := newHalf(), newHalf()
	client, server := &conn{in: down, out: up}, &conn{in: up, out: down}
	select {
	case n.listener.backlog <- server:
	default:
		return nil, rejected
	}
	n.conns[server] = true
	return client, nil
}

// listen makes the server reachable.
func (n *network) listen() net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listener = &listener{backlog: make(chan net.Conn, 1024), closed: make(chan struct{})}
	return n.listener
}

// vanish makes the server unreachable and cuts what is open.
func (n *network) vanish() {
	n.mu.Lock()
	n.listener = nil
	n.mu.Unlock()
	n.cut()
}

// cut cuts all connections. What was written before still arrives.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if n.reset {
			c.end(&net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)})
		} else {
			c.end(io.EOF)
		}
	}
	clear(n.conns)
}

type listener struct {
	backlog chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return address{} }

type address struct{}

func (address) Network() string { return "tcp" }
func (address) String() string  { return serverHost + ":80" }

// half is one direction of a connection.
type half struct {
	mu       sync.Mutex // guards what follows
	buffer   []byte
	err      error // what reading ends with; nil: open
	deadline time.Time
	changed  chan struct{} // closed at each change
}

func newHalf() *half { return &half{changed: make(chan struct{})} }

// change changes a half and wakes who waits.
func (h *half) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *half) read(p []byte) (int, error) {
	for {
		h.mu.Lock()
		deadline, changed := h.deadline, h.changed
		if !deadline.IsZero() && !time.Now().Before(deadline) {
			h.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		}
		if n := copy(p, h.buffer); n > 0 {
			h.buffer = h.buffer[n:]
			h.mu.Unlock()
			return n, nil
		}
		err := h.err
		h.mu.Unlock()
		if err != nil {
			return 0, err
		}
		if deadline.IsZero() {
			<-changed
			continue
		}
		timer := time.NewTimer(time.Until(deadline))
		select {
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// conn is one end of a connection.
type conn struct{ in, out *half }

func (c *conn) Read(p []byte) (int, error) { return c.in.read(p) }

func (c *conn) Write(p []byte) (n int, err error) {
	c.out.change(func() {
		if c.out.err != nil {
			err = &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)}
			return
		}
		c.out.buffer = append(c.out.buffer, p...)
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// end closes both directions. The other end reads what is there, and then err.
func (c *conn) end(err error) {
	c.out.change(func() {
		if c.out.err == nil {
			c.out.err = err
		}
	})
	c.in.change(func() {
		if c.in.err == nil {
			c.in.err = net.ErrClosed
		}
		if errors.Is(c.in.err, net.ErrClosed) {
			c.in.buffer = nil
		}
	})
}

func (c *conn) Close() error {
	c.end(io.EOF)
	return nil
}

func (c *conn) LocalAddr() net.Addr                { return address{} }
func (c *conn) RemoteAddr() net.Addr               { return address{} }
func (c *conn) SetWriteDeadline(_ time.Time) error { return nil }

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.change(func() { c.in.deadline = t })
	return nil
}

func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }
