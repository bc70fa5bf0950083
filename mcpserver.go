package handstamp

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
)

// mcpServer is one MCP server as this process knows it: its URL, and what its responses have
// shown. It is safe for concurrent use.
type mcpServer struct {
	config    *configuration
	events    *narrator
	secrets   *knownSecrets
	serverURL string // as the user gave it
	url       *url.URL
	target    string // the server URL as given, without a fragment: its bytes may be the resource

	named namedEndpoints

	// moved is where the server redirects to on its own origin; nil: nowhere.
	moved atomic.Pointer[string]

	// privateNetwork is set once a connection to the server led into a private network.
	privateNetwork atomic.Bool

	mu   sync.Mutex
	auth http.RoundTripper // guarded by mu; see authTransport
}

// authTransport returns what carries the requests to authorization servers. It is made for the first of
// them: a session whose stored token serves sends none, and a hosted application has many of those.
func (m *mcpServer) authTransport() http.RoundTripper {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.auth == nil {
		m.auth = m.config.authTransport(m.reach)
	}
	return m.auth
}

// closeIdle closes connections to authorization servers that are not in use. Those of a transport
// that the application has given are the application's.
func (m *mcpServer) closeIdle() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t, ok := m.auth.(*http.Transport); ok && m.config.AuthTransport != http.RoundTripper(t) {
		t.CloseIdleConnections()
	}
}

