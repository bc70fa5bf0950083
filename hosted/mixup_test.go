package hosted_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// attacker is an MCP server with an authorization server that has the users of an application sign in
// at another one, as the application's client there (RFC 9700, section 4.4).
type attacker struct {
	*httptest.Server
	codes atomic.Int32 // that came to the token endpoint
}

// newAttacker starts one. client is the application's at the other server, whose authorization endpoint
// the metadata names; or it names one of the attacker's, which own handles.
func newAttacker(t *testing.T, client, authorize string, own http.HandlerFunc) *attacker {
	t.Helper()
	a := new(attacker)
	mux := http.NewServeMux()
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	if own != nil {
		authorize = a.URL + "/authorize"
		mux.HandleFunc("/authorize", own)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
	})
	mux.Handle("/.well-known/", http.NotFoundHandler())
	document := func(path string, members map[string]any) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(members)
		})
	}
	document("/.well-known/oauth-protected-resource", map[string]any{
		"resource": a.URL, "authorization_servers": []string{a.URL},
	})
	document("/.well-known/oauth-authorization-server", map[string]any{
		"issuer": a.URL, "authorization_endpoint": authorize, "token_endpoint": a.URL + "/token",
		"registration_endpoint": a.URL + "/register", "code_challenge_methods_supported": []string{"S256"},
		"token_endpoint_auth_methods_supported": []string{"none"},
	})
	mux.HandleFunc("/register", func(w http.ResponseWriter, r *http.Request) {
		registered := make(map[string]any)
		_ = json.NewDecoder(r.Body).Decode(&registered)
		registered["client_id"], registered["token_endpoint_auth_method"] = client, "none"
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(registered)
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("code") != "" && r.PostFormValue("code_verifier") != "" {
			a.codes.Add(1)
		}
		w.WriteHeader(http.StatusBadRequest)
	})
	return a
}

// withoutIss is an authorization server of public clients that sends no iss.
func withoutIss() lab.Habits {
	return lab.Habits{Methods: []string{lab.MethodNone}, RegisterMethod: lab.MethodNone, Iss: lab.IssOff}
}

// Where an authorization server sends no iss, its codes do not go to another one: it rejects the
// redirect URI of that one, and the application rejects a response at its own.
func TestMixUpWithoutIss(t *testing.T) {
	honest := newServer(t, withoutIss())
	app := newApp(new(store.MemoryDatabase))
	eve := store.Owner{Tenant: "hostile", User: "eve"}
	own := begin(t, app, eve, honest.MCPURL(), "s")
	redirectURI, _ := testenv.RedirectURI(t, own)
	if _, outcome := callBack(t, app, consent(t, own), "s"); outcome.Err != nil {
		t.Fatal(outcome.Err)
	}
	client := honest.Clients()[0].ID
	endpoint := honest.URL() + "/authorize"
	forward := func(change func(url.Values)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			q.Del("resource")
			change(q)
			http.Redirect(w, r, endpoint+"?"+q.Encode(), http.StatusSeeOther)
		}
	}
	for name, test := range map[string]struct {
		own       http.HandlerFunc
		responses int // that come to the application
	}{
		"its endpoint is named": {nil, 0},
		"users are sent on":     {forward(func(url.Values) {}), 0},
		"with the other's redirect URI": {
			forward(func(q url.Values) { q.Set("redirect_uri", redirectURI) }), 1,
		},
	} {
		a := newAttacker(t, client, endpoint, test.own)
		location := begin(t, app, ada, a.URL, "s")
		if u, err := url.Parse(location); err != nil || u.Query().Get("client_id") != client {
			t.Fatalf("%s: the user is sent to %s", name, location)
		}
		responses := 0
		for range 5 { // the application may send the user there once more, without the resource
			if location = browse(t, http.DefaultTransport, location); location == "" {
				break
			}
			responses++
			var outcome *hosted.Outcome
			done := func(_ http.ResponseWriter, _ *http.Request, o hosted.Outcome) { outcome = &o }
			resp := get(app.Callback(sessionOf, done), location, "s")
			if location = resp.Header.Get("Location"); location != "" {
				continue
			}
			if !errors.Is(outcome.Err, handstamp.ErrProtocol) || outcome.Owner != ada || outcome.Server != a.URL {
				t.Errorf("%s: %+v", name, outcome)
			}
			break
		}
		if n := a.codes.Load(); n != 0 || responses != test.responses {
			t.Errorf("%s: %d codes and verifiers came to the attacker, after %d responses", name, n, responses)
		}
	}
	mustSignIn(t, honest, app, app, ada)
}

// A response counts at the login's own redirect URI, or what a proxy has left of its path.
func TestPathOfCallback(t *testing.T) {
	server := newServer(t, withoutIss())
	app := newApp(new(store.MemoryDatabase))
	for path, good := range map[string]bool{
		"/oauth/callback/ISSUER": true, "/oauth/callback/ISSUER/": true, "/callback/ISSUER": true, "/ISSUER": true,
		"/oauth/callback/other": false, "/oauth/callback/other/ISSUER": false, "/oauth/callback/ISSUER/other": false,
		"/other/ISSUER": false, "/oauth/callback/xISSUER": false,
		"/oauth/callback": false, "/oauth/callback/": false, "/": false,
	} {
		target := consent(t, begin(t, app, store.Owner{User: "user of " + path}, server.MCPURL(), "s"))
		issuer, query, _ := strings.Cut(strings.TrimPrefix(target, callbackURL+"/"), "?")
		at := strings.Replace(path, "ISSUER", issuer, 1)
		_, outcome := callBack(t, app, "https://app.example.com"+at+"?"+query, "s")
		if (outcome.Err == nil) != good || !good && !errors.Is(outcome.Err, handstamp.ErrProtocol) {
			t.Errorf("%s: %v", at, outcome.Err)
		}
	}
	if n := server.Counts()["token:code"]; n != 4 {
		t.Errorf("%d codes were sent", n)
	}
}

