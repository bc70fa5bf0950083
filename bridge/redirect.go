package bridge

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxRedirects bounds how many redirects one request follows.
const maxRedirects = 5

// follow sends a request and follows redirects on its origin, with method and body: which of its
// headers are secret only the user knows, and the GET that others make of a redirected POST
// opens an event stream at an MCP server, while the message is lost. An error that is a
// *Trouble means that nothing was carried out.
func (t *wireTransport) follow(req *http.Request) (*http.Response, error) {
	var seen []string
	cookies := req.Header["Cookie"] // the user's, to which the client adds its own each time
	for {
		resp, err := t.client.Do(req)
		if err != nil || !redirects(resp.StatusCode) {
			return resp, err
		}
		to, trouble := destination(resp, req)
		if trouble == nil {
			trouble = redirectError(&seen, req.URL, to)
		}
		if trouble == nil {
			req, err = redirected(req, to, resp)
			req.Header["Cookie"] = cookies
		}
		discard(resp)
		switch {
		case trouble != nil:
			return nil, trouble
		case err != nil:
			return nil, err
		}
	}
}

func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// destination returns where a response redirects its request to, or why the request cannot go
// there.
func destination(resp *http.Response, req *http.Request) (*url.URL, *Trouble) {
	status := resp.StatusCode
	location := resp.Header.Get("Location")
	to, err := req.URL.Parse(location)
	switch {
	case location == "":
		return nil, redirectTrouble("(HTTP status %d), but says not where to", status)
	case err != nil:
		return nil, notAURL(status)
	case !sameOrigin(req.URL, to):
		return nil, redirectTrouble("to another origin, %s; nothing was sent there. "+
			"If the server has moved, configure that URL", shownURL(to, req))
	case to.User != nil:
		return nil, redirectTrouble("to a URL with a user name; nothing was sent there")
	case status == http.StatusSeeOther && req.Method != http.MethodGet:
		return nil, redirectTrouble("(HTTP status 303) to %s with another method, "+
			"which would lose the message; if that is where it is, configure that URL", shownURL(to, req))
	}
	return to, nil
}

// redirectError returns why a request that was redirected this far is not redirected further.
func redirectError(seen *[]string, from, to *url.URL) *Trouble {
	to.Fragment, to.RawFragment = "", ""
	next := to.String()
	if *seen == nil {
		*seen = []string{from.String()}
	}
	if slices.Contains(*seen, next) {
		return redirectTrouble("in a loop, back to %s; nothing was carried out", originOf(from))
	}
	if len(*seen) > maxRedirects {
		return redirectTrouble("more than %d times; nothing was carried out", maxRedirects)
	}
	*seen = append(*seen, next)
	return nil
}

// redirected returns a request again, for where a response redirects it to.
func redirected(req *http.Request, to *url.URL, resp *http.Response) (*http.Request, error) {
	next := req.Clone(req.Context())
	next.URL, next.Host, next.Response = to, "", resp
	if req.GetBody == nil {
		return next, nil
	}
	body, err := req.GetBody()
	next.Body = body
	return next, err
}

// locations is a RoundTripper that rejects redirects to what is not a URL: the error that
// [http.Client] makes of them quotes what may be a secret.
type locations struct{ http.RoundTripper }

// RoundTrip implements [http.RoundTripper]. An error may be a *Trouble.
func (l locations) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(req)
	if err != nil || !redirects(resp.StatusCode) {
		return resp, err
	}
	if _, err := req.URL.Parse(resp.Header.Get("Location")); err != nil {
		discard(resp)
		return nil, notAURL(resp.StatusCode)
	}
	return resp, nil
}

func notAURL(status int) *Trouble {
	return redirectTrouble("(HTTP status %d) to something that is not a URL", status)
}

func redirectTrouble(format string, args ...any) *Trouble {
	return newTrouble(CodeProtocol, "redirect", "the server redirects "+fmt.Sprintf(format, args...))
}

// sameOrigin reports whether two URLs have the same scheme, host and port (RFC 6454, section 4).
func sameOrigin(a, b *url.URL) bool { return originOf(a) == originOf(b) }

// originOf returns the origin of a URL, without a port that the scheme has anyway.
func originOf(u *url.URL) string {
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if port, ok := map[string]string{"http": ":80", "https": ":443"}[scheme]; ok {
		host = strings.TrimSuffix(strings.TrimSuffix(host, port), ":")
	}
	return scheme + "://" + host
}

// maxShown bounds what is shown of a URL that the server gave, in bytes.
const maxShown = 200

// shownURL returns a URL that the server gave, without the parts that are likely to hold
// secrets, and without a path in which the server repeats what it was sent.
func shownURL(u *url.URL, req *http.Request) string {
	origin, path := originOf(u), u.EscapedPath()
	if repeats(origin, req.Header) {
		return "a URL with a secret of the request in it"
	}
	if len(path) > maxShown || repeats(path, req.Header) {
		path = ""
	}
	return origin[:min(len(origin), maxShown)] + path
}

// leastSecret is how long a word must be to be looked for: shorter ones are everywhere.
const leastSecret = 6

// repeats reports whether a part of a URL holds a word of a header that was sent.
func repeats(part string, sent http.Header) bool {
	plain, err := url.PathUnescape(part)
	if err != nil {
		plain = part
	}
	plain = strings.ToLower(plain)
	for name, values := range sent {
		if transportHeader(name) {
			continue
		}
		for _, value := range values {
			for _, word := range strings.Fields(strings.ToLower(value)) {
				if len(word) >= leastSecret && strings.Contains(plain, word) {
					return true
				}
			}
		}
	}
	return false
}

// harmless reports whether a header belongs to the transport of MCP itself.
func transportHeader(name string) bool {
	switch name {
	case "Accept", "Content-Type", "User-Agent", headerVersion, headerMethod, headerLastID:
		return true
	}
	return false
}
