package hosted_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

var ada = store.Owner{Tenant: "acme", User: "ada@acme.example"}

func TestLoginBeginsOnOneReplicaAndEndsOnAnother(t *testing.T) {
	for _, h := range []lab.Habits{{}, lab.NoneFirst(), {Resource: lab.ResourceRejected}} { // the last takes two steps
		server := newServer(t, h)
		db := new(store.MemoryDatabase)
		first, second, third := newApp(db), newApp(db), newApp(db)
		mustSignIn(t, server, first, second, ada)
		for _, app := range []*hosted.App{first, second, third} {
			if err := callAs(t, app, ada, server.MCPURL()); err != nil {
				t.Error(err)
			}
		}
		login, err := third.Begin(t.Context(), ada, server.MCPURL(), hosted.BeginOptions{Session: "s", ReturnTo: "/servers"})
		if err != nil || login.Result == nil || login.URL != "/servers" {
			t.Errorf("a login that is not needed: %+v, %v", login, err)
		}
	}
}

// A state tells whoever sees it nothing of the user and the server.
func TestStateTellsNothing(t *testing.T) {
	server := newServer(t, lab.Habits{})
	app := newApp(nil)
	_, one := testenv.RedirectURI(t, begin(t, app, ada, server.MCPURL(), "s"))
	_, two := testenv.RedirectURI(t, begin(t, app, ada, server.MCPURL(), "s"))
	if len(one) != 43 || one == two {
		t.Errorf("states %q, %q", one, two)
	}
}

// A callback counts once, however many come at once.
func TestCallbackCountsOnce(t *testing.T) {
	server := newServer(t, lab.Habits{})
	db := new(store.MemoryDatabase)
	target := consent(t, begin(t, newApp(db), ada, server.MCPURL(), "s"))
	var mu sync.Mutex
	var completed int
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			_, outcome := callBack(t, newApp(db), target, "s")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case outcome.Err == nil:
				completed++
			case !errors.Is(outcome.Err, hosted.ErrNoPendingLogin):
				t.Error(outcome.Err)
			}
		})
	}
	all.Wait()
	if completed != 1 || server.Counts()["token:code"] != 1 {
		t.Errorf("%d callbacks completed the login, %d codes were sent", completed, server.Counts()["token:code"])
	}
}

// Login CSRF: a callback in the browser of another user is rejected, and the login goes on waiting
// for its own.
func TestCallbackOfAnotherSession(t *testing.T) {
	server := newServer(t, lab.Habits{})
	db := new(store.MemoryDatabase)
	app := newApp(db)
	target := consent(t, begin(t, app, ada, server.MCPURL(), "ada's session"))
	for _, session := range []string{"", "the victim's session"} {
		_, outcome := callBack(t, app, target, session)
		if !errors.Is(outcome.Err, hosted.ErrOtherSession) || outcome.Owner != (store.Owner{}) || outcome.Server != "" {
			t.Errorf("session %q: %+v", session, outcome)
		}
	}
	if n := server.Counts()["token:code"]; n != 0 {
		t.Errorf("%d codes were sent", n)
	}
	if _, outcome := callBack(t, newApp(db), target, "ada's session"); outcome.Err != nil {
		t.Error(outcome.Err)
	}
}

// What the handler shows without one of the application's own.
func TestCallbackPages(t *testing.T) {
	server := newServer(t, lab.Habits{})
	app := newApp(new(store.MemoryDatabase))
	handler := app.Callback(sessionOf, nil)

	target := consent(t, begin(t, app, ada, server.MCPURL(), "s"))
	resp := get(handler, target, "s")
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/servers" {
		t.Errorf("status %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	denied := "error=access_denied&iss=" + server.Issuer()
	for name, test := range map[string]struct {
		target, session string
		status          int
		text            string
	}{
		"a second time":   {target, "s", http.StatusBadRequest, "start again"},
		"nothing pending": {callbackURL, "s", http.StatusBadRequest, "start again"},
		"made up":         {callbackURL + "?code=x&state=y", "s", http.StatusBadRequest, "start again"},
		"other session":   {consent(t, begin(t, app, store.Owner{User: "ben"}, server.MCPURL(), "s")), "t", http.StatusBadRequest, "another browser"},
		"denied":          {responseTo(t, begin(t, app, store.Owner{User: "eve"}, server.MCPURL(), "s"), denied), "s", http.StatusForbidden, "denied"},
	} {
		resp := get(handler, test.target, test.session)
		if resp.StatusCode != test.status || !contains(t, resp, test.text) {
			t.Errorf("%s: status %d", name, resp.StatusCode)
		}
		if h := resp.Header; h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" ||
			!strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: headers %v", name, h)
		}
	}
}