// The redirect URI is the issuer's: MCP servers at one authorization server have the same. One that
// names itself in its responses needs none.
func TestRedirectURIIsTheIssuers(t *testing.T) {
	one, two := newServer(t, withoutIss()), newServer(t, withoutIss())
	app := newApp(new(store.MemoryDatabase))
	at := func(server string) string {
		t.Helper()
		uri, _ := testenv.RedirectURI(t, begin(t, app, ada, server, "s"))
		if !strings.HasPrefix(uri, callbackURL+"/") {
			t.Errorf("%s: redirect URI %s", server, uri)
		}
		return uri
	}
	first, second, named := at(one.MCPURL()), at(two.MCPURL()), at(newNamer(t, one.Issuer()))
	if first == second || first != named {
		t.Errorf("redirect URIs %s, %s, %s", first, second, named)
	}
	uri, _ := testenv.RedirectURI(t, begin(t, app, ada, newServer(t, lab.Habits{}).MCPURL(), "s"))
	if uri != callbackURL {
		t.Errorf("redirect URI %s where the server sends iss", uri)
	}
}

// What the application did not register for the login has CallbackURL as its redirect URI.
func TestRedirectURIOfOtherClients(t *testing.T) {
	const document = "https://app.example.com/client.json"
	for name, test := range map[string]struct {
		habits    lab.Habits
		configure func(*handstamp.Client)
	}{
		"registered by hand": {lab.Habits{}, func(c *handstamp.Client) {
			c.Registration = &handstamp.Registration{ClientID: "by-hand", TokenEndpointAuthMethod: "none"}
		}},
		"a document": {lab.Habits{ClientIDMetadata: true}, func(c *handstamp.Client) { c.ClientMetadataURL = document }},
	} {
		t.Run(name, func(t *testing.T) {
			test.habits.Methods, test.habits.Iss = []string{lab.MethodNone}, lab.IssOff
			server, err := lab.StartWith(test.habits, lab.Options{Fetch: func(_ context.Context, url string) ([]byte, error) {
				return json.Marshal(map[string]any{"client_id": url, "redirect_uris": []string{callbackURL}})
			}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(server.Close)
			server.RegisterClient(lab.ConfiguredClient{ID: "by-hand", RedirectURIs: []string{callbackURL}})
			app := newApp(new(store.MemoryDatabase))
			app.Configure = func(o store.Owner, c *handstamp.Client) {
				onThisMachine(o, c)
				test.configure(c)
			}
			target := consent(t, begin(t, app, ada, server.MCPURL(), "s"))
			if at, _, _ := strings.Cut(target, "?"); at != callbackURL {
				t.Errorf("the callback comes to %s", at)
			}
			// As net/http redirects it, where the handler is for what is below only.
			_, outcome := callBack(t, app, strings.Replace(target, "?", "/?", 1), "s")
			if outcome.Err != nil || outcome.Result.Rejected != nil {
				t.Errorf("login: %+v", outcome)
			}
			if n := server.Counts()["register"]; n != 0 {
				t.Errorf("%d registrations", n)
			}
		})
	}
}

// A client that the operator has to register by hand is registered with CallbackURL, which is what
// logins with it use.
func TestRedirectURIToRegister(t *testing.T) {
	for name, h := range map[string]lab.Habits{
		"none": {NoRegistration: true}, "closed": {ClosedRegistration: lab.RegistrationAllowlist},
	} {
		server := newServer(t, h)
		_, err := newApp(nil).Begin(t.Context(), ada, server.MCPURL(), hosted.BeginOptions{Session: "s"})
		var e *handstamp.Error
		if !errors.As(err, &e) || e.Kind != handstamp.ErrRegistrationRequired || e.RedirectURI != callbackURL {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A document that the server rejects gives way to a registration, which has the issuer's redirect URI.
func TestRedirectURIAfterRejectedDocument(t *testing.T) {
	server, err := lab.StartWith(lab.Habits{ClientIDMetadata: true, Iss: lab.IssOff}, lab.Options{
		Fetch: func(context.Context, string) ([]byte, error) { return nil, errors.New("not there") },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	app := newApp(new(store.MemoryDatabase))
	app.Configure = func(o store.Owner, c *handstamp.Client) {
		onThisMachine(o, c)
		c.ClientMetadataURL = "https://app.example.com/client.json"
	}
	uri, _ := testenv.RedirectURI(t, begin(t, app, ada, server.MCPURL(), "s"))
	if !strings.HasPrefix(uri, callbackURL+"/") {
		t.Errorf("redirect URI %s", uri)
	}
	mustSignIn(t, server, app, app, ada)
}
