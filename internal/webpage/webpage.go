// Package webpage is the local page of the command: it shows the servers of the user, signs in and
// out, and makes each signed-in server available to MCP hosts that speak HTTP and no OAuth.
//
// Its [Page] is an http.Handler for a listener on the loopback interface. What it can be reached
// with is checked in this order:
//
//   - the Host header, against DNS rebinding, and the Origin and Sec-Fetch-Site headers, against
//     pages of other origins in the user's browser;
//   - for the page, its path and a cookie, which the link of [Page.Link] leads to, and a token in
//     each form;
//   - for /mcp/NAME, that server's own bearer token, which no browser sends by itself.
//
// The package knows no OAuth, no store and no file: a [Backend] does.
package webpage

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Mark says how a server's login is, beside the words.
type Mark string

// The marks; they are classes of the page's style sheet.
const (
	Good Mark = "good"
	Warn Mark = "warn"
	Bad  Mark = "bad"
	None Mark = "none" // not signed in, and nothing is wrong
)

// Server is what the page shows of one server and profile. It has no secret.
type Server struct {
	Name    string // in addresses: /mcp/NAME. It consists of a-z, 0-9, dots, dashes and underscores
	Title   string // the alias, or the URL without scheme
	URL     string
	Profile string // empty: not worth showing

	Mark     Mark
	Headline string   // whether the login works, in one line
	Advice   string   // what to do; may be empty
	Command  string   // what to run; may be empty
	Facts    []string // account, client, scope, …

	SignedIn bool      // requests can be made without the user
	Stored   bool      // there is something to sign out of
	Obtained time.Time // when the access token was issued; zero: not known
	Expires  time.Time // when it expires; zero: not known
	Life     string    // how long it lasts and what happens then, in words

	Pending    *Pending // the login that waits for the user; nil: none
	HasDiagram bool     // [Backend.Diagram] has the last login
}

// Pending is a login that waits for the user.
type Pending struct {
	URL    string // to continue at; empty until it is known
	Issuer string
	Code   string // to enter at the URL, for a login on another device; may be empty
	Text   string // what is awaited
}

// Upstream is how requests for a server are sent.
type Upstream struct {
	URL    string
	Header http.Header     // of each request, in place of the MCP host's
	Client *http.Client    // which signs requests in
	Life   context.Context // ends when the user signs out
}

// Backend knows the servers and does what the page's buttons say. Its methods are called
// concurrently.
type Backend interface {
	// Servers returns all servers, in the order of the page. It makes no request.
	Servers(ctx context.Context) ([]Server, error)

	// Login begins a login and returns. While it waits for the user, Servers has it as Pending.
	Login(name string) error

	// Cancel ends the login that waits for the user.
	Cancel(name string)

	// Logout signs out of a server.
	Logout(ctx context.Context, name string) error

	// Bearer returns the token with which MCP hosts reach a server, "" if there is no such server.
	Bearer(name string) string

	// Upstream returns how a server is reached.
	Upstream(name string) (*Upstream, error)

	// Explain returns what an error of the Upstream's client means to an MCP host: a sentence
	// without a secret, and the status of the response.
	Explain(name string, err error) (status int, message string)

	// Diagram returns the last login at a server as a sequence diagram: an HTML document, and the
	// Content-Security-Policy that it needs. It is nil if the page has seen no login.
	Diagram(name string) (html []byte, policy string)
}

// Options configure a [Page].
type Options struct {
	Backend Backend

	// Host is the address of the listener with its port, such as "127.0.0.1:8400". Requests must
	// name it.
	Host string

	// Control is the secret with which another process of the user requests a link, see
	// [PathLink]. Proof is the one with which the page shows that process that it is no program
	// that happens to listen at the address.
	Control, Proof string
}

// Page serves the page and the re-exposed servers.
type Page struct {
	backend  Backend
	host     string
	control  string
	proof    string
	access   access
	log      eventLog
	gateway  http.Handler
	poll     time.Duration // how often the store is read for a page that is open
	bodyTime time.Duration // that a request may take to send its body

	closing   chan struct{}
	closeOnce sync.Once
}

// New returns a page.
func New(o Options) *Page {
	p := &Page{
		backend: o.Backend, host: o.Host, control: o.Control, proof: o.Proof,
		access: newAccess(), closing: make(chan struct{}), poll: 2 * time.Second,
		bodyTime: bodyTime,
	}
	p.log.news = make(chan struct{})
	p.gateway = newGateway(o.Backend, p.Log)
	return p
}

// Close ends the streams of events, so that an [http.Server] can be shut down.
func (p *Page) Close() { p.closeOnce.Do(func() { close(p.closing) }) }

// maxForm bounds a form that is posted, in bytes.
const maxForm = 4 << 10

// mcpPrefix is below what the servers are re-exposed.
const mcpPrefix = "/mcp/"

// ServeHTTP implements http.Handler.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	p.boundBody(w, r)
	if !p.isHost(r) || !p.isOurs(r) {
		p.fail(w, r, http.StatusForbidden, "This request is not allowed.",
			"It names another address, or comes from a page of another site.")
		return
	}
	if strings.HasPrefix(r.URL.EscapedPath(), mcpPrefix) {
		p.gateway.ServeHTTP(w, r)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	p.route(w, r)
}

// route serves what belongs to the page. Paths are compared as they were sent: there is no second
// way to write one.
func (p *Page) route(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	name, ok := strings.CutPrefix(path, p.access.assets)
	if asset, there := assets[name]; ok && there && r.Method == http.MethodGet {
		w.Header().Set("Content-Type", asset.contentType)
		_, _ = w.Write([]byte(asset.content)) // a browser that has gone needs none
		return
	}
	inside, ok := strings.CutPrefix(path, p.access.home)
	switch {
	case path == PathLink && r.Method == http.MethodPost:
		p.newLink(w, r)
	case path == "/" && r.Method == http.MethodGet && r.URL.Query().Has(keyParameter):
		p.enter(w, r)
	case !ok || !p.access.has(r):
		p.fail(w, r, http.StatusUnauthorized, "This page needs its link.",
			"Run handstamp serve in a terminal: it opens this page, or shows the link to open.")
	case r.Method == http.MethodGet:
		p.get(w, r, "/"+inside)
	case r.Method == http.MethodPost:
		p.post(w, r, "/"+inside)
	default:
		p.fail(w, r, http.StatusMethodNotAllowed, "This request is not allowed.", "")
	}
}

// get serves a path below the page's.
func (p *Page) get(w http.ResponseWriter, r *http.Request, path string) {
	name, ok := strings.CutSuffix(strings.TrimPrefix(path, serversPrefix), "/diagram")
	switch {
	case path == "/":
		p.showServers(w, r)
	case path == "/events":
		p.stream(w, r)
	case ok && strings.HasPrefix(path, serversPrefix):
		p.showDiagram(w, r, name)
	default:
		p.fail(w, r, http.StatusNotFound, "There is no page here.", "")
	}
}
