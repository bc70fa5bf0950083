package webpage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"maps"
	"mime"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// maxMessage bounds a message of an MCP host, in bytes. It is kept until the server has responded,
// to be sent again after a refresh.
const maxMessage = 16 << 20

// gateway re-exposes the servers for MCP hosts, each behind a bearer token of its own. What it
// forwards are the requests of Streamable HTTP (MCP 2025-11-25, section Transports): POST, the GET
// of a stream, and the DELETE of a session.
type gateway struct {
	backend Backend
	log     func(Event)
	proxy   *httputil.ReverseProxy
}

type gatewayKey struct{}

// forwarded is what the proxy needs to know of a request.
type forwarded struct {
	name     string
	upstream *Upstream
	url      *url.URL
	ctx      context.Context // without the proxy's hook for interim responses
}

func newGateway(b Backend, log func(Event)) *gateway {
	g := &gateway{backend: b, log: log}
	g.proxy = &httputil.ReverseProxy{
		Rewrite: rewrite, Transport: roundTripFunc(forward), ModifyResponse: cleanResponse,
		ErrorHandler: g.explain, ErrorLog: NoLog,
	}
	return g
}

// ServeHTTP implements http.Handler. The token is checked before anything else of the request, and
// a name without a server looks like one with another token.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.EscapedPath(), mcpPrefix)
	bearer := ""
	if validName(name) {
		bearer = g.backend.Bearer(name)
	}
	if !same(bearerOf(r), bearer) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		reject(w, http.StatusUnauthorized,
			"the bearer token is missing or wrong: copy it from the page of handstamp serve")
		return
	}
	if status, message := checkRequest(r); status != 0 {
		reject(w, status, message)
		return
	}
	upstream, err := g.backend.Upstream(name)
	if err != nil {
		reject(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	target, err := url.Parse(upstream.URL)
	if err != nil {
		reject(w, http.StatusInternalServerError, "the server's URL cannot be parsed")
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(upstream.Life, cancel)() // the user has signed out
	ctx = context.WithValue(ctx, gatewayKey{}, &forwarded{name, upstream, target, ctx})
	r = r.WithContext(ctx)
	switch err := keepBody(w, r); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		reject(w, http.StatusRequestTimeout, "the message took too long")
		return
	case err != nil:
		reject(w, http.StatusRequestEntityTooLarge, "the message is larger than "+
			strconv.Itoa(maxMessage>>20)+" MiB")
		return
	}
	g.proxy.ServeHTTP(w, r)
}

// validName reports whether a part of a path can be a server's name.
func validName(name string) bool {
	return name != "" && strings.Trim(name, ".") != "" && strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	}) < 0
}

// checkRequest finds what Streamable HTTP has no use for. A POST must be JSON: a page of another
// site cannot send that without the permission that it does not get (CORS).
func checkRequest(r *http.Request) (status int, message string) {
	switch r.Method {
	case http.MethodPost:
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || kind != "application/json" {
			return http.StatusUnsupportedMediaType, "a message is application/json"
		}
	case http.MethodGet, http.MethodDelete:
	default:
		return http.StatusMethodNotAllowed, "only GET, POST and DELETE are forwarded"
	}
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		return http.StatusBadRequest, "the address has no query"
	}
	return 0, ""
}

// keepBody reads the request's body, so that it can be sent again.
func keepBody(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		// What net/http reads of a body by itself does not end its deadline.
		_, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxMessage))
		r.Body, r.ContentLength = http.NoBody, 0
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	if err != nil {
		return err
	}
	r.ContentLength = int64(len(body))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body, err = r.GetBody()
	return err
}

// notForwarded are the headers that concern the MCP host and this machine only.
var notForwarded = []string{"Authorization", "Cookie", "Origin", "Referer", "Forwarded",
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}

// rewrite makes of an MCP host's request the one to the server.
func rewrite(r *httputil.ProxyRequest) {
	f := r.In.Context().Value(gatewayKey{}).(*forwarded)
	r.Out.URL = f.url
	r.Out.Host = ""
	r.Out.RequestURI = "" // a client's request has none
	r.Out.GetBody = r.In.GetBody
	for name := range r.Out.Header {
		if slices.Contains(notForwarded, name) || strings.HasPrefix(name, "Sec-") ||
			strings.HasPrefix(name, "Proxy-") {
			delete(r.Out.Header, name)
		}
	}
	maps.Copy(r.Out.Header, f.upstream.Header)
}

