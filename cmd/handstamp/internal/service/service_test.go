package service

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// Two tenants with users of the same name: whatever a caller requests, it gets what is its own.
func TestTenantsAreApart(t *testing.T) {
	f := newFixture(t, lab.NoneFirst(), func(o *Options) { o.Rate = 10_000 })
	ada := "ada"
	acme, globex, adas := f.caller("acme", nil), f.caller("globex", nil), f.caller("acme", &ada)
	f.signIn("acme", "ada")
	f.signIn("acme", "bob")
	f.signIn("globex", "ada")
	own := make(map[string]string)
	for _, c := range []struct{ key, user string }{{acme, "ada"}, {acme, "bob"}, {globex, "ada"}} {
		r := f.want(f.token(c.key, c.user), http.StatusOK, "")
		own[c.key+c.user], _ = r.body["access_token"].(string)
	}
	if len(own) != 3 || own[acme+"ada"] == own[globex+"ada"] || own[acme+"ada"] == own[acme+"bob"] {
		t.Fatalf("%d different tokens", len(own))
	}
	if r := f.want(f.token(adas, ""), http.StatusOK, ""); r.body["access_token"] != own[acme+"ada"] {
		t.Error("the caller of one user has another token")
	}
	f.want(f.token(adas, "ada"), http.StatusOK, "")
	f.want(f.token(acme, "ada", "tenant", "acme"), http.StatusOK, "")

	cross := 0
	for _, r := range []*result{
		f.want(f.token(globex, "bob"), http.StatusNotFound, "no_login"),
		f.want(f.token(globex, "ada", "tenant", "acme"), http.StatusForbidden, "forbidden"),
		f.want(f.token(adas, "bob"), http.StatusForbidden, "forbidden"),
		f.want(f.token(adas, "ada", "tenant", "globex"), http.StatusForbidden, "forbidden"),
		f.want(f.token(acme, "acme/ada"), http.StatusNotFound, "no_login"),
		f.want(f.token(acme, ""), http.StatusBadRequest, "usage"),
		f.want(f.token(acme, "ada", "User", "bob"), http.StatusBadRequest, "usage"),
		f.want(f.do(adas, "GET", "/v1/logins", url.Values{"user": {"bob"}}), http.StatusForbidden, "forbidden"),
		f.want(f.do(globex, "GET", "/v1/logins", url.Values{"user": {"bob"}}), http.StatusOK, ""),
		f.want(f.do(globex, "DELETE", "/v1/logins", url.Values{"user": {"bob"}, "server": {f.Lab.MCPURL()}}),
			http.StatusNotFound, "no_login"),
		f.want(f.token("", "ada"), http.StatusUnauthorized, "unauthenticated"),
		f.want(f.token("hsk_"+strings.Repeat("A", 52), "ada"), http.StatusUnauthorized, "unauthenticated"),
	} {
		for _, secret := range own {
			if strings.Contains(r.text, secret) {
				cross++
			}
		}
		if list, ok := r.body["logins"].([]any); ok && len(list) > 0 {
			cross++
		}
	}
	if cross != 0 {
		t.Errorf("%d cross reads", cross)
	}
	// Signing out one user leaves the one of the same name alone.
	f.want(f.do(globex, "DELETE", "/v1/logins", url.Values{"user": {"ada"}, "server": {f.Lab.MCPURL()}}),
		http.StatusOK, "")
	f.want(f.token(globex, "ada"), http.StatusNotFound, "no_login")
	f.want(f.token(acme, "ada"), http.StatusOK, "")
}

