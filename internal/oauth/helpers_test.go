package oauth

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
)

// serve starts a server on loopback that ends with the test.
func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// fetcher returns a Fetcher that may connect to loopback.
func fetcher(t *testing.T) *Fetcher {
	t.Helper()
	tr := Guard(&http.Transport{}, func(string) Reach { return ReachAny })
	t.Cleanup(tr.CloseIdleConnections)
	return &Fetcher{HTTP: by(tr), UserAgent: "handstamp-test"}
}

// by returns a [Fetcher]'s HTTP that is always the same.
func by(rt http.RoundTripper) func() http.RoundTripper {
	return func() http.RoundTripper { return rt }
}

// canary is a server that nothing may reach.
type canary struct {
	*httptest.Server
	hits atomic.Int32
}

func newCanary(t *testing.T) *canary {
	t.Helper()
	c := &canary{}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"access_token":"EVIL","refresh_token":"EVIL","client_id":"EVIL","resource":"https://evil"}`))
	}))
	c.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			c.hits.Add(1)
		}
	}
	c.Start()
	t.Cleanup(func() {
		c.Close()
		if n := c.hits.Load(); n != 0 {
			t.Errorf("the canary had %d connections, want none", n)
		}
	})
	return c
}

// recorder collects the paths that were requested.
type recorder struct {
	mu    sync.Mutex
	paths []string
}

func (r *recorder) add(req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paths = append(r.paths, req.RequestURI)
}

func (r *recorder) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.paths...)
}

// trusting returns a Fetcher that trusts the certificate of a TLS test server.
func trusting(t *testing.T, s *httptest.Server) *Fetcher {
	t.Helper()
	f := fetcher(t)
	f.HTTP().(*http.Transport).TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	f.HTTP().(*http.Transport).TLSClientConfig.MinVersion = tls.VersionTLS12
	return f
}

// String returns the name of the class in one lower-case word.
func (c Class) String() string {
	switch c {
	case ClassGrant:
		return "grant"
	case ClassClient:
		return "client"
	case ClassScope:
		return "scope"
	case ClassTarget:
		return "target"
	case ClassTransient:
		return "transient"
	}
	return "other"
}
