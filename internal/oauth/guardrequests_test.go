package oauth

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp/internal/dnstest"
	"github.com/handstamp/handstamp/internal/errtype"
)

// layer is a RoundTripper that adds something to that of net/http, as those do that trace.
type layer struct{ http.RoundTripper }

// A name that leads inside is rejected before the request is written, by any RoundTripper that is
// made of one of net/http; a connection that was made before is checked as well.
func TestGuardRequestsOfANameThatLeadsInside(t *testing.T) {
	var written atomic.Bool
	inside := serve(t, func(http.ResponseWriter, *http.Request) { written.Store(true) })
	secure := httptest.NewUnstartedServer(inside.Config.Handler)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	dialer := &net.Dialer{Resolver: dnstest.Resolver(t, "127.0.0.1")}
	base := secure.Client().Transport.(*http.Transport).Clone()
	base.DialContext = dialer.DialContext
	t.Cleanup(base.CloseIdleConnections)
	send := func(h http.RoundTripper, target string) error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := h.RoundTrip(req)
		if err == nil {
			if resp.Request != req {
				t.Errorf("%s: the response is of another request", target)
			}
			_ = resp.Body.Close()
		}
		return err
	}
	_, port, _ := net.SplitHostPort(inside.Listener.Addr().String())
	_, securePort, _ := net.SplitHostPort(secure.Listener.Addr().String())
	targets := []string{"http://evil.example.com:" + port, "https://example.com:" + securePort}
	for _, warm := range []bool{false, true} {
		if warm { // by a request that nothing guards
			for _, target := range targets {
				if err := send(base, target); err != nil {
					t.Fatal(err)
				}
			}
			written.Store(false)
		}
		for _, target := range targets {
			err := send(GuardRequests(layer{base}, nil), target)
			if blocked, ok := errtype.As[*BlockedError](err); !ok || blocked.Address == "" {
				t.Errorf("%s, warm %t: %v", target, warm, err)
			}
		}
		if written.Load() {
			t.Errorf("warm %t: a request came inside", warm)
		}
	}
	for _, host := range []string{
		"127.0.0.1", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "0.0.0.0", "100.64.0.1", "169.254.169.254",
		"2130706433", "localhost", "vault.internal",
	} {
		if _, ok := errtype.As[*BlockedError](send(GuardRequests(layer{base}, nil), "http://"+host+":"+port)); !ok {
			t.Errorf("%s was not rejected", host)
		}
	}
	allowed := func(string) Reach { return ReachLocal }
	for _, target := range targets {
		if err := send(GuardRequests(layer{base}, allowed), target); err != nil {
			t.Errorf("%s within reach: %v", target, err)
		}
	}
}

// proxied is a RoundTripper that shows the transport that it is made of.
type proxied struct{ *http.Transport }

func (p proxied) Standard() *http.Transport { return p.Transport }

// A proxy in a private network may be used, and no address behind it that is private.
func TestGuardRequestsByAProxy(t *testing.T) {
	var targets recorder
	proxy := serve(t, func(_ http.ResponseWriter, r *http.Request) { targets.add(r) })
	proxyURL, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	base := &http.Transport{Proxy: http.ProxyURL(proxyURL)}
	t.Cleanup(base.CloseIdleConnections)
	h := GuardRequests(proxied{base}, nil)
	for target, ok := range map[string]bool{
		"http://public.example/": true, "http://10.0.0.1/": false, "http://localhost/": false,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := h.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if (err == nil) != ok {
			t.Errorf("%s: %v", target, err)
		}
	}
	if got := targets.list(); len(got) != 1 || got[0] != "http://public.example/" {
		t.Errorf("the proxy received %q", got)
	}
}