// A key works until it is removed from the file, and no longer: no service has to be started again.
func TestRemovedKeyWorksNoMore(t *testing.T) {
	f := newFixture(t, lab.NoneFirst(), nil)
	first, second := f.caller("acme", nil), f.caller("acme", nil)
	f.signIn("acme", "ada")
	f.want(f.token(first, "ada"), http.StatusOK, "")
	f.callers = f.callers[1:]
	f.save()
	f.want(f.token(first, "ada"), http.StatusUnauthorized, "unauthenticated")
	f.want(f.token(second, "ada"), http.StatusOK, "")
	text, err := os.ReadFile(f.path)
	if err != nil || strings.Contains(string(text), second) {
		t.Errorf("the file has the key: %v %s", err, text)
	}

	// A file that is damaged, or that others can write to, lets no caller in.
	if err := os.Chmod(f.path, 0o666); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(f.path, later, later); err != nil {
		t.Fatal(err)
	}
	f.want(f.token(second, "ada"), http.StatusServiceUnavailable, "store")
	if err := os.WriteFile(f.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := f.want(f.token(second, "ada"), http.StatusServiceUnavailable, "store")
	if strings.Contains(r.text, f.path) || !strings.Contains(f.log.String(), f.path) {
		t.Errorf("the path is in %s, or not in the log", r.text)
	}
	// One without a user is not confined: a misspelled one must not count as none.
	f.save()
	if text, err = os.ReadFile(f.path); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{
		strings.Replace(string(text), `"tenant"`, `"users": "ada", "tenant"`, 1), string(text) + string(text),
	} {
		if err := os.WriteFile(f.path, []byte(wrong), 0o600); err != nil {
			t.Fatal(err)
		}
		f.want(f.token(second, "ada"), http.StatusServiceUnavailable, "store")
	}
	f.save()
	_ = os.Chmod(f.path, 0o600)
	f.want(f.token(second, "ada"), http.StatusOK, "")
}

// While the database is down a token that is in memory works on, and the rest is a 503 that names no
// machine; without a restart it is over when the database is back.
func TestDatabaseDown(t *testing.T) {
	f := newFixture(t, lab.NoneFirst(), nil)
	key := f.caller("acme", nil)
	f.signIn("acme", "ada")
	f.signIn("acme", "bob")
	f.want(f.token(key, "ada"), http.StatusOK, "")
	f.db.down.Store(true)
	f.want(f.token(key, "ada"), http.StatusOK, "")
	for _, r := range []*result{
		f.want(f.token(key, "bob"), http.StatusServiceUnavailable, "store"),
		f.want(f.do(key, "GET", "/v1/logins", url.Values{"user": {"bob"}}), http.StatusServiceUnavailable, "store"),
		f.want(f.do(key, "DELETE", "/v1/logins", url.Values{"user": {"bob"}, "server": {f.Lab.MCPURL()}}),
			http.StatusServiceUnavailable, "store"),
	} {
		if strings.Contains(r.text, "db-7") {
			t.Errorf("a caller learns where the database is: %s", r.text)
		}
	}
	if !strings.Contains(f.log.String(), "db-7") {
		t.Error("the log does not say what is wrong")
	}
	f.db.down.Store(false)
	f.want(f.token(key, "bob"), http.StatusOK, "")
}

// However many servers a caller makes up, the service keeps nothing of them.
func TestServersThatAreMadeUp(t *testing.T) {
	f := newFixture(t, lab.NoneFirst(), func(o *Options) { o.Rate = 10_000 })
	key := f.caller("acme", nil)
	for i := range 100 {
		f.want(f.do(key, "GET", "/v1/token", url.Values{"user": {"ada"},
			"server": {fmt.Sprintf("https://%d.example.com/mcp", i)}}), http.StatusNotFound, "no_login")
	}
	f.WantCounts(map[string]int{"mcp": 0})
	if s := f.options.App; s != nil && len(f.db.stores) != 1 {
		t.Errorf("%d stores", len(f.db.stores))
	}
}

// Users that a caller makes up do not take the places of those who are there.
func TestUsersThatAreMadeUp(t *testing.T) {
	f := newFixture(t, lab.NoneFirst(), nil)
	key := f.caller("acme", nil)
	f.signIn("acme", "ada")
	f.options.App.CacheSize = 1
	ada := store.Owner{Tenant: "acme", User: "ada"}
	client, err := f.app.Client(ada)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		f.want(f.do(key, "GET", "/v1/logins", url.Values{"user": {fmt.Sprint(i)}}), http.StatusOK, "")
	}
	if again, err := f.app.Client(ada); again != client {
		t.Errorf("users that are made up have taken the place of one who is there: %v", err)
	}
}

// A caller that makes too many requests waits, and no other does.
func TestEachCallerHasItsRate(t *testing.T) {
	var l limits
	l.rate = 10
	now := time.Now()
	rejected := 0
	for range 30 {
		if err := l.take("busy", now); err != nil {
			rejected++
			if p := err.(*problem); p.retryAfter != 1 {
				t.Errorf("it may try again after %d s", p.retryAfter)
			}
		}
	}
	if rejected != 10 {
		t.Errorf("%d of 30 requests at once were rejected, want 10", rejected)
	}
	if err := l.take("other", now); err != nil {
		t.Error(err)
	}
	if err := l.take("busy", now.Add(100*time.Millisecond)); err != nil {
		t.Error(err)
	}
	if err := l.take("busy", now.Add(-time.Hour)); err == nil {
		t.Error("a clock that is set back fills the bucket")
	}
}

