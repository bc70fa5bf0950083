package oauth

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// BlockedError says that a name leads to an address that no server on the
// internet has, and that the guard therefore refuses. Nothing was sent.
type BlockedError struct {
	Host    string // as in the URL
	Address string // what it resolved to, or "" if the name itself is refused
}

// Error names the host and the address.
func (e *BlockedError) Error() string {
	if e.Address == "" {
		return fmt.Sprintf("oauth: %s is not a public address", Sanitize(e.Host))
	}
	return fmt.Sprintf("oauth: %s leads to %s, which is not a public address", Sanitize(e.Host), e.Address)
}

// Guard returns a clone of base (nil: http.DefaultTransport) that connects to
// public addresses only, and to others if allowPrivate (nil: never) says so for
// the host as it is written in the URL, in lower case and without the port. The
// check is made on the address that is being dialed, so a name that changes its
// address between two look-ups gains nothing. The base's own DialContext is used,
// and its connections are checked before anything is written to them; the base's
// other dial functions are not. The clone also bounds connecting, the response's headers and the
// wait for them, and does not decompress.
//
// Behind an HTTP proxy, names are resolved by the proxy: there the guard judges
// the name and the literal address, and the proxy must do the rest. The proxy
// itself may be anywhere.
func Guard(base *http.Transport, allowPrivate func(host string) bool) *http.Transport {
	if base == nil {
		base, _ = http.DefaultTransport.(*http.Transport)
	}
	if base == nil {
		base = &http.Transport{Proxy: http.ProxyFromEnvironment}
	}
	g := &guard{allow: allowPrivate, proxy: base.Proxy, base: callersDial(base)}
	t := base.Clone()
	// Each of these would go round the check; callers may still set the old ones.
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
	t.DisableCompression = true
	t.MaxResponseHeaderBytes = 64 << 10
	t.TLSHandshakeTimeout = 10 * time.Second
	t.ResponseHeaderTimeout = 30 * time.Second
	return t
}

type guard struct {
	allow func(host string) bool
	proxy func(*http.Request) (*url.URL, error)
	base  dialFunc // the caller's; nil: a net.Dialer

	proxies sync.Map // "host:port" of each proxy in use: these are dialed unchecked
}

func (g *guard) allowed(host string) bool {
	return g.allow != nil && g.allow(strings.ToLower(host))
}

// dial connects to a host and looks at each address before it is used.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	_, isProxy := g.proxies.Load(strings.ToLower(address))
	checked := !isProxy && !g.allowed(host)
	if checked && !isPublicName(host) {
		return nil, &BlockedError{Host: host} // whatever a resolver makes of it
	}
	switch {
	case g.base != nil && checked:
		return g.dialByCaller(ctx, network, address, host)
	case g.base != nil:
		return g.base(ctx, network, address)
	case checked:
		d.ControlContext = func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(resolved)
			if err != nil || !isPublic(ap.Addr()) {
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
	if host := req.URL.Hostname(); !isPublicName(host) && !g.allowed(host) {
		return nil, &BlockedError{Host: host}
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

// isPublicName reports whether a host as written may be one on the internet:
// no name of this computer or network, no address that is not public, and no
// number in a spelling that some resolvers take for an address (RFC 3986
// section 7.4).
func isPublicName(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if addr, err := netip.ParseAddr(host); err == nil {
		return isPublic(addr)
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	switch last {
	case "", "localhost", "local", "internal", "localdomain", "lan", "home", "arpa":
		return false
	}
	if _, err := strconv.ParseUint(last, 0, 64); err == nil || strings.Trim(last, "0123456789") == "" {
		return false
	}
	return !strings.HasPrefix(last, "0x")
}

// isPublic reports whether an address may belong to a server on the internet.
// Addresses that carry another address inside them are refused whatever it is.
func isPublic(addr netip.Addr) bool {
	addr = addr.WithZone("")
	if !addr.IsValid() || addr.Is4In6() {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}

// notPublic follows the IANA special-purpose address registries (RFC 6890).
var notPublic = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"::/96",        // unspecified, loopback, IPv4-compatible
	"64:ff9b::/96", // NAT64
	"64:ff9b:1::/48",
	"100::/64",
	"2001::/23", // protocol assignments, among them Teredo
	"2001:db8::/32",
	"2002::/16", // 6to4
	"3fff::/20",
	"5f00::/16",
	"fc00::/7",
	"fe80::/10",
	"fec0::/10", // site-local, deprecated and still routed in places
	"ff00::/8",
)

func prefixes(texts ...string) []netip.Prefix {
	ps := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		ps[i] = netip.MustParsePrefix(t)
	}
	return ps
}