// parseServerURL returns the URL of an MCP server, or an error that says what is
// wrong with it.
func parseServerURL(raw string, allowHTTP bool) (*url.URL, error) {
	usage := func(message, hint string) error {
		return &Error{Kind: ErrInvalidConfig, Server: raw, Message: message, Hint: hint}
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return nil, usage("the server URL is malformed", "write it as https://host/path")
	}
	switch strings.ToLower(u.Scheme) {
	case "https":
	case "http":
		if !oauth.IsLoopback(u.Hostname()) && !allowHTTP {
			return nil, usage("the server URL uses http, which sends tokens in the clear", "use https://"+u.Host+u.EscapedPath())
		}
	default:
		return nil, usage("the server URL must begin with https://", "")
	}
	if u.User != nil {
		return nil, usage("the server URL must not contain a user name or password", "")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// covers reports whether the session's token may be sent to u: the server's own
// origin, at or below the server's path, or where the server named its endpoint (RFC 6750,
// section 5.3: a token goes to no other server).
func (m *mcpServer) covers(u *url.URL) bool {
	return m.isAt(u) || oauth.SameOrigin(m.url, u) &&
		(oauth.PathWithin(u.EscapedPath(), m.url.EscapedPath()) || m.named.has(u.EscapedPath()))
}

// isAt reports whether u is the server's own URL, as it is of nearly all requests.
func (m *mcpServer) isAt(u *url.URL) bool {
	return u.Path == m.url.Path && u.Host == m.url.Host && u.Scheme == m.url.Scheme && u.RawPath == m.url.RawPath
}

// coversRequest reports whether the session's token may be sent with req: to a URL that the
// session covers, or where the server redirects from there on its own origin.
func (m *mcpServer) coversRequest(req *http.Request) bool {
	for ; req != nil; req = redirectedFrom(req) {
		if m.covers(req.URL) {
			return true
		}
		if !oauth.SameOrigin(m.url, req.URL) {
			return false
		}
	}
	return false
}

// unreachableError returns the error for an MCP server's network error, or err
// itself if the request's own context ended it or it says already what it is.
func (m *mcpServer) unreachableError(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if _, known := errtype.As[*Error](err); known {
		return err
	}
	e := m.connectError(err)
	if e.Kind == ErrServerUnreachable {
		e.Hint = "try again"
	}
	return e
}

// connectError returns the error of a request to which there is no response.
func (m *mcpServer) connectError(err error) *Error {
	e := &Error{Kind: ErrServerUnreachable, Server: m.serverURL, Err: oauth.RedactError(err, m.secrets.all()),
		Message: "the MCP server cannot be reached"}
	if blocked, ok := errtype.As[*oauth.BlockedError](err); ok {
		e.Kind, e.Message = ErrInvalidConfig, "the MCP server is not at an address that may be used"
		if blocked.Allowable() {
			withSetting(e, oauth.SettingPrivate)
			e.Hint = "if servers may be there, set the client's InsecureAllowPrivateAddresses"
		}
	}
	return e
}

// Addresses that only a server's metadata names must be public, unless the MCP server itself is
// where they are: a stranger must not make this program, or its user's browser, send requests
// behind the firewall (SSRF: MCP security best practices).

// reach returns which addresses a host may have that the server's metadata names.
func (m *mcpServer) reach(host string) oauth.Reach {
	own := m.url.Hostname()
	switch {
	case m.config.namedByUser(host), m.config.identityProvider && strings.EqualFold(host, own):
		return oauth.ReachAny
	case m.config.UntrustedServers: // where the server is proves nothing
		return (*Client)(m.config).untrustedReach()
	case strings.EqualFold(host, own):
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

// checkReach returns an error if the host of an endpoint may not have been named, by its name alone.
func (m *mcpServer) checkReach(what, endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || endpoint == "" {
		return nil // parsed before
	}
	host := u.Hostname()
	if oauth.HostReach(host) <= m.reach(host) {
		return nil
	}
	return &oauth.BlockedError{What: what, Host: host}
}

// mayName reports whether an endpoint may have been named.
func (m *mcpServer) mayName(endpoint string) bool { return m.checkReach("", endpoint) == nil }

// checkEndpoints returns an error if the metadata names an endpoint that it may not name. One that
// most logins do without is no reason to reject a login; it is not used.
func (d *discovery) checkEndpoints(ctx context.Context, m *oauth.ServerMetadata) error {
	for _, e := range []struct{ what, endpoint string }{
		{"the authorization_endpoint", m.AuthorizationEndpoint},
		{"the token_endpoint", m.TokenEndpoint},
		{"the registration_endpoint", m.RegistrationEndpoint},
	} {
		if err := d.server.checkReach(e.what, e.endpoint); err != nil {
			return err
		}
	}
	d.server.dropUnnamed(m)
	return d.resolveAuthorizationHost(ctx, m.AuthorizationEndpoint)
}

// dropUnnamed removes the optional endpoints that the metadata may not name.
func (m *mcpServer) dropUnnamed(as *oauth.ServerMetadata) {
	for _, endpoint := range []*string{
		&as.RevocationEndpoint, &as.PushedAuthorizationRequestEndpoint, &as.DeviceAuthorizationEndpoint, &as.UserinfoEndpoint,
	} {
		if !m.mayName(*endpoint) {
			*endpoint = ""
		}
	}
}

// resolveTimeout bounds looking up the authorization endpoint's host.
const resolveTimeout = 2 * time.Second

// resolveAuthorizationHost returns an error if the authorization endpoint's name leads to an
// address out of reach. The guard sees the other endpoints when it dials them; here it is the
// browser that dials. A name that cannot be looked up is left to the browser.
func (d *discovery) resolveAuthorizationHost(ctx context.Context, endpoint string) error {
	u, err := url.Parse(endpoint)
	t, guarded := d.fetcher.HTTP().(*http.Transport)
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
	if addr := oauth.LeadsBeyond(ctx, host, reach); addr.IsValid() {
		return &oauth.BlockedError{What: "the authorization_endpoint", Host: host,
			Address: netip.AddrPortFrom(addr, 443).String()}
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

// An HTTP+SSE server (MCP 2024-11-05) names the URL to post to in the first event of its stream,
// and it need not be below the stream's: the Python SDK has /messages/ beside /sse. The server
// names it on a stream that was opened with the token, so on the server's own origin it gets the
// token as well.

const (
	maxNamedEndpoints = 32       // that are remembered for a session: a new stream names a new one
	maxNamingBytes    = 64 << 10 // of a stream that are searched for the event
)

// namedEndpoints are the paths that the server has named. It is safe for concurrent use.
type namedEndpoints struct {
	mu    sync.Mutex
	paths []string // guarded by mu; the latest is the last
}

// add remembers a path.
func (n *namedEndpoints) add(path string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paths = append(slices.DeleteFunc(n.paths, func(p string) bool { return p == path }), path)
	if len(n.paths) > maxNamedEndpoints {
		n.paths = n.paths[1:]
	}
}

// has reports whether the server has named a path.
func (n *namedEndpoints) has(path string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.paths, path)
}

// watchForEndpoint looks for the endpoint that a stream names as the caller reads the stream.
func (m *mcpServer) watchForEndpoint(req *http.Request, resp *http.Response) {
	if req.Method != http.MethodGet || resp.StatusCode != http.StatusOK {
		return
	}
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "text/event-stream") {
		return
	}
	base := req.URL
	resp.Body = &endpointReader{ReadCloser: resp.Body, found: func(named string) {
		to, err := base.Parse(named)
		if err == nil && to.User == nil && oauth.SameOrigin(to, m.url) && oauth.PathWithin(to.EscapedPath(), "") {
			m.named.add(to.EscapedPath())
		}
	}}
}

// endpointReader is the body of an event stream. It calls found with the data of the first
// endpoint event. It changes nothing and reads nothing ahead.
type endpointReader struct {
	io.ReadCloser
	found func(named string)

	line  []byte // begun and not ended
	cr    bool   // the last line ended with CR
	event string // of the event that has begun
	data  []string
	seen  int
	done  bool
}

// Read implements io.Reader.
func (r *endpointReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if !r.done {
		r.scan(p[:n])
	}
	return n, err
}

// scan reads lines as the stream's format has them (WHATWG HTML, section 9.2.6): each ends with
// CR, LF or both together.
func (r *endpointReader) scan(b []byte) {
	if r.seen > maxNamingBytes {
		r.done = true
	}
	r.seen += len(b)
	for len(b) > 0 && !r.done {
		if r.cr && b[0] == '\n' {
			b = b[1:]
		}
		r.cr = false
		end := bytes.IndexAny(b, "\r\n")
		if end < 0 {
			r.line = append(r.line, b...)
			return
		}
		r.field(string(append(r.line, b[:end]...)))
		r.line, r.cr, b = r.line[:0], b[end] == '\r', b[end+1:]
	}
}

// field takes one line.
func (r *endpointReader) field(line string) {
	name, value, _ := strings.Cut(strings.TrimPrefix(line, "\ufeff"), ":")
	value = strings.TrimPrefix(value, " ")
	switch {
	case line == "" && r.event == "endpoint" && len(r.data) > 0:
		r.done = true
		r.found(strings.Join(r.data, "\n"))
	case line == "": // the end of another event
		r.event, r.data = "", nil
	case name == "event":
		r.event = value
	case name == "data":
		r.data = append(r.data, value)
	}
}
