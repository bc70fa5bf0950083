// Package alive makes HTTP transports that notice within seconds when a connection no longer
// works: after a laptop's sleep, on another network, behind a NAT that has forgotten it. Without
// it, a request on such a connection waits for as long as the operating system sends it again,
// which is about a quarter of an hour.
//
// The checks are the transport's: an HTTP/2 ping, TCP's keepalive, and the acknowledgement of
// what was sent. A response may take as long as it takes, if only the other end is there.
package alive

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// idleTime is how long nothing comes from the other end before it is checked, and
	// checkTimeout how long the check may take. A connection is dead for their sum before that
	// is noticed.
	idleTime     = 8 * time.Second
	checkTimeout = 10 * time.Second

	// probes is how many keepalive probes are sent within checkTimeout.
	probes = 5

	// sleepGap is a gap in this machine's time that makes its connections doubtful.
	sleepGap = 5 * time.Second

	dialTimeout = 30 * time.Second
)

// Transport is an [http.Transport] that gives up connections that no longer work. After one did,
// and after the machine slept, requests go over new connections, whatever older ones are idle or
// shared; requests under way keep theirs. It is safe for concurrent use.
type Transport struct {
	template *http.Transport

	mu      sync.Mutex      // guards what follows
	current *http.Transport // nil: no request yet
	last    moment          // when the last request began
}

// New returns a Transport with the settings of template, which must not change any more.
func New(template *http.Transport) *Transport { return &Transport{template: template} }

// Standard returns the transport whose settings t has, without the checks.
func (t *Transport) Standard() *http.Transport { return t.template }

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.connections(now()).RoundTrip(req)
}

// CloseIdleConnections closes the connections that no request is using.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	current := t.current
	t.mu.Unlock()
	if current != nil {
		current.CloseIdleConnections()
	}
}

// connections returns what a request that begins now is sent with.
func (t *Transport) connections(at moment) *http.Transport {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != nil && slept(t.last, at) {
		t.discard()
	}
	t.last = at
	if t.current == nil {
		t.current = t.fresh()
	}
	return t.current
}

// moment is a time by two clocks, of which the second stands still while the machine sleeps.
type moment struct {
	wall    time.Time
	running time.Duration
}

var started = time.Now()

func now() moment {
	t := time.Now()
	return moment{t.Round(0), t.Sub(started)}
}

// slept reports whether the machine slept between two moments, or the user set its clock.
func slept(before, after moment) bool {
	return after.wall.Sub(before.wall)-(after.running-before.running) > sleepGap
}

// discard has later requests go over new connections. The caller holds mu.
func (t *Transport) discard() {
	old := t.current
	t.current = nil
	go old.CloseIdleConnections() // which may wait for a connection that is stuck
}

// broken is called when a connection of a transport broke off: others are likely to be as dead.
func (t *Transport) broken(of *http.Transport) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == of {
		t.discard()
	}
}

// fresh returns a transport without connections.
func (t *Transport) fresh() *http.Transport {
	c := t.template.Clone()
	if c.HTTP2 == nil {
		c.HTTP2 = new(http.HTTP2Config)
	}
	c.HTTP2.SendPingTimeout, c.HTTP2.PingTimeout = idleTime, checkTimeout
	// net/http takes a dial function of one's own for a reason not to speak HTTP/2.
	//lint:ignore SA1019 it is what net/http looks at
	plain := c.DialContext == nil && c.Dial == nil && c.TLSClientConfig == nil
	c.ForceAttemptHTTP2 = c.ForceAttemptHTTP2 || plain
	dial := c.DialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	c.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		made, err := dial(ctx, network, address)
		if tcp, ok := made.(*net.TCPConn); ok && err == nil {
			return supervise(tcp, func() { t.broken(c) }), nil
		}
		return made, err
	}
	return c
}