// downDatabase is a Database that cannot be reached.
type downDatabase struct{ store.Database }

func (downDatabase) Store(store.Owner) (store.Store, error) {
	return nil, fmt.Errorf("%w: no connection to db-7.internal", store.ErrUnusable)
}

// The page does not show where the application's database is.
func TestCallbackPageWithoutDatabase(t *testing.T) {
	resp := get(newApp(downDatabase{}).Callback(sessionOf, nil), callbackURL+"?code=x&state=y", "s")
	if resp.StatusCode != http.StatusServiceUnavailable || contains(t, resp, "db-7") {
		t.Errorf("status %d, or a machine is named", resp.StatusCode)
	}
}

// An error of the authorization server has its code; so has a response in another's name.
func TestCallbackErrors(t *testing.T) {
	server := newServer(t, lab.Habits{})
	app := newApp(new(store.MemoryDatabase))
	_, outcome := callBack(t, app, responseTo(t, begin(t, app, ada, server.MCPURL(), "s"),
		"error=access_denied&iss="+server.Issuer()), "s")
	var e *handstamp.Error
	if !errors.As(outcome.Err, &e) || e.Kind != handstamp.ErrDenied || e.Code != "access_denied" || outcome.Owner != ada {
		t.Errorf("denied: %+v", outcome)
	}
	_, outcome = callBack(t, app, responseTo(t, begin(t, app, ada, server.MCPURL(), "s"),
		"code=x&iss=https://other.example"), "s")
	if !errors.Is(outcome.Err, handstamp.ErrProtocol) || server.Counts()["token:code"] != 0 {
		t.Errorf("another issuer: %v", outcome.Err)
	}
}

// A login waits for ten minutes. What is older is deleted, and nothing else.
func TestLoginWaitsForTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, err := lab.New(lab.Habits{}, lab.Options{})
		if err != nil {
			t.Fatal(err)
		}
		db := new(store.MemoryDatabase)
		app := newApp(db)
		app.Configure = func(_ store.Owner, c *handstamp.Client) {
			c.BaseTransport, c.AuthTransport = server.RoundTripper(), server.RoundTripper()
		}
		old := begin(t, app, ada, server.MCPURL(), "s")
		time.Sleep(2 * time.Minute)
		young := begin(t, app, ada, server.MCPURL(), "s")
		time.Sleep(9 * time.Minute)
		if _, outcome := callBack(t, app, consentBy(t, server.RoundTripper(), old), "s"); !errors.Is(outcome.Err, hosted.ErrNoPendingLogin) {
			t.Errorf("after 11 minutes: %v", outcome.Err)
		}
		if _, outcome := callBack(t, app, consentBy(t, server.RoundTripper(), young), "s"); outcome.Err != nil {
			t.Errorf("after 9 minutes: %v", outcome.Err)
		}
		for range 3 { // each begins a sweep
			time.Sleep(10 * time.Minute)
			login, err := app.Begin(t.Context(), ada, server.MCPURL(), hosted.BeginOptions{Session: "s", Force: true})
			if err != nil || login.Result != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		s, err := db.Store(store.Owner{User: "handstamp:logins"})
		if err != nil {
			t.Fatal(err)
		}
		if keys, err := s.List(t.Context()); err != nil || len(keys) != 2 {
			t.Errorf("%d logins are kept, %v", len(keys), err)
		}
		if err := app.Close(t.Context()); err != nil {
			t.Error(err)
		}
		server.Close()
	})
}

