package oauth

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/dnstest"
	"github.com/handstamp/handstamp/internal/errtype"
)

func TestIsPublic(t *testing.T) {
	for _, a := range []string{
		"8.8.8.8", "1.1.1.1", "93.184.216.34", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0",
		"192.167.255.255", "198.17.255.255", "223.255.255.255",
		"2606:4700:4700::1111", "2a00:1450:4001:80b::200e", "2400:cb00::1", "2001:4860:4860::8888",
	} {
		if !isPublic(netip.MustParseAddr(a)) {
			t.Errorf("%s is not public", a)
		}
	}
	for _, a := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.8.8.8", "169.254.169.254", "172.16.0.1", "172.31.255.255",
		"192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
		"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::7f00:1", "::ffff:10.0.0.1", "::ffff:8.8.8.8",
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1",
		"2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2002:7f00:1::", "2002:c0a8:101::1", "3fff::1", "5f00::1",
		"fc00::1", "fd12:3456:789a::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
	} {
		if isPublic(netip.MustParseAddr(a)) {
			t.Errorf("%s is public", a)
		}
	}
	if isPublic(netip.Addr{}) {
		t.Error("no address is public")
	}
}

func TestHostIsPublic(t *testing.T) {
	for _, h := range []string{"example.com", "EXAMPLE.com.", "a-1.example", "1and1.com", "8.8.8.8", "2606:4700:4700::1111", "x.0xyz.com"} {
		if HostReach(h) != ReachPublic {
			t.Errorf("%q is not public", h)
		}
	}
	for _, h := range []string{
		"", ".", "intranet", "keycloak", "wiki.corp", "localhost", "LOCALHOST.", "a.localhost", "printer.local", "x.internal", "x.home.arpa", "nas.lan",
		"127.0.0.1", "127.1", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "017700000001", "1.2.3.4.5", "127.0.0.0x1", "x.0x",
		"::1", "::ffff:127.0.0.1", "fe80::1%eth0", "169.254.169.254", "10.0.0.1.",
	} {
		if HostReach(h) == ReachPublic {
			t.Errorf("%q is public", h)
		}
	}
}

// TestGuardRejectsLoopback dials a real listener under several spellings: what
// counts is the address that is dialed in the end.
func TestGuardRejectsLoopback(t *testing.T) {
	c := newCanary(t)
	u, err := url.Parse(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	f := &Fetcher{HTTP: by(Guard(&http.Transport{}, nil))}
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0", "[::]"} {
		target := "http://" + host + ":" + u.Port() + "/"
		req, err := f.request(t.Context(), http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.roundTrip(f.HTTP(), req, maxDocument, Exchange{})
		if blocked, ok := errtype.As[*BlockedError](err); !ok || blocked.Host == "" || !strings.Contains(blocked.Error(), "not a public address") {
			t.Errorf("%s: error %v, want a *BlockedError", target, err)
		}
	}
}

func TestGuardAllows(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{}`)) })
	u, _ := url.Parse(s.URL)
	var checked atomic.Value
	tr := Guard(&http.Transport{}, func(host string) Reach {
		checked.Store(host)
		if host == "localhost" {
			return ReachLocal
		}
		return ReachPrivate
	})
	t.Cleanup(tr.CloseIdleConnections)
	f := &Fetcher{HTTP: by(tr)}
	if _, err := f.document(t.Context(), PurposeServer, "http://LOCALHOST:"+u.Port()+"/x"); err != nil {
		t.Errorf("an allowed host: %v", err)
	}
	if got := checked.Load(); got != "localhost" {
		t.Errorf("the policy was called with %q, want the host in lower case without its port", got)
	}
	if _, err := f.document(t.Context(), PurposeServer, "http://127.0.0.1:"+u.Port()+"/x"); err == nil {
		t.Error("another name of the same address was let through")
	}
}

// TestGuardProxy shows that a proxy in a private network may be used, and not to
// reach what is private behind it.
func TestGuardProxy(t *testing.T) {
	var targets recorder
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		targets.add(r)
		w.Write([]byte(`{}`))
	})
	proxyURL, _ := url.Parse(proxy.URL)
	tr := Guard(&http.Transport{Proxy: http.ProxyURL(proxyURL)}, nil)
	t.Cleanup(tr.CloseIdleConnections)
	f := &Fetcher{HTTP: by(tr)}
	get := func(target string) error {
		req, err := f.request(t.Context(), http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.roundTrip(f.HTTP(), req, maxDocument, Exchange{})
		return err
	}
	if err := get("http://public.example/ok"); err != nil {
		t.Errorf("through the proxy: %v", err)
	}
	for _, target := range []string{
		"http://169.254.169.254/meta", "http://10.0.0.1/x", "http://localhost/x", "http://2130706433/x", "http://[fd00::1]/x", "https://127.0.0.1/x",
	} {
		if _, ok := errtype.As[*BlockedError](get(target)); !ok {
			t.Errorf("%s was not rejected", target)
		}
	}
	if got := targets.list(); len(got) != 1 || got[0] != "http://public.example/ok" {
		t.Errorf("the proxy received requests for %q", got)
	}
}

// TestGuardIgnoresDialFunctions: a dial function of the base would go round the
// check.
func TestGuardIgnoresDialFunctions(t *testing.T) {
	c := newCanary(t)
	plain := (&http.Transport{}).Clone()
	base := &http.Transport{DialTLSContext: plain.DialContext, DialContext: plain.DialContext}
	g := Guard(base, nil)
	if g.DialTLSContext != nil || g.DialContext == nil || !g.DisableCompression || g.MaxResponseHeaderBytes != 64<<10 {
		t.Errorf("the guard's transport keeps the base's settings")
	}
	if base.DisableCompression {
		t.Error("the base was changed")
	}
	f := &Fetcher{HTTP: by(g)}
	if _, err := f.document(t.Context(), PurposeServer, c.URL); err == nil {
		t.Error("the canary was reached")
	}
}

// TestGuardHeaderBomb: headers without end are cut off.
func TestGuardHeaderBomb(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Bomb", strings.Repeat("x", 1<<20))
	}))
	defer s.Close()
	if _, err := fetcher(t).document(t.Context(), PurposeServer, s.URL); err == nil {
		t.Error("a megabyte of headers was taken")
	}
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
	rebinding := &net.Dialer{Resolver: dnstest.Resolver(t, "127.0.0.1")}
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

// A connection that is not in use ends some time, whether or not the base's do: one server may have
// those of very many Clients.
func TestGuardEndsIdleConnections(t *testing.T) {
	for configured, want := range map[time.Duration]time.Duration{
		0: 90 * time.Second, time.Minute: time.Minute, time.Hour: time.Hour,
	} {
		if got := Guard(&http.Transport{IdleConnTimeout: configured}, nil).IdleConnTimeout; got != want {
			t.Errorf("%v in place of %v: %v", got, configured, want)
		}
	}
}
