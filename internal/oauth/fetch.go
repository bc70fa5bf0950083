package oauth

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Limits of one request.
const (
	maxDocument = 1 << 20   // metadata and registration, bytes after decoding
	maxToken    = 256 << 10 // token endpoint, bytes after decoding

	documentTimeout = 10 * time.Second // a metadata document, with its redirects
	secretTimeout   = 30 * time.Second // a request that carries a credential

	maxRedirects = 3
)

// Fetcher sends the requests of this package. HTTP must be set; the fields must not change once it
// is in use. It keeps no cookies and no other state.
type Fetcher struct {
	// HTTP returns what sends the requests, which [Guard] makes. An [*http.Transport] is cloned for
	// each request with a single-use credential, so that it never uses a connection that the
	// server may be about to close.
	HTTP func() http.RoundTripper

	// UserAgent is the User-Agent header; if it is empty, net/http's is sent.
	UserAgent string

	// Secrets, if set, returns further secrets that errors must not contain, in addition to those in the
	// request: a server may repeat secrets that it received earlier.
	Secrets func() []Secret

	// Observe, if set, is called with each request after its response, or its failure.
	Observe func(Exchange)
}

// response is a response with its body read and bounded.
type response struct {
	url       *url.URL
	status    int
	header    http.Header
	body      []byte
	truncated bool // the body was longer than its limit, or ended early
	readErr   error
	looping   bool     // it has one redirect too many
	redactor  redactor // of the request
}

// request makes a request with the headers that all of them share. The body, if
// any, cannot be sent twice by net/http: there is no GetBody.
func (f *Fetcher) request(ctx context.Context, method, target string,
	body []byte) (*http.Request, error) {
	var r io.Reader
	if body != nil {
		r = &requestBody{Reader: bytes.NewReader(body), data: body}
	}
	req, err := http.NewRequestWithContext(ctx, method, target, r)
	if err != nil {
		return nil, errors.New("oauth: malformed request")
	}
	req.ContentLength = int64(len(body))
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "identity")
	if f.UserAgent != "" {
		req.Header.Set("User-Agent", f.UserAgent)
	}
	return req, nil
}

// requestBody is a body that this package may send again, and net/http may not.
type requestBody struct {
	io.Reader
	data []byte
}

// Close implements io.Closer.
func (*requestBody) Close() error { return nil }

// roundTrip sends req over rt and reads at most limit bytes of the body. It follows the
// redirects that [redirected] allows, three at most. An error means that there was no response.
func (f *Fetcher) roundTrip(rt http.RoundTripper, req *http.Request, limit int64,
	about Exchange) (*response, error) {
	watched := f.observe(about, req)
	resp, err := rt.RoundTrip(req)
	looping := false
	for hops := 0; err == nil; hops++ {
		next := redirected(req, resp)
		if looping = next != nil && hops == maxRedirects; next == nil || looping {
			break
		}
		resp.Body.Close()
		watched.end(&response{url: req.URL, status: resp.StatusCode, header: resp.Header}, nil)
		req = next
		watched = f.observe(about, req)
		resp, err = rt.RoundTrip(req)
	}
	if err != nil {
		watched.end(nil, err)
		return nil, err
	}
	defer resp.Body.Close()
	a := &response{url: req.URL, status: resp.StatusCode, header: resp.Header, looping: looping}
	a.body, a.readErr = readBounded(resp, limit)
	a.truncated = a.readErr != nil
	watched.end(a, nil)
	return a, nil
}

// redirected returns the request that follows a redirect, or nil if the redirect must not be
// followed. Only redirects on the same origin are followed: another origin does not speak for the
// server. A POST is followed only with the same method and body: after a 307 or 308 (RFC 9110
// sections 15.4.8 and 15.4.9), and after a 301 or 302 to the same URL with or without a slash at
// the end, which many frameworks send in response to a POST too.
func redirected(req *http.Request, resp *http.Response) *http.Request {
	location := resp.Header.Get("Location")
	if location == "" || !IsRedirect(resp.StatusCode) {
		return nil
	}
	to, err := req.URL.Parse(location)
	if err != nil || to.User != nil || !SameOrigin(to, req.URL) {
		return nil
	}
	if req.Method != http.MethodGet && !keepsMethod(req, resp, to) {
		return nil
	}
	to.Fragment = ""
	next := req.Clone(req.Context())
	next.URL, next.Host = to, ""
	if body, ok := req.Body.(*requestBody); ok {
		next.Body = &requestBody{Reader: bytes.NewReader(body.data), data: body.data}
	}
	return next
}