// Each path, status, member and word of the OpenAPI document is what the service sends, and it sends
// nothing else.
func TestOpenAPISaysWhatIsSent(t *testing.T) {
	c := newContract(t)
	for name, part := range map[string]func(*testing.T, *contract){
		"logins": sendLogins, "requests": sendRequests, "bound": sendBound, "trouble": sendTrouble,
		"ended": sendEnded, "down": sendDown,
	} {
		t.Run(name, func(t *testing.T) { part(t, c) })
	}
	c.t = t
	c.wantAll()
}

func shared(t *testing.T, c *contract, h lab.Habits, change func(*Options)) (f *fixture, key string) {
	f = newFixture(t, h, change)
	c.t, f.contract = t, c
	return f, f.caller("acme", nil)
}

var ofAda = url.Values{"user": {"ada"}}

func (f *fixture) ofLogin() url.Values {
	return url.Values{"user": {"ada"}, "server": {f.Lab.MCPURL()}}
}

func sendRequests(t *testing.T, c *contract) {
	f, key := shared(t, c, lab.NoneFirst(), nil)
	f.do("", "GET", "/v1/openapi.yaml", nil)
	for _, path := range []string{"/v1/token", "/v1/logins", "/v1/openapi.yaml"} {
		f.want(f.do(key, "POST", path, nil), http.StatusMethodNotAllowed, "usage")
		f.want(f.send(key, "GET", path, nil, "{}"), http.StatusRequestEntityTooLarge, "usage")
	}
	f.want(f.send(key, "DELETE", "/v1/logins", nil, "{}"), http.StatusRequestEntityTooLarge, "usage")
	for _, r := range []struct{ method, path string }{
		{"GET", "/v1/token"}, {"GET", "/v1/logins"}, {"DELETE", "/v1/logins"},
	} {
		f.want(f.do("", r.method, r.path, nil), http.StatusUnauthorized, "unauthenticated")
		f.want(f.do(key, r.method, r.path, nil), http.StatusBadRequest, "usage")
		f.want(f.do(key, r.method, r.path, url.Values{"tenant": {"globex"}}), http.StatusForbidden, "forbidden")
	}
	f.want(f.token(key, "ada"), http.StatusNotFound, "no_login")
	f.want(f.do(key, "DELETE", "/v1/logins", f.ofLogin()), http.StatusNotFound, "no_login")
	for _, wrong := range [][2]string{
		{"min_ttl", "-1"}, {"min_ttl", "1m"}, {"refresh", "yes"}, {"rejected", "a-token"}, {"rejected", "is-not-in-digits"}, {"url", f.Lab.MCPURL()}, {"nonce", "n"},
		{"method", "GE T"}, {"server", "ftp://example.com"}, {"user", strings.Repeat("x", 256)},
		{"user", "handstamp:clients"},
	} {
		f.want(f.token(key, "ada", wrong[0], wrong[1]), http.StatusBadRequest, "usage")
	}
	f.want(f.do(key, "GET", "/v1/token", url.Values{"user": {"ada", "bob"}}), http.StatusBadRequest, "usage")
	f, key = shared(t, c, lab.NoneFirst(), func(o *Options) { o.Rate = 0.001 })
	f.do(key, "GET", "/v1/logins", ofAda)
	for _, method := range []string{"GET", "DELETE"} {
		f.want(f.do(key, method, "/v1/logins", f.ofLogin()), http.StatusTooManyRequests, "rate_limited")
	}
	f.want(f.token(key, "ada"), http.StatusTooManyRequests, "rate_limited")
}