// roundTripFunc is a function as an http.RoundTripper.
type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// forward sends a request with the server's client, which signs it in and follows redirects on the
// server's own origin. Interim responses (1xx) stay here: their headers are not about the message,
// and the proxy would send them unfiltered and take the headers of [protect] from the response.
// Trailers, which arrive after the headers were filtered, stay here too.
func forward(r *http.Request) (*http.Response, error) {
	f := r.Context().Value(gatewayKey{}).(*forwarded)
	client := *f.upstream.Client
	client.CheckRedirect = keepMethod(client.CheckRedirect)
	resp, err := client.Do(r.WithContext(f.ctx))
	if outer := (*url.Error)(nil); errors.As(err, &outer) {
		err = outer.Err // its text has the address
	}
	if err != nil {
		return nil, err
	}
	withoutTrailer := *resp // trailers are set in the response that has read them
	withoutTrailer.Trailer = nil
	return &withoutTrailer, nil
}

// maxRedirects bounds how many redirects one request follows.
const maxRedirects = 10

// keepMethod returns what checks redirects like check, and follows none with another method than
// the MCP host's: the GET that a 303 makes of a POST opens a stream, and the message is lost.
func keepMethod(check func(*http.Request, []*http.Request) error) func(*http.Request, []*http.Request) error {
	return func(r *http.Request, via []*http.Request) error {
		if check != nil {
			if err := check(r, via); err != nil {
				return err
			}
		}
		if r.Method != via[0].Method || len(via) >= maxRedirects {
			return errNotForwarded(r.Response.StatusCode)
		}
		return nil
	}
}

// errNotForwarded is a response that would mislead an MCP host.
type errNotForwarded int

func (e errNotForwarded) Error() string {
	return "the server responds with status " + strconv.Itoa(int(e))
}

// cleanResponse removes from a response what is not for the MCP host: cookies, challenges, which
// would send the host to the authorization server, and what a browser would obey.
func cleanResponse(resp *http.Response) error {
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode/100 == 3 ||
		resp.StatusCode < http.StatusOK {
		return errNotForwarded(resp.StatusCode)
	}
	for name := range resp.Header {
		if !isForMCPHost(name) {
			delete(resp.Header, name)
		}
	}
	return nil
}

// isForMCPHost reports whether a response header is about the message.
func isForMCPHost(name string) bool {
	switch name {
	case "Content-Security-Policy", "Content-Security-Policy-Report-Only", "Content-Location",
		"Content-Disposition":
		return false
	case "Allow", "Date", "Retry-After", "Traceparent", "Tracestate", "X-Request-Id":
		return true
	}
	return strings.HasPrefix(name, "Content-") || strings.HasPrefix(name, "Mcp-") ||
		strings.HasPrefix(name, "Ratelimit") || strings.HasPrefix(name, "X-Ratelimit-")
}

// explain responds where the server's response did not come, or was not forwarded.
func (g *gateway) explain(w http.ResponseWriter, r *http.Request, err error) {
	f := r.Context().Value(gatewayKey{}).(*forwarded)
	var status int
	var message string
	if rejected := errNotForwarded(0); errors.As(err, &rejected) {
		status, message = http.StatusBadGateway, err.Error()
	} else {
		status, message = g.backend.Explain(f.name, err)
	}
	if r.Context().Err() == nil {
		g.log(Event{Server: f.name, Text: "Request of an MCP host failed: " + message, Mark: Bad})
	}
	reject(w, status, message)
}

// reject responds with a JSON-RPC error without an id, as Streamable HTTP allows it in the body of
// a response with an error status.
func reject(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0",
		"error": map[string]any{"code": -32000, "message": message}})
}

// NoLog takes what net/http logs: broken connections, which the other end notices itself.
var NoLog = log.New(io.Discard, "", 0)
