package handstamp

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
)

// Addresses that only a server's metadata names must be public, unless the MCP server itself is
// where they are: a stranger must not make this program, or its user's browser, send requests
// behind the firewall (SSRF: MCP security best practices).

// reach returns which addresses a host may have that the server's metadata names.
func (m *mcpServer) reach(host string) oauth.Reach {
	own := m.url.Hostname()
	switch {
	case strings.EqualFold(host, own), m.config.namedByUser(host):
		return oauth.ReachAny // the user named it
	case m.config.InsecureAllowPrivateAddresses, oauth.HostReach(own) == oauth.ReachLocal:
		return oauth.ReachLocal
	case oauth.HostReach(own) == oauth.ReachPrivate, m.privateNetwork.Load():
		return oauth.ReachPrivate
	}
	return oauth.ReachPublic
}

// observe returns a context for requests to the MCP server, by transport, that notes
// whether the server is in a private network. A name proves it only by a connection with a
// certificate for it: what a name resolves to is its owner's to say.
func (m *mcpServer) observe(ctx context.Context, transport http.RoundTripper) context.Context {
	t := standardTransport(transport)
	if t == nil || m.url.Scheme != "https" {
		return ctx
	}
	if t.Proxy != nil {
		if proxy, err := t.Proxy(&http.Request{URL: m.url, Host: m.url.Host}); proxy != nil || err != nil {
			return ctx // the connection is the proxy's
		}
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		at, err := netip.ParseAddrPort(info.Conn.RemoteAddr().String())
		if err == nil && oauth.AddrReach(at.Addr()) == oauth.ReachPrivate {
			m.privateNetwork.Store(true)
		}
	}})
}

// standardTransport returns the transport of net/http that a RoundTripper is, or is made of as
// those of package bridge are; nil if there is none.
func standardTransport(transport http.RoundTripper) *http.Transport {
	switch t := transport.(type) {
	case *http.Transport:
		return t
	case interface{ Standard() *http.Transport }:
		return t.Standard()
	}
	return nil
}

// checkEndpoints returns an error if the metadata names an endpoint that it may not name. A
// revocation endpoint is no reason to reject a login; it is not used.
func (d *discovery) checkEndpoints(ctx context.Context, m *oauth.ServerMetadata) error {
	check := func(what, endpoint string) error {
		u, err := url.Parse(endpoint)
		if err != nil || endpoint == "" {
			return nil // parsed before
		}
		host := u.Hostname()
		if oauth.HostReach(host) <= d.server.reach(host) {
			return nil
		}
		return &oauth.BlockedError{What: what, Host: host}
	}
	for _, e := range []struct{ what, endpoint string }{
		{"the authorization_endpoint", m.AuthorizationEndpoint},
		{"the token_endpoint", m.TokenEndpoint},
		{"the registration_endpoint", m.RegistrationEndpoint},
	} {
		if err := check(e.what, e.endpoint); err != nil {
			return err
		}
	}
	if check("", m.RevocationEndpoint) != nil {
		m.RevocationEndpoint = ""
	}
	return d.resolveAuthorizationHost(ctx, m.AuthorizationEndpoint)
}

// resolveTimeout bounds looking up the authorization endpoint's host.
const resolveTimeout = 2 * time.Second

// resolveAuthorizationHost returns an error if the authorization endpoint's name leads to an
// address out of reach. The guard sees the other endpoints when it dials them; here it is the
// browser that dials. A name that cannot be looked up is left to the browser.
func (d *discovery) resolveAuthorizationHost(ctx context.Context, endpoint string) error {
	u, err := url.Parse(endpoint)
	t, guarded := d.fetcher.HTTP.(*http.Transport)
	if err != nil || !guarded || d.config.AuthTransport != nil {
		return nil
	}
	host, reach := u.Hostname(), d.server.reach(u.Hostname())
	if reach == oauth.ReachAny {
		return nil
	}
	if t.Proxy != nil {
		if proxy, err := t.Proxy(&http.Request{URL: u, Host: u.Host}); proxy != nil || err != nil {
			return nil // where names are the proxy's to look up
		}
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	for _, addr := range addresses {
		if addr = addr.Unmap(); oauth.AddrReach(addr) > reach {
			return &oauth.BlockedError{What: "the authorization_endpoint", Host: host,
				Address: netip.AddrPortFrom(addr, 443).String()}
		}
	}
	return nil
}

// withCertificate returns a transport that presents a certificate; nil stands for the default one.
func withCertificate(t *http.Transport, certificate *tls.Certificate) *http.Transport {
	if t == nil {
		t = http.DefaultTransport.(*http.Transport)
	}
	t = t.Clone()
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = new(tls.Config)
	}
	// Not as one of Certificates: crypto/tls keeps back one that no authority signed which the
	// server lists, such as a self-signed one (RFC 8705, section 2.2).
	t.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return certificate, nil
	}
	return t
}
