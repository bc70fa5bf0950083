package cli

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/webpage"
	"github.com/handstamp/handstamp/store"
)

// serveBackend is the [webpage.Backend] of handstamp serve.
type serveBackend struct {
	*app
	noBrowser bool
	state     *serveState
	page      atomic.Pointer[webpage.Page] // nil until it is served
	diagrams  diagrams

	mu      sync.Mutex            // guards the app, which is for one goroutine, and what follows
	targets []*target             // the servers that were named; none: all
	known   map[string]*target    // by name
	logins  map[string]*pageLogin // under way
	streams map[string]*upstream  // in use
}

// upstream is a client that MCP hosts use.
type upstream struct {
	webpage.Upstream
	client *handstamp.Client
	config *serverConfig
	end    context.CancelFunc

	account  string    // of the login that was there last
	obtained time.Time // its access token
}

// newServeBackend opens the store. The names are those of servers.
func (a *app) newServeBackend(names []string) (*serveBackend, error) {
	b := &serveBackend{app: a, known: make(map[string]*target), logins: make(map[string]*pageLogin),
		streams: make(map[string]*upstream)}
	for _, name := range names {
		t, err := a.target(name)
		if err != nil {
			return nil, err
		}
		b.targets = append(b.targets, t)
	}
	if _, err := a.openStore(); err != nil {
		return nil, err
	}
	a.in = strings.NewReader("") // the user is at the page: no login waits for a key at the terminal
	b.state = a.loadServeState()
	return b, nil
}

// end ends the logins and requests under way.
func (b *serveBackend) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.logins {
		l.cancel()
	}
	for name := range b.streams {
		b.endStream(name)
	}
}

// endStream ends what MCP hosts have under way at a server. b.mu is held.
func (b *serveBackend) endStream(name string) {
	if u := b.streams[name]; u != nil {
		u.end()
		delete(b.streams, name)
	}
}

// log shows an event on the page.
func (b *serveBackend) log(e webpage.Event) {
	e.Text = capital(clean(e.Text))
	if page := b.page.Load(); page != nil {
		page.Log(e)
	}
}

// Servers implements [webpage.Backend].
func (b *serveBackend) Servers(ctx context.Context) ([]webpage.Server, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.list(ctx)
}

// list lists the servers, and knows them by their names from then on. b.mu is held.
func (b *serveBackend) list(ctx context.Context) ([]webpage.Server, error) {
	if conf, err := (&app{env: b.env}).loadConfig(); err == nil {
		b.conf = conf // another process may have changed it
	}
	before := len(b.clients)
	entries, err := b.entries(ctx)
	b.clients = b.clients[:before] // the client that has listed has nothing to store
	if err != nil {
		return nil, err
	}
	servers := []webpage.Server{}
	for _, e := range b.selected(entries) {
		servers = append(servers, b.shownServer(e))
	}
	slices.SortStableFunc(servers, func(v, w webpage.Server) int {
		return cmp.Or(cmp.Compare(v.Title, w.Title), cmp.Compare(v.Profile, w.Profile))
	})
	return servers, nil
}

// selected returns the entries of the servers that were named, or all: with those that were
// signed out of since the page is served.
func (b *serveBackend) selected(all []*entry) []*entry {
	if len(b.targets) == 0 {
		listed := make(map[store.Key]bool, len(all))
		for _, e := range all {
			listed[e.key()] = true
		}
		for _, t := range b.known {
			if key := t.storeKey(); !listed[key] {
				listed[key] = true
				all = append(all, b.notSignedIn(t))
			}
		}
		return all
	}
	var entries []*entry
	for _, t := range b.targets {
		found := false
		for _, e := range all {
			if k := e.key(); k.Server == t.key.Server && (!t.named || k.Profile == t.profile) {
				found = true
				if !slices.Contains(entries, e) {
					entries = append(entries, e)
				}
			}
		}
		if !found {
			entries = append(entries, b.notSignedIn(t))
		}
	}
	return entries
}

// notSignedIn returns the entry of a server without a login.
func (b *serveBackend) notSignedIn(t *target) *entry {
	return b.newEntry(t, &handstamp.Status{Server: t.url, Profile: t.profile,
		State: handstamp.StateNone}, b.loadSettings(t))
}

// key returns the key of an entry in the store.
func (e *entry) key() store.Key {
	if k, err := store.NewKey(e.Server, e.Profile); err == nil {
		return k
	}
	return store.Key{Server: e.Server, Profile: e.Profile}
}

