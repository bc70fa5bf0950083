package oauth

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// BlockedError reports that a host is, or resolves to, an address that the guard rejects because no
// server on the internet has it. Nothing was sent.
type BlockedError struct {
	What    string // what names the host: "the token_endpoint"; "" if that is not known
	Host    string // as in the URL
	Address string // what it resolved to, or "" if the name itself is rejected
}

// Error names the host and the address.
func (e *BlockedError) Error() string {
	host := Sanitize(e.Host)
	if e.What != "" {
		host = e.What + " is at " + host + ": that"
	}
	if e.Address == "" {
		return fmt.Sprintf("oauth: %s is not a public address", host)
	}
	return fmt.Sprintf("oauth: %s leads to %s, which is not a public address", host, e.Address)
}

// Allowable reports whether a user can allow the address: an address of a private network
// or of this computer, which is never a link-local one.
func (e *BlockedError) Allowable() bool {
	if ap, err := netip.ParseAddrPort(e.Address); err == nil {
		return AddrReach(ap.Addr()) <= ReachLocal
	}
	return HostReach(e.Host) <= ReachLocal
}

// Guard is [GuardConnections] with bounds for the responses of strangers: of the handshake, of the
// headers and of the wait for them, and for connections that are not in use. It does not decompress.
func Guard(base *http.Transport, reach func(host string) Reach) *http.Transport {
	t := GuardConnections(base, reach)
	t.DisableCompression = true
	t.MaxResponseHeaderBytes = 64 << 10
	t.TLSHandshakeTimeout = 10 * time.Second
	t.ResponseHeaderTimeout = 30 * time.Second
	if t.IdleConnTimeout == 0 { // a server that closes none would have as many as there were Clients
		t.IdleConnTimeout = 90 * time.Second
	}
	return t
}

// GuardConnections returns a clone of base (nil: http.DefaultTransport) that connects only to the
// addresses that reach (nil: [ReachPublic]) allows for the host as it is written in the URL, in
// lower case and without the port. The check is made on the address that is being dialed, so a
// name that changes its address between two look-ups gains nothing. The base's own DialContext
// is used, and its connections are checked before anything is written to them; the base's other
// dial functions are not. Connecting is bounded.
//
// An HTTP proxy resolves names itself: there the guard checks the name and the literal address, and
// the proxy must check the rest. The proxy itself may have any address.
func GuardConnections(base *http.Transport, reach func(host string) Reach) *http.Transport {
	if base == nil {
		base, _ = http.DefaultTransport.(*http.Transport)
	}
	if base == nil {
		base = &http.Transport{Proxy: http.ProxyFromEnvironment}
	}
	g := &guard{reach: reach, proxy: base.Proxy, base: callersDial(base)}
	t := base.Clone()
	// Each of these would bypass the check; callers may still set the old ones.
	//lint:ignore SA1019 they are cleared, not used
	t.Dial, t.DialTLS, t.DialTLSContext = nil, nil, nil
	t.DialContext = g.dial
	if base.Proxy != nil {
		t.Proxy = g.chooseProxy
	}
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	t.ForceAttemptHTTP2 = true // net/http turns it off when DialContext is set
	return t
}

type guard struct {
	reach func(host string) Reach
	proxy func(*http.Request) (*url.URL, error)
	base  dialFunc // the caller's; nil: a net.Dialer

	proxies sync.Map // "host:port" of each proxy in use: these are dialed unchecked
}

func (g *guard) reachOf(host string) Reach {
	if g.reach == nil {
		return ReachPublic
	}
	return g.reach(strings.ToLower(host))
}

// dial connects to a host and looks at each address before it is used.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	reach := g.reachOf(host)
	_, isProxy := g.proxies.Load(strings.ToLower(address))
	checked := !isProxy && reach != ReachAny
	if checked {
		if err := checkHost(host, reach); err != nil {
			return nil, err // whatever a resolver makes of it
		}
	}
	switch {
	case g.base != nil && checked:
		return g.dialByCaller(ctx, network, address, host, reach)
	case g.base != nil:
		return g.base(ctx, network, address)
	case checked:
		d.ControlContext = func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(resolved)
			if err != nil || AddrReach(ap.Addr()) > reach {
				return &BlockedError{Host: host, Address: resolved}
			}
			return nil
		}
	}
	return d.DialContext(ctx, network, address)
}

// chooseProxy applies the policy for names and literals before it hands a
// request to a proxy.
func (g *guard) chooseProxy(req *http.Request) (*url.URL, error) {
	proxy, err := g.proxy(req)
	if proxy == nil || err != nil {
		return proxy, err
	}
	host := req.URL.Hostname()
	if err := checkHost(host, g.reachOf(host)); err != nil {
		return nil, err
	}
	g.proxies.Store(strings.ToLower(proxyAddress(proxy)), true)
	return proxy, nil
}

// proxyAddress returns the address that net/http dials for a proxy.
func proxyAddress(proxy *url.URL) string {
	p := proxy.Port()
	if p == "" {
		p = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[proxy.Scheme]
	}
	return net.JoinHostPort(proxy.Hostname(), p)
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// callersDial returns the dial function that a caller gave a transport of their own; nil
// if it has none, or only that of http.DefaultTransport.
func callersDial(base *http.Transport) dialFunc {
	standard, _ := http.DefaultTransport.(*http.Transport)
	if base.DialContext == nil || standard != nil &&
		sameFunc(base.DialContext, standard.DialContext) {
		return nil
	}
	return base.DialContext
}

// sameFunc reports whether two functions are one and the same value, also where they
// share their code with others: the DialContext methods of two net.Dialers do.
func sameFunc(a, b dialFunc) bool {
	return *(*unsafe.Pointer)(unsafe.Pointer(&a)) == *(*unsafe.Pointer)(unsafe.Pointer(&b))
}

// dialByCaller connects with the caller's dial function, which may connect a name to any place: a
// tunnel, a socket, a test server. It must not follow a name that resolves to an address that is
// not public, since a hostile server controls what its name resolves to. So a connection to such
// an address is closed before anything is written to it, if the name was looked up by DNS.
func (g *guard) dialByCaller(ctx context.Context, network, address, host string,
	reach Reach) (net.Conn, error) {
	var traced, lookedUp atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart: func(info httptrace.DNSStartInfo) {
			if strings.EqualFold(strings.TrimSuffix(info.Host, "."), strings.TrimSuffix(host, ".")) {
				lookedUp.Store(true)
			}
		},
		ConnectStart: func(string, string) { traced.Store(true) },
	})
	conn, err := g.base(ctx, network, address)
	if err != nil {
		return nil, err
	}
	remote, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok || AddrReach(remote.AddrPort().Addr().Unmap()) <= reach {
		return conn, nil
	}
	// A function that does not pass the context on may have looked the name up unseen.
	if lookedUp.Load() || !traced.Load() && LeadsBeyond(ctx, host, reach).IsValid() {
		_ = conn.Close()
		return nil, &BlockedError{Host: host, Address: remote.String()}
	}
	return conn, nil
}

// LeadsBeyond returns an address of a name that is out of reach; the zero Addr if there is none, or
// the name cannot be looked up.
func LeadsBeyond(ctx context.Context, host string, reach Reach) netip.Addr {
	addresses, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	for _, address := range addresses {
		if address = address.Unmap(); AddrReach(address) > reach {
			return address
		}
	}
	return netip.Addr{}
}
