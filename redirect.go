package handstamp

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/handstamp/handstamp/internal/oauth"
)

// maxRedirects bounds how many redirects one request follows.
const maxRedirects = 5

// followRedirect is the CheckRedirect of [Client.HTTPClient]: a redirect is followed on the
// same origin only, and not more than maxRedirects times. net/http copies the caller's headers
// to each redirected request, and which of them hold a secret only the caller knows.
//
// A 301 or 302 keeps the method and the body, as RFC 9110 (sections 15.4.2 and 15.4.3) allows:
// the GET that net/http makes of a POST would open an event stream at an MCP server, and the
// message would be lost. A 303 becomes a GET, which is its meaning.
func (m *mcpServer) followRedirect(req *http.Request, via []*http.Request) error {
	last := via[len(via)-1]
	if err := m.checkRedirect(last.URL, req.URL, last.Header); err != nil {
		return err
	}
	if len(via) > maxRedirects {
		return &Error{Kind: ErrProtocol, Server: m.serverURL,
			Message: fmt.Sprintf("the server redirects more than %d times", maxRedirects)}
	}
	if req.Response.StatusCode == http.StatusSeeOther || last.Method == http.MethodGet || last.Method == http.MethodHead {
		return nil
	}
	return keepMethod(req, last, via[0])
}

// keepMethod gives a redirected request the method of the last one and the body of the first.
// Without a way to send the body again, the redirect itself is the response, as with a 307.
func keepMethod(req, last, first *http.Request) error {
	req.Method = last.Method
	if first.Body == nil || first.Body == http.NoBody || req.Body != nil {
		return nil
	}
	if first.GetBody == nil {
		return http.ErrUseLastResponse
	}
	body, err := first.GetBody()
	if err != nil {
		return err
	}
	req.Body, req.GetBody, req.ContentLength = body, first.GetBody, first.ContentLength
	for _, name := range []string{"Content-Encoding", "Content-Language", "Content-Location", "Content-Type"} {
		if values := first.Header[name]; values != nil {
			req.Header[name] = values
		}
	}
	return nil
}

// checkRedirect returns an error unless the redirect of a request with these headers stays on
// the origin.
func (m *mcpServer) checkRedirect(from, to *url.URL, sent http.Header) error {
	e := &Error{Kind: ErrProtocol, Server: m.serverURL, Hint: "if the server has moved, use its new URL"}
	switch {
	case !oauth.SameOrigin(from, to):
		if from.Scheme == "https" && to.Scheme == "http" && from.Hostname() == to.Hostname() &&
			strings.TrimSuffix(from.EscapedPath(), "/") == strings.TrimSuffix(to.EscapedPath(), "/") {
			// A server that does not know of the proxy in front of it wants a slash.
			e.Hint = "try " + oauth.Origin(from) + to.EscapedPath()
		}
		e.Message = fmt.Sprintf("the server redirects from %s to %s, which is another origin; nothing was sent there",
			oauth.Origin(from), m.secrets.shownURL(to, sent))
	case to.User != nil:
		e.Message = fmt.Sprintf("%s redirects to a URL with a user name; nothing was sent there", oauth.Origin(from))
	default:
		return nil
	}
	return e
}

// checkRedirectResponse is checkRedirect for a response. It is made before net/http looks at
// the response, whose errors would repeat the Location with its query.
func (m *mcpServer) checkRedirectResponse(req *http.Request, resp *http.Response) error {
	if !oauth.IsRedirect(resp.StatusCode) {
		return nil
	}
	location := resp.Header.Get("Location")
	if location == "" {
		return nil
	}
	to, err := req.URL.Parse(location)
	if err != nil {
		return &Error{Kind: ErrProtocol, Server: m.serverURL,
			Message: fmt.Sprintf("%s redirects to something that is not a URL", oauth.Origin(req.URL))}
	}
	if resp.Request != nil && resp.Request.URL != nil {
		req = resp.Request // with the token
	}
	return m.checkRedirect(req.URL, to, req.Header)
}

// checkRedirectedRequest rejects a request that an [http.Client] of the caller's made to follow
// a redirect away from the server: it carries the headers that were meant for the server.
func (m *mcpServer) checkRedirectedRequest(req *http.Request) error {
	before := redirectedFrom(req)
	if before == nil || !oauth.SameOrigin(before.URL, m.url) {
		return nil
	}
	return m.checkRedirect(before.URL, req.URL, before.Header)
}

// redirectedFrom returns the request whose response led to req, nil if there was none.
func redirectedFrom(req *http.Request) *http.Request {
	if req.Response == nil || req.Response.Request == nil || req.Response.Request.URL == nil {
		return nil
	}
	return req.Response.Request
}

// nameRequest sets the request of a response that a RoundTripper has left without: what follows
// a redirect is checked by it.
func nameRequest(resp *http.Response, req *http.Request) {
	if resp.Request == nil {
		resp.Request = req
	}
}

// noteMoved remembers where a request went in the end, if the server has redirected it on its
// own origin to more than a slash.
func (m *mcpServer) noteMoved(req *http.Request) {
	if redirectedFrom(req) == nil || !oauth.SameOrigin(m.url, req.URL) ||
		strings.TrimSuffix(req.URL.EscapedPath(), "/") == strings.TrimSuffix(m.url.EscapedPath(), "/") {
		return
	}
	to := oauth.Origin(req.URL) + req.URL.EscapedPath()
	m.moved.Store(&to)
}

// sameOriginTransport rejects responses that redirect to another origin.
type sameOriginTransport struct {
	server *mcpServer
	base   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t sameOriginTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return resp, err
	}
	nameRequest(resp, req)
	if err := t.server.checkRedirectResponse(req, resp); err != nil {
		drainAndClose(resp)
		return nil, err
	}
	return resp, nil
}

// Format implements fmt.Formatter, as the Transport's does.
func (t sameOriginTransport) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[transport]") }