func TestBeginOptions(t *testing.T) {
	app := newApp(nil)
	for _, b := range []hosted.BeginOptions{
		{}, {Session: "s", ReturnTo: "https://evil.example"}, {Session: "s", ReturnTo: "//evil.example"},
		{Session: "s", ReturnTo: `/\evil.example`}, {Session: "s", ReturnTo: "/\t/evil.example"}, {Session: "s", ReturnTo: "x"},
	} {
		if _, err := app.Begin(t.Context(), ada, "https://mcp.example", b); !errors.Is(err, handstamp.ErrInvalidConfig) {
			t.Errorf("%+v: error %v, want ErrInvalidConfig", b, err)
		}
	}
}

// Users name servers, so that an App uses public addresses only, unless the application decides
// otherwise.
func TestServersAreNotTrusted(t *testing.T) {
	server := newServer(t, lab.NoneFirst())
	for what, c := range map[string]struct {
		configure func(store.Owner, *handstamp.Client)
		allowed   bool
	}{
		"nothing set up":    {nil, false},
		"a name":            {func(_ store.Owner, c *handstamp.Client) { c.ClientName = "Example" }, false},
		"private addresses": {onThisMachine, true},
		"trusted servers":   {func(_ store.Owner, c *handstamp.Client) { c.UntrustedServers = false }, true},
	} {
		app := newApp(nil)
		app.Configure = c.configure
		_, err := app.Begin(t.Context(), ada, server.MCPURL(), hosted.BeginOptions{Session: "s"})
		if (err == nil) != c.allowed || err != nil && !errors.Is(err, handstamp.ErrInvalidConfig) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// madeUp are servers that users make up: each contradicts itself.
func madeUp(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if strings.HasPrefix(req.URL.Path, "/.well-known/oauth-protected-resource") {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"resource": "https://other.example/mcp", "authorization_servers": ["https://as.example"]}`)
	} else {
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
	}
	return w.Result(), nil
}

// A server at which the application cannot register is none of the user's connections, though something
// of it is stored.
func TestServerWithoutALoginIsNoConnection(t *testing.T) {
	w := testenv.New(t, testenv.Personality(t, "no-dcr"))
	app := newApp(new(store.MemoryDatabase))
	_, err := app.Begin(t.Context(), ada, w.Lab.MCPURL(), hosted.BeginOptions{Session: "s"})
	testenv.WantKind(t, err, handstamp.ErrRegistrationRequired)
	s, err := app.Database.Store(ada)
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := s.List(t.Context()); len(keys) != 1 || err != nil {
		t.Fatalf("%d values are stored, %v", len(keys), err)
	}
	if all, err := app.Connections(t.Context(), ada); len(all) > 0 || err != nil {
		t.Errorf("%d connections, %v", len(all), err)
	}
}

// However many servers a user makes up, nothing of them is kept: in memory, in the database, or among
// the connections that the user sees.
func TestServersThatAreMadeUp(t *testing.T) {
	db := new(store.MemoryDatabase)
	app := newApp(db)
	app.Configure = func(_ store.Owner, c *handstamp.Client) {
		c.BaseTransport, c.AuthTransport = testenv.RoundTripFunc(madeUp), testenv.RoundTripFunc(madeUp)
	}
	beginAt := func(n int) {
		_, err := app.Begin(t.Context(), ada, fmt.Sprintf("https://mcp.example/%d", n), hosted.BeginOptions{Session: "s"})
		testenv.WantKind(t, err, handstamp.ErrProtocol)
	}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // which frees what the first one has cleaned up
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const servers = 1000
	beginAt(servers)
	before := heap()
	for n := range servers {
		beginAt(n)
	}
	var grown int64
	if !proctest.Holds(testenv.Timeout, func() bool { // cleanups run some time after a collection
		grown = heap() - before
		return grown <= servers*500
	}) {
		t.Errorf("each server takes %d bytes", grown/servers)
	}
	s, err := db.Store(ada)
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := s.List(t.Context()); len(keys) > 0 || err != nil {
		t.Errorf("%d values are stored, %v", len(keys), err)
	}
	if all, err := app.Connections(t.Context(), ada); len(all) > 0 || err != nil {
		t.Errorf("%d connections, %v", len(all), err)
	}
	runtime.KeepAlive(app)
}
