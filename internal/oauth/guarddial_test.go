package oauth

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp/internal/errtype"
)

// nameServer is a DNS server on loopback that has one address for every name.
func nameServer(t *testing.T, address string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ip := netip.MustParseAddr(address).As4()
	go func() {
		query := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(query)
			if err != nil {
				return
			}
			end := 12 // of the question
			for end < n && query[end] != 0 {
				end += int(query[end]) + 1
			}
			if end+5 > n {
				continue
			}
			question := query[12 : end+5]
			reply := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
			if binary.BigEndian.Uint16(question[len(question)-4:]) == 1 {
				reply[7] = 1
				reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
				reply = append(reply, ip[:]...)
			}
			conn.WriteTo(reply, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp4", conn.LocalAddr().String())
	}}
}

// TestCallersDialContext: the caller's own dial function connects a name to where it
// likes, and does not lead a name that an attacker controls inside.
func TestCallersDialContext(t *testing.T) {
	inside := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request came inside") })
	u, err := url.Parse(inside.URL)
	if err != nil {
		t.Fatal(err)
	}
	var written atomic.Bool // to a connection inside
	watch := func(conn net.Conn, err error) (net.Conn, error) {
		if err != nil {
			return nil, err
		}
		return &watched{conn, &written}, nil
	}
	rebinding := &net.Dialer{Resolver: nameServer(t, "127.0.0.1")}
	mine := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for _, tc := range []struct {
		name    string
		host    string
		dial    dialFunc
		blocked bool
	}{
		{"routes to an address", "as.example.com", func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, mine.Listener.Addr().String())
		}, false},
		{"routes without the context", "as.invalid", func(_ context.Context, network, _ string) (net.Conn, error) {
			return net.Dial(network, mine.Listener.Addr().String())
		}, false},
		{"routes a literal", "8.8.8.8", func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, mine.Listener.Addr().String())
		}, false},
		{"is no network", "as.example.com", func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", mine.Listener.Addr().String())
			return &elsewhere{conn}, err
		}, false},
		{"follows a name inside", "evil.example.com", func(ctx context.Context, network, address string) (net.Conn, error) {
			return watch(rebinding.DialContext(ctx, network, address))
		}, true},
		{"follows it as a plain method", "evil.example.com.", rebinding.DialContext, true},
		{"is not called for this machine's names", "localhost", func(context.Context, string, string) (net.Conn, error) {
			t.Error("dialed localhost")
			return nil, errors.New("never")
		}, true},
		{"is not called for a private literal", "10.0.0.1", func(context.Context, string, string) (net.Conn, error) {
			t.Error("dialed 10.0.0.1")
			return nil, errors.New("never")
		}, true},
	} {
		tr := Guard(&http.Transport{DialContext: tc.dial}, nil)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+tc.host+":"+u.Port()+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := tr.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		if _, blocked := errtype.As[*BlockedError](err); blocked != tc.blocked || !blocked && (err != nil || resp.StatusCode != http.StatusTeapot) {
			t.Errorf("%s: %v", tc.name, err)
		}
		tr.CloseIdleConnections()
	}
	if written.Load() {
		t.Error("something was written before the connection was checked")
	}
}

// watched is a connection that notes whether anything is written to it.
type watched struct {
	net.Conn
	written *atomic.Bool
}

func (w *watched) Write(b []byte) (int, error) {
	w.written.Store(true)
	return w.Conn.Write(b)
}

// elsewhere is a connection whose other end has no IP address.
type elsewhere struct{ net.Conn }

func (elsewhere) RemoteAddr() net.Addr { return &net.UnixAddr{Name: "/run/tunnel"} }

// TestGuardKeepsItsOwnDialer: a clone of the default transport is checked before it
// connects, and not after.
func TestGuardKeepsItsOwnDialer(t *testing.T) {
	standard := http.DefaultTransport.(*http.Transport)
	if callersDial(standard.Clone()) != nil || callersDial(&http.Transport{}) != nil {
		t.Error("the default dial function is taken for the caller's")
	}
	if callersDial(&http.Transport{DialContext: new(net.Dialer).DialContext}) == nil {
		t.Error("the caller's own net.Dialer is taken for the default")
	}
}
