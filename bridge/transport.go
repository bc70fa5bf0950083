package bridge

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/handstamp/handstamp/internal/alive"
	"github.com/handstamp/handstamp/internal/errtype"
)

// NewTransport returns a transport for the MCP server of a bridge, with the settings of
// template, which must not change any more; nil is [http.DefaultTransport]. It speaks HTTP/2
// where the server does, and gives up connections that no longer work within 20 seconds, however
// long a response takes: with pings on HTTP/2, and otherwise with what TCP acknowledges.
func NewTransport(template *http.Transport) http.RoundTripper {
	if template == nil {
		var ok bool
		if template, ok = http.DefaultTransport.(*http.Transport); !ok {
			template = &http.Transport{Proxy: http.ProxyFromEnvironment}
		}
	}
	return alive.New(template)
}

// newClient returns the client that all requests of a bridge go through: it names the bridge,
// follows redirects as a message can follow them, and undoes the encoding of responses.
func newClient(o *Options) *http.Client {
	own := http.Client{}
	if o.HTTP != nil {
		own = *o.HTTP
	}
	if own.Transport == nil {
		own.Transport = NewTransport(nil)
	}
	own.Transport = locations{own.Transport}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &http.Client{Transport: &wireTransport{client: &own, agent: userAgent(o)}}
}

// wireTransport carries the requests of a bridge.
type wireTransport struct {
	client *http.Client // the caller's, without redirects
	agent  string       // User-Agent
}

// RoundTrip implements http.RoundTripper. An error may be a *Trouble.
func (t *wireTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	// The header is the bridge's own.
	if _, ok := req.Header["User-Agent"]; !ok {
		req.Header["User-Agent"] = []string{t.agent}
	}
	if _, ok := req.Header["Accept-Encoding"]; !ok {
		req.Header["Accept-Encoding"] = []string{"gzip"} // net/http undoes none that was requested here
	}
	req, explain := withTrace(req)
	resp, err := t.follow(req)
	if err != nil {
		if e, ok := errtype.As[*url.Error](err); ok {
			err = e.Err // the caller's client adds another
		}
		return nil, explain(err)
	}
	if resp.Request == nil {
		resp.Request = req // some transports leave it out
	}
	return decoded(resp)
}

// product returns a text without what a product's name or version cannot have (RFC 9110, section
// 10.1.5).
func product(s string) string {
	return strings.Map(func(r rune) rune {
		if tokenRune(r) {
			return r
		}
		return -1
	}, s)
}

// userAgent returns what the bridge calls itself to a server (RFC 9110, section 10.1.5).
func userAgent(o *Options) string {
	name, version := product(o.Name), product(o.Version)
	switch {
	case name == "":
		return "handstamp"
	case version == "":
		return name
	}
	return name + "/" + version
}