func sendLogins(t *testing.T, c *contract) {
	f, key := shared(t, c, lab.Habits{OpenID: true, ScopesSupported: []string{"openid", "files"}, ChallengeScope: "openid files"}, nil)
	f.Lab.SetAccount("ada@lab.test")
	f.signIn("acme", "ada")
	f.want(f.token(key, "ada", "min_ttl", "30", "refresh", "false"), http.StatusOK, "")
	before := f.token(key, "ada").body["access_token"]
	if after := f.token(key, "ada", "refresh", "true").body["access_token"]; after == before {
		t.Error("it was not refreshed")
	}
	state := func(want string, change func(*record.Record)) {
		t.Helper()
		rec := f.Record()
		change(rec)
		f.Put(rec)
		f.wantState(key, want)
	}
	state("valid", func(*record.Record) {})
	state("no_expiry", func(r *record.Record) { r.Grant.ExpiresAt = time.Time{} })
	state("refreshable", func(r *record.Record) { r.Grant.ExpiresAt = time.Now().Add(-time.Second) })
	f.want(f.do(key, "DELETE", "/v1/logins", f.ofLogin()), http.StatusOK, "")
	f.wantState(key, "")
	f.want(f.token(key, "ada"), http.StatusNotFound, "no_login")
	f.signIn("acme", "ada")
	state("expired", func(r *record.Record) {
		r.Grant.ExpiresAt, r.Grant.RefreshToken = time.Now().Add(-time.Second), ""
	})
	f.want(f.token(key, "ada"), http.StatusConflict, "auth_required")
	// What is damaged counts as no login, which the next one replaces. What a newer version has
	// written is kept.
	for _, change := range []struct {
		value, state, code string
		status             int
	}{
		{`{"version":999,"key":7}`, "unusable", "store", http.StatusServiceUnavailable},
		{"{", "corrupt", "no_login", http.StatusNotFound},
	} {
		f.overwrite(change.value)
		f.wantState(key, change.state)
		f.again()
		f.want(f.token(key, "ada"), change.status, change.code)
	}
}

// damaged is a database whose values have a wrong checksum.
type damaged struct{ store.Database }

func (d damaged) Store(o store.Owner) (store.Store, error) {
	s, err := d.Database.Store(o)
	return damagedStore{s}, err
}

type damagedStore struct{ store.Store }

func (s damagedStore) Get(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	_, revision, err := s.Store.Get(ctx, key)
	if err == nil {
		err = store.ErrCorrupt
	}
	return nil, revision, err
}

// A service that has never read a login can sign it out when it is damaged.
func TestDamagedValueIsSignedOut(t *testing.T) {
	f := newFixture(t, lab.Habits{}, nil)
	key := f.caller("acme", nil)
	f.signIn("acme", "ada")
	f.options.Database = damaged{f.db}
	f.options.App = &hosted.App{Database: damaged{f.db}, Configure: onThisMachine}
	server := httptest.NewServer(New(f.options))
	t.Cleanup(server.Close)
	f.url = server.URL
	f.want(f.token(key, "ada"), http.StatusNotFound, "no_login")
	f.want(f.do(key, "DELETE", "/v1/logins", f.ofLogin()), http.StatusOK, "")
}

// again serves with another App, which has nothing in memory.
func (f *fixture) again() {
	f.T.Helper()
	f.options.App = &hosted.App{Database: f.db, Configure: onThisMachine}
	server := httptest.NewServer(New(f.options))
	f.T.Cleanup(server.Close)
	f.url = server.URL
}

// wantState fails the test unless the user's login has a state; "": there is none.
func (f *fixture) wantState(key, want string) {
	f.T.Helper()
	r := f.want(f.do(key, "GET", "/v1/logins", ofAda), http.StatusOK, "")
	list, _ := r.body["logins"].([]any)
	got := ""
	if len(list) == 1 {
		got, _ = list[0].(map[string]any)["state"].(string)
	}
	if got != want {
		f.T.Errorf("the state is %q, want %q: %s", got, want, r.text)
	}
	f.wantNoSecret(r.text)
}

// overwrite replaces what is stored.
func (f *fixture) overwrite(value string) {
	f.T.Helper()
	key, err := store.NewKey(f.Lab.MCPURL(), "")
	if err != nil {
		f.T.Fatal(err)
	}
	_, revision, err := f.Store.Get(f.T.Context(), key)
	if err == nil {
		_, err = f.Store.Put(f.T.Context(), key, []byte(value), revision)
	}
	if err != nil {
		f.T.Fatal(err)
	}
}

