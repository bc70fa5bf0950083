package bridge_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// shy is a listener that gives some connections to fail, in the place of the server.
type shy struct {
	net.Listener
	fail   func(c *net.TCPConn)
	failed atomic.Int32 // how many more there are to fail
}

func (l *shy) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || l.failed.Add(-1) < 0 {
			return c, err
		}
		l.fail(c.(*net.TCPConn))
	}
}

// TestRequestWithoutATLSHandshakeIsSentAgain has connections to a server that end, or stay silent,
// before the TLS handshake is through: no request has left this machine, and the next connection
// takes it.
func TestRequestWithoutATLSHandshakeIsSentAgain(t *testing.T) {
	var mu sync.Mutex
	var held []net.Conn
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range held {
			c.Close()
		}
	})
	for name, fail := range map[string]func(c *net.TCPConn){
		"silent": func(c *net.TCPConn) {
			mu.Lock()
			defer mu.Unlock()
			held = append(held, c)
		},
		"closed": func(c *net.TCPConn) { c.Close() },
		"reset": func(c *net.TCPConn) {
			_ = c.SetLinger(0)
			c.Close()
		},
	} {
		for _, http2 := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				var carried atomic.Int32
				s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, got request) {
					carried.Add(1)
					result(w, got.id, `{}`)
				}}
				server := httptest.NewUnstartedServer(s)
				l := &shy{Listener: server.Listener, fail: fail}
				server.Listener, server.EnableHTTP2 = l, http2
				server.StartTLS()
				t.Cleanup(server.Close)
				template := server.Client().Transport.(*http.Transport).Clone()
				template.TLSHandshakeTimeout = time.Second
				template.DisableKeepAlives = true
				h := start(t, bridge.Options{URL: server.URL + "/mcp", Logger: logger(t), HTTP: &http.Client{Transport: template}})
				h.hello()
				h.send(streamCall("0"))
				h.response("0") // the session has begun
				l.failed.Store(2)
				h.send(streamCall("1"))
				if got := h.response("1"); get(t, got, "result") != "{}" || carried.Load() != 2 || l.failed.Load() >= 0 {
					t.Errorf("got %s, carried out %d times", got, carried.Load())
				}
			})
		}
	}
}