// keepsMethod reports whether a redirect is followed with the same method and body.
func keepsMethod(req *http.Request, resp *http.Response, to *url.URL) bool {
	switch resp.StatusCode {
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	case http.StatusMovedPermanently, http.StatusFound:
		return strings.TrimSuffix(to.EscapedPath(),
			"/") == strings.TrimSuffix(req.URL.EscapedPath(), "/")
	}
	return false
}

// TooLong reports whether a response was longer than this package reads.
func TooLong(err error) bool { return errors.Is(err, errTooLong) }

var errTooLong = errors.New("the response is too long")

// readBounded reads a body of at most limit bytes, counted after decoding. What
// was read is returned with the error too.
func readBounded(resp *http.Response, limit int64) ([]byte, error) {
	var r io.Reader = resp.Body
	switch strings.ToLower(strings.TrimSpace(resp.Header.Get("Content-Encoding"))) {
	case "", "identity":
	case "gzip", "x-gzip": // not requested; some servers send it anyway
		// The compressed side is bounded as well: empty gzip members decode to
		// nothing at all, for ever.
		z, err := gzip.NewReader(io.LimitReader(resp.Body, limit+1))
		if err != nil {
			return nil, errors.New("the response is not valid gzip")
		}
		r = z
	default:
		return nil, errors.New("the response has an encoding that was not requested")
	}
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if int64(len(body)) > limit {
		return body[:limit], errTooLong
	}
	return body, err
}

// document fetches a metadata document, which is what the request is for. It follows up to three redirects that
// stay on the origin.
func (f *Fetcher) document(ctx context.Context, what, target string) (*response, error) {
	ctx, cancel := context.WithTimeout(ctx, documentTimeout)
	defer cancel()
	req, err := f.request(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	a, err := f.roundTrip(f.HTTP(), req, maxDocument, Exchange{Purpose: what})
	switch {
	case err != nil:
		return nil, &TransientError{Reason: "no response from " + req.URL.Host, Err: err}
	case a.looping:
		return nil, &TransientError{Reason: "too many redirects at " + Sanitize(target)}
	}
	return a, nil
}

func IsRedirect(status int) bool {
	switch status {
	case 301, 302, 303, 307, 308:
		return true
	}
	return false
}

// newConnection returns a RoundTripper that opens a new connection, and a function that closes it.
// A server can close a pooled connection just when a request is written to it, and then the client
// cannot know whether a single-use token was used.
func (f *Fetcher) newConnection() (rt http.RoundTripper, done func()) {
	rt = f.HTTP()
	t, ok := rt.(*http.Transport)
	if !ok {
		return rt, func() {}
	}
	t = t.Clone()
	t.DisableKeepAlives = true
	// The request's context bounds the wait, by the time the process was awake: the response to a
	// single-use token must be read however late it is.
	t.ResponseHeaderTimeout = 0
	return t, t.CloseIdleConnections
}

// documentError returns nil if a response may be the document, [ErrNoMetadata] if it reports that
// there is none, and a [*TransientError] if neither is known.
func documentError(a *response) error {
	switch {
	case a.status/100 == 2:
		if a.truncated {
			return &TransientError{Status: a.status, Reason: "the document could not be read", Err: a.readErr}
		}
		if looksLikeHTML(a.header.Get("Content-Type"), a.body) ||
			len(bytes.TrimSpace(a.body)) == 0 {
			return ErrNoMetadata // many servers return an HTML page for every path
		}
		return nil
	case a.status == 408, a.status == 425, a.status == 429, a.status >= 500 && a.status != 501:
		return &TransientError{
			Status:     a.status,
			RetryAfter: retryAfter(a.header, time.Now()),
			Reason:     fmt.Sprintf("no metadata from %s now", a.url.Host),
		}
	}
	return ErrNoMetadata
}

// looksLikeHTML decides by the content, and by the content type only where that is not enough.
func looksLikeHTML(contentType string, body []byte) bool {
	body = bytes.TrimLeft(trimBOM(body), " \t\r\n")
	if len(body) > 0 {
		switch body[0] {
		case '<':
			return true
		case '{', '[', '"':
			return false
		}
	}
	return strings.Contains(strings.ToLower(contentType), "html")
}

func trimBOM(b []byte) []byte { return bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")) }
