package loopback

import (
	"context"
	"net"
	"testing"
)

// pipes is a net.Listener whose connections are pipes. Their other ends are kept
// in order.
type pipes struct {
	net.Listener
	others []net.Conn
}

func (p *pipes) Accept() (net.Conn, error) {
	ours, other := net.Pipe()
	p.others = append(p.others, other)
	return ours, nil
}

// isOpen reports whether a pipe that c is the server's end of takes bytes.
func isOpen(t *testing.T, c net.Conn, other net.Conn) bool {
	t.Helper()
	got := make(chan error, 1)
	go func() {
		_, err := other.Read(make([]byte, 1))
		got <- err
	}()
	if _, err := c.Write([]byte("x")); err != nil {
		return false
	}
	return <-got == nil
}

func TestTheOldestHasToGo(t *testing.T) {
	p := new(pipes)
	crowd := &connLimiter{max: 3}
	l := crowd.wrap(p)
	var conns []net.Conn
	accept := func() {
		t.Helper()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	check := func(open ...bool) {
		t.Helper()
		for i, want := range open {
			if got := isOpen(t, conns[i], p.others[i]); got != want {
				t.Errorf("connection %d is open: %t, want %t", i, got, want)
			}
		}
	}
	for range 3 {
		accept()
	}
	check(true, true, true)
	accept()
	check(false, true, true, true)
	pin(withConn(context.Background(), conns[1]))
	accept()
	accept()
	check(false, true, false, false, true, true)

	// A connection that ends makes space.
	if err := conns[4].Close(); err != nil {
		t.Fatal(err)
	}
	accept()
	check(false, true, false, false, false, true, true)
	if len(crowd.open) != 3 {
		t.Errorf("%d connections are kept", len(crowd.open))
	}
}