// shownServer returns what the page shows of an entry. b.mu is held.
func (b *serveBackend) shownServer(e *entry) webpage.Server {
	now := time.Now()
	alias := ""
	if e.Name != e.Server && e.Name != e.target.url {
		alias = e.Name
	}
	name := b.state.name(e.key(), alias)
	b.known[name] = e.target
	mark, headline := e.headline(now)
	if headline = strings.Replace(headline, " (profile "+e.Profile+")", "", 1); mark == webpage.Good {
		headline = "Signed in"
		if e.Account != "" {
			headline += " as " + short(e.Account)
		}
	}
	_, bare, _ := strings.Cut(e.Server, "://")
	v := webpage.Server{
		Name: name, Title: clean(bare), URL: clean(e.Server), Mark: mark, Headline: headline,
		SignedIn: e.Usable(), Stored: e.State != handstamp.StateNone,
		Obtained: e.ObtainedAt, Expires: e.ExpiresAt, Facts: e.facts(),
	}
	if alias != "" {
		v.Title = clean(alias)
	}
	if e.Profile != b.baseProfile() {
		v.Profile = clean(e.Profile)
	}
	if v.SignedIn {
		v.Life = strings.TrimPrefix(accessLine(e.Status, now.Truncate(time.Minute)), "Access token: ")
	}
	v.Advice, v.Command = e.advice()
	if l := b.logins[name]; l != nil {
		v.Pending = l.shown()
	}
	v.HasDiagram = len(b.diagrams.of(name)) > 0
	return v
}

// advice returns what to do about a login, and the command that does it.
func (e *entry) advice() (text, command string) {
	command = e.nextCommand()
	switch m := e.ManualRegistration; {
	case e.unreadable():
		return "Remove it here, and sign in again.", command
	case m != nil && e.State == handstamp.StateNone:
		return "This server registers no client by itself. Register one at " + short(m.Issuer) +
			" with the redirect URI " + short(m.RedirectURI) + ", then run the command with its id.", command
	case e.State == handstamp.StateRevoked:
		return "Sign in again. A later session will then find the new login.", command
	case e.State == handstamp.StateExpired:
		return "Sign in again: the server gave no refresh token that still works.", command
	case e.waits(time.Now()):
		return "Nothing to do: it is tried again by itself.", ""
	}
	return "", command
}

// facts returns what else is known of a login, as status shows it.
func (e *entry) facts() []string {
	if e.State == handstamp.StateNone || e.unreadable() {
		return nil
	}
	var text strings.Builder
	quiet := &app{out: &printer{w: &text}}
	quiet.out.noteClient(e.Status)
	quiet.writeWays(e)
	if e.Scope != "" {
		quiet.out.note(indent, "Scope: %s", short(e.Scope))
	}
	var facts []string
	for line := range strings.Lines(text.String()) {
		facts = append(facts, strings.TrimSpace(strings.TrimLeft(line, " -")))
	}
	return append(facts, "Kept in: "+e.Store)
}

// Bearer implements [webpage.Backend].
func (b *serveBackend) Bearer(name string) string { return b.state.bearer(name) }

// errNotSignedIn is what an MCP host gets that may not start a login.
func errNotSignedIn(name string) error {
	return errors.New("not signed in to " + name + ": sign in on the page of handstamp serve, " +
		"or run handstamp login")
}

// Upstream implements [webpage.Backend]. A login that has ended meanwhile, here or in another
// process, ends what is under way, and one that another process has made is used.
func (b *serveBackend) Upstream(name string) (*webpage.Upstream, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.known[name]
	if t == nil { // no page is open that would have seen the login of another process
		if _, err := b.list(context.Background()); err != nil {
			return nil, err
		}
		if t = b.known[name]; t == nil {
			return nil, errNotSignedIn(name)
		}
	}
	if u := b.streams[name]; u != nil && !reflect.DeepEqual(u.config, t.config) {
		b.endStream(name)
	}
	u := b.streams[name]
	if u == nil {
		var err error
		if u, err = b.newUpstream(t, name); err != nil {
			return nil, err
		}
		b.streams[name] = u
	}
	st, err := u.client.Status(u.Life, t.url)
	if err == nil && (st.Account != u.account || !st.ObtainedAt.Equal(u.obtained)) {
		u.account, u.obtained = st.Account, st.ObtainedAt
		u.client.StoreChanged("") // the token in memory may be that of an earlier login
	}
	if err == nil && st.State == handstamp.StateNone && u.client.Grant == nil {
		b.endStream(name)
		err = errNotSignedIn(name)
	}
	if err != nil {
		return nil, err
	}
	return &u.Upstream, nil
}

// newUpstream returns a client that never starts a login. b.mu is held.
func (b *serveBackend) newUpstream(t *target, name string) (*upstream, error) {
	header, err := (&headerOptions{configured: t.config.Headers}).read(b.app)
	if err != nil {
		return nil, err
	}
	c, err := b.client(t, &loginOptions{}, handstamp.LoginNever)
	if err != nil {
		return nil, err
	}
	c.LockTimeout = 0 // no command is waiting: a slow refresh elsewhere is waited for
	b.showEvents(c, name, false)
	life, end := context.WithCancel(context.Background())
	u := webpage.Upstream{URL: t.url, Header: header, Client: c.HTTPClient(t.url), Life: life}
	return &upstream{Upstream: u, client: c, config: t.config, end: end}, nil
}

// Explain implements [webpage.Backend].
func (b *serveBackend) Explain(name string, err error) (status int, message string) {
	r := explain(context.Background(), err)
	switch r.Exit {
	case exitLogin:
		return http.StatusServiceUnavailable, errNotSignedIn(name).Error() + " (" + r.Message + ")"
	case exitUnreachable:
		return http.StatusServiceUnavailable, r.Message
	}
	if r.Hint != "" {
		r.Message += "; " + r.Hint
	}
	return http.StatusBadGateway, r.Message
}
