package hosted_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

const callbackURL = "https://app.example.com/oauth/callback"

func newServer(t testing.TB, h lab.Habits) *lab.Server {
	t.Helper()
	server, err := lab.Start(h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

// newApp returns the App of one replica, whose users may use servers of this machine.
func newApp(db store.Database) *hosted.App {
	return &hosted.App{Database: db, CallbackURL: callbackURL, Configure: onThisMachine}
}

func onThisMachine(_ store.Owner, c *handstamp.Client) { c.InsecureAllowPrivateAddresses = true }

// sessionOf is the application's: its session is in a header here.
func sessionOf(r *http.Request) string { return r.Header.Get("Session") }

// get sends a request to a handler, in a session.
func get(h http.Handler, target, session string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("Session", session)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func contains(t *testing.T, resp *http.Response, text string) bool {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(body), text)
}

// browse is a user who allows everything at authorization servers; it returns the URL at which the
// browser is back at the application, and "" if it is not.
func browse(t testing.TB, transport http.RoundTripper, location string) string {
	t.Helper()
	for range 5 {
		r, err := http.NewRequest(http.MethodGet, location, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		location = resp.Header.Get("Location")
		if location == "" || strings.Contains(location, "/oauth/callback") {
			return location
		}
	}
	return ""
}

// consent returns the URL of the callback to which a user comes who allows everything.
func consent(t testing.TB, location string) string {
	t.Helper()
	return consentBy(t, http.DefaultTransport, location)
}

func consentBy(t testing.TB, transport http.RoundTripper, location string) string {
	t.Helper()
	target := browse(t, transport, location)
	if target == "" {
		t.Fatalf("no way leads back from %s", location)
	}
	return target
}

// responseTo returns the URL of a callback with these parameters, and the state of a request.
func responseTo(t testing.TB, location, params string) string {
	t.Helper()
	redirectURI, state := testenv.RedirectURI(t, location)
	return redirectURI + "?" + params + "&state=" + state
}

// begin begins a login and returns where the user is sent.
func begin(t testing.TB, app *hosted.App, o store.Owner, server, session string) string {
	t.Helper()
	login, err := app.Begin(context.Background(), o, server, hosted.BeginOptions{Session: session, ReturnTo: "/servers"})
	if err != nil {
		t.Fatal(err)
	}
	return login.URL
}

// callBack is the user's browser at the callback of a replica, as far as it is sent to the
// authorization server and back.
func callBack(t testing.TB, app *hosted.App, target, session string) (*http.Response, hosted.Outcome) {
	t.Helper()
	for {
		var outcome *hosted.Outcome
		resp := get(app.Callback(sessionOf, func(_ http.ResponseWriter, _ *http.Request, o hosted.Outcome) { outcome = &o }), target, session)
		if outcome != nil {
			return resp, *outcome
		}
		target = consent(t, resp.Header.Get("Location"))
	}
}

// mustSignIn signs a user in: the login begins on one replica and ends on another.
func mustSignIn(t testing.TB, server *lab.Server, first, second *hosted.App, o store.Owner) {
	t.Helper()
	session := "session of " + o.Tenant + "/" + o.User
	_, outcome := callBack(t, second, consent(t, begin(t, first, o, server.MCPURL(), session)), session)
	if outcome.Err != nil || outcome.Result.Rejected != nil || outcome.Owner != o || outcome.ReturnTo != "/servers" {
		t.Fatalf("login: %+v", outcome)
	}
}

// callAs makes a tool call as a user.
func callAs(t testing.TB, app *hosted.App, o store.Owner, server string) error {
	t.Helper()
	c, err := app.Client(o)
	if err != nil {
		t.Fatal(err)
	}
	return testenv.Call(context.Background(), c.HTTPClient(server), server)
}
