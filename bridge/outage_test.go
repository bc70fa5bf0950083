package bridge_test

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"
)

// mentionsSignIn reports whether a host could take a line for a request to sign in.
func mentionsSignIn(line string) bool {
	line = strings.ToLower(line)
	for _, word := range []string{"sign", "login", "logged", "browser", "auth"} {
		if strings.Contains(line, word) {
			return true
		}
	}
	return false
}

// waking is a server with tools and prompts, without logins.
func waking() *sessions {
	return &sessions{hello: `{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"prompts":{},"logging":{}},"serverInfo":{"name":"s","version":"1"}}`,
		serve: func(w http.ResponseWriter, _ *http.Request, got request) {
			switch got.method {
			case "tools/list":
				result(w, got.id, `{"tools":[{"name":"real"}]}`)
			case "prompts/list":
				result(w, got.id, `{"prompts":[{"name":"p"}]}`)
			case "resources/list", "resources/templates/list", "completion/complete":
				w.Header().Set("Content-Type", "application/json")
				w.Write([]byte(`{"jsonrpc":"2.0","id":` + got.id + `,"error":{"code":-32601,"message":"none"}}`))
			default:
				result(w, got.id, `{"content":[]}`)
			}
		}}
}

// wire is an http.RoundTripper made of a function.
type wire func(r *http.Request) (*http.Response, error)

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

// outage is a server that is away until a time, in one of several ways.
type outage struct {
	next  http.RoundTripper
	how   func(r *http.Request) (*http.Response, error)
	until time.Time

	mu    sync.Mutex // guards what follows
	tries []time.Time
}

func (o *outage) RoundTrip(r *http.Request) (*http.Response, error) {
	if time.Now().Before(o.until) {
		o.mu.Lock()
		o.tries = append(o.tries, time.Now())
		o.mu.Unlock()
		return o.how(r)
	}
	return o.next.RoundTrip(r)
}

func rejectedDial(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

func respond(status int) func(*http.Request) (*http.Response, error) {
	return memory(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }).RoundTrip
}

// outages are the ways in which a server that is about to be there is away.
var outages = map[string]func(*http.Request) (*http.Response, error){
	"rejected": rejectedDial,
	"no name": func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "server misbehaving", Name: "server.example", IsTemporary: true}}
	},
	"slow name": func(r *http.Request) (*http.Response, error) {
		takes(r, 20*time.Second)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "i/o timeout", Name: "server.example", IsTimeout: true}}
	},
	"502":  respond(502),
	"503":  respond(503),
	"504":  respond(504),
	"429":  respond(429),
	"drop": memory(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }).RoundTrip,
}
