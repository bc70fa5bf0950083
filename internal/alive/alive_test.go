package alive

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
)

// server counts its connections. A request for /stream is responded to with a stream, one for
// /reset with the end of its connection.
func server(t *testing.T, http2 bool) (s *httptest.Server, connections *atomic.Int32, endStreams func()) {
	t.Helper()
	connections = new(atomic.Int32)
	release := make(chan struct{})
	endStreams = sync.OnceFunc(func() { close(release) })
	s = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/stream":
			_ = http.NewResponseController(w).Flush()
			<-release
			io.WriteString(w, "the end")
		case "/reset":
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = c.(*net.TCPConn).SetLinger(0)
				c.Close()
			}
		default:
			io.WriteString(w, r.Proto)
		}
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	if http2 {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(func() {
		endStreams()
		s.Close()
	})
	return s, connections, endStreams
}

// transport returns a transport that trusts a server, as the flags of a command would make it.
func transport(s *httptest.Server) *Transport {
	template := http.DefaultTransport.(*http.Transport).Clone()
	if own, ok := s.Client().Transport.(*http.Transport); ok && own.TLSClientConfig != nil {
		template.TLSClientConfig = own.TLSClientConfig.Clone()
		template.TLSClientConfig.NextProtos = nil
	}
	return New(template)
}

func get(t *testing.T, transport http.RoundTripper, url string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return transport.RoundTrip(req)
}

func fetch(t *testing.T, transport http.RoundTripper, url string) string {
	t.Helper()
	resp, err := get(t, transport, url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestProtocol checks that the dial function of a Transport's own does not cost HTTP/2.
func TestProtocol(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		s, _, _ := server(t, http2)
		want := map[bool]string{true: "HTTP/2.0", false: "HTTP/1.1"}[http2]
		if got := fetch(t, transport(s), s.URL); got != want {
			t.Errorf("spoken is %s, want %s", got, want)
		}
	}
	s, _, _ := server(t, true)
	own := transport(s)
	dialed := false
	own.Standard().DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialed = true
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	if got := fetch(t, own, s.URL); got != "HTTP/2.0" || !dialed {
		t.Errorf("spoken is %s, dialed with the caller's function: %t", got, dialed)
	}
	none := transport(s)
	none.Standard().ForceAttemptHTTP2 = false // with a TLS configuration of one's own, that is how net/http takes it
	if got := fetch(t, none, s.URL); got != "HTTP/1.1" {
		t.Errorf("spoken is %s though HTTP/2 is not wanted", got)
	}
}

// TestSleep puts the clocks apart as sleep does: the next request goes over a new connection, and
// the stream that is open goes on.
func TestSleep(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		s, connections, endStreams := server(t, http2)
		tr := transport(s)
		stream, err := get(t, tr, s.URL+"/stream")
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Body.Close()
		fetch(t, tr, s.URL)
		before := connections.Load()
		fetch(t, tr, s.URL)
		if n := connections.Load(); n != before {
			t.Errorf("HTTP/2 %t: %d connections without a sleep, want %d", http2, n, before)
		}
		tr.mu.Lock()
		tr.last.wall = tr.last.wall.Add(-time.Hour)
		tr.mu.Unlock()
		fetch(t, tr, s.URL)
		fetch(t, tr, s.URL)
		if n := connections.Load(); n != before+1 {
			t.Errorf("HTTP/2 %t: %d connections after a sleep, want %d", http2, n, before+1)
		}
		endStreams()
		if b, err := io.ReadAll(stream.Body); string(b) != "the end" || err != nil {
			t.Errorf("HTTP/2 %t: the stream that was open went on with %q, %v", http2, b, err)
		}
	}
}

// TestBrokenConnection checks that one connection that breaks off makes the idle ones doubtful.
func TestBrokenConnection(t *testing.T) {
	s, connections, _ := server(t, false)
	tr := transport(s)
	first, err := get(t, tr, s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, tr, s.URL+"/reset"); err == nil { // on another one
		t.Fatal("there was a response")
	}
	_, _ = io.Copy(io.Discard, first.Body)
	first.Body.Close() // idle now
	before := connections.Load()
	fetch(t, tr, s.URL)
	if n := connections.Load(); n != before+1 {
		t.Errorf("%d connections, want %d", n, before+1)
	}
}

// TestPending lists what a connection that is alive can look like.
func TestPending(t *testing.T) {
	const long, short = time.Minute, time.Second
	for _, test := range []struct {
		name string
		s    sending
		want bool
	}{
		{"nothing sent again", sending{pending: true, silent: long}, false},
		{"sent again once", sending{pending: true, again: 1, silent: long}, false},
		{"sent again and again", sending{pending: true, again: 3, silent: long}, true},
		{"sent again, while the other end sends", sending{pending: true, again: 3, silent: short}, true},
		{"takes nothing, but is there", sending{pending: true, probed: 1, full: true, silent: long}, false},
		{"takes nothing, but says so", sending{pending: true, again: 3, full: true, silent: short}, false},
		{"took nothing, and is gone", sending{pending: true, probed: 3, full: true, silent: long}, true},
	} {
		if got := test.s.dead(deadAfter); got != test.want {
			t.Errorf("%s: %t, want %t", test.name, got, test.want)
		}
	}
}

func TestDeadConnectionHasATimeoutAsItsError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	made, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := supervise(made.(*net.TCPConn), func() {})
	c.dead.Store(true)
	c.Close()
	_, err = c.Read(make([]byte, 1))
	if op, ok := errtype.As[*net.OpError](err); !ok || !op.Timeout() {
		t.Errorf("got %v, want a timeout", err)
	}
}