// sendBound has a token that is bound to a key, at a server that wants nonces.
func sendBound(t *testing.T, c *contract) {
	f, key := shared(t, c, lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired, ResourceNonce: 3, QuietNonce: true}}, nil)
	f.signIn("acme", "ada")
	f.want(f.token(key, "ada"), http.StatusBadRequest, "usage")
	f.want(f.token(key, "ada", "method", "POST", "url", "https://elsewhere.example/mcp"), http.StatusBadRequest, "usage")
	call := func(more ...string) *http.Response {
		t.Helper()
		r := f.want(f.token(key, "ada", append([]string{"method", "POST"}, more...)...), http.StatusOK, "")
		proof, _ := r.body["proof"].(map[string]any)
		req, err := http.NewRequest("POST", fmt.Sprint(proof["url"]), strings.NewReader(
			`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"h","version":"1"}}}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
			"Authorization": {fmt.Sprint(r.body["token_type"], " ", r.body["access_token"])}, "Dpop": {fmt.Sprint(proof["dpop"])}}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	resp := call()
	if nonce := resp.Header.Get("DPoP-Nonce"); resp.StatusCode == http.StatusUnauthorized && nonce != "" {
		resp = call("nonce", nonce)
	}
	if resp.StatusCode != http.StatusOK {
		t.Errorf("with token and proof: %d %v", resp.StatusCode, resp.Header)
	}
	f.wantState(key, "valid")
}

// sendTrouble has an authorization server that is down, and one that breaks the protocol.
func sendTrouble(t *testing.T, c *contract) {
	f, key := shared(t, c, lab.NoneFirst(), nil)
	f.signIn("acme", "ada")
	f.Expire()
	f.Lab.SetFault("token", lab.Fault{Kind: lab.FaultStatus, Status: 503, RetryAfter: "30"})
	began := time.Now()
	r := f.want(f.token(key, "ada"), http.StatusServiceUnavailable, "unreachable")
	after, err := strconv.Atoi(r.header.Get("Retry-After"))
	if least := 29 - int(time.Since(began).Seconds()); err != nil || after > 30 || after < least {
		t.Errorf("Retry-After is %q", r.header.Get("Retry-After"))
	}
	g, key := shared(t, c, lab.NoneFirst(), nil)
	g.signIn("acme", "ada")
	g.Expire()
	g.Lab.SetFault("token", lab.Fault{Kind: lab.FaultStatus, Status: 200, ContentType: "application/json",
		Body: `{"access_token":"a","token_type":"mac"}`})
	g.want(g.token(key, "ada"), http.StatusBadGateway, "protocol")
}

// sendEnded has logins that the server has ended, and a client that it does not know.
func sendEnded(t *testing.T, c *contract) {
	f, key := shared(t, c, lab.NoneFirst(), nil)
	f.signIn("acme", "ada")
	f.Expire()
	f.Lab.RevokeFamilies()
	r := f.want(f.token(key, "ada"), http.StatusConflict, "auth_required")
	if r.body["command"] != "sign in ada" || r.body["oauth_error"] != "invalid_grant" {
		t.Errorf("%s", r.text)
	}
	f.wantState(key, "revoked")
	f.wantNoSecret(r.text)

	f, key = shared(t, c, lab.NoneFirst(), func(o *Options) {
		o.App.Configure = func(u store.Owner, c *handstamp.Client) {
			onThisMachine(u, c)
			c.Registration = &handstamp.Registration{ClientID: "gone", ClientSecret: "wrong",
				TokenEndpointAuthMethod: "client_secret_post"}
		}
	})
	f.Lab.RegisterClient(lab.ConfiguredClient{ID: "gone", Secret: "right", Method: "client_secret_post"})
	s, err := f.db.Store(store.Owner{Tenant: "acme", User: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	f.Store = s
	session := f.Session()
	session.Registration = &handstamp.Registration{ClientID: "gone", ClientSecret: "right",
		TokenEndpointAuthMethod: "client_secret_post"}
	f.MustLogin(session)
	f.Expire()
	f.want(f.token(key, "ada"), http.StatusConflict, "client_rejected")
}

// sendDown has a service without its database, and one that ends.
func sendDown(t *testing.T, c *contract) {
	f, key := shared(t, c, lab.NoneFirst(), nil)
	f.db.down.Store(true)
	f.want(f.token(key, "ada"), http.StatusServiceUnavailable, "store")
	f.want(f.do(key, "GET", "/v1/logins", ofAda), http.StatusServiceUnavailable, "store")
	f.want(f.do(key, "DELETE", "/v1/logins", f.ofLogin()), http.StatusServiceUnavailable, "store")
	f.db.down.Store(false)
	f.signIn("acme", "ada")
	if err := f.app.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.want(f.token(key, "ada"), http.StatusInternalServerError, "error")
	f.want(f.do(key, "GET", "/v1/logins", ofAda), http.StatusInternalServerError, "error")
	f.want(f.do(key, "DELETE", "/v1/logins", f.ofLogin()), http.StatusInternalServerError, "error")
}
