package security_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// life is a program whose every word is heard.
type life struct {
	*testenv.Env
	hay  *haystack
	line *testenv.Recorder

	mu     sync.Mutex
	states []string // guarded by mu; state parameters
}

func newLife(t *testing.T, hay *haystack, h lab.Habits) *life {
	return &life{Env: testenv.New(t, h), hay: hay, line: testenv.NewRecorder(http.DefaultTransport)}
}

// hidden is a RoundTripper that prints as an address: a printed Client must not show what
// the test's own transport has recorded.
type hidden func(*http.Request) (*http.Response, error)

func (h hidden) RoundTrip(req *http.Request) (*http.Response, error) { return h(req) }

// client returns a session that says all it can.
func (l *life) client(where string) *handstamp.Client {
	c := l.Session()
	c.BaseTransport, c.AuthTransport = hidden(l.line.RoundTrip), hidden(l.line.RoundTrip)
	c.Logger = slog.New(fanOut(l.hay.handlers(where)))
	c.Hooks = handstamp.Hooks{
		Refreshed: func(e handstamp.RefreshEvent) { l.hay.addValue(where+": event", e); l.hay.addError(where, e.Err) },
		LoggedIn:  func(e handstamp.LoginEvent) { l.hay.addValue(where+": event", e); l.hay.addError(where, e.Err) },
		Notice:    func(server, message string) { l.hay.addValue(where+": notice", server+" "+message) },
		Event: func(e handstamp.Event) {
			encoded, err := json.Marshal(e)
			l.hay.addError(where, err)
			l.hay.add(where+": event as JSON", string(encoded))
			l.hay.add(where+": event as text", e.String())
			l.hay.add(where+": event as a value", fmt.Sprintf("%#v", e))
		},
	}
	c.OnRegister = func(_ context.Context, r handstamp.Registration) error {
		l.hay.addValue(where+": registration", r)
		l.hay.addValue(where+": registration", &r)
		return nil
	}
	c.Prompt = handstamp.Prompt{Authorize: func(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
		u, err := url.Parse(r.URL)
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		l.states = append(l.states, u.Query().Get("state"))
		l.mu.Unlock()
		return l.Consent(ctx, r)
	}}
	return c
}

// use makes a call and adds everything there is to be had from the API.
func (l *life) use(where string, c *handstamp.Client) {
	l.T.Helper()
	ctx, server := l.T.Context(), l.Lab.MCPURL()
	l.hay.addError(where+": call", l.Call(c))
	token, err := c.Token(ctx, server, handstamp.TokenOptions{})
	l.hay.addError(where+": token", err)
	l.hay.addValue(where+": token", token)
	if token != nil {
		l.hay.addValue(where+": token", *token)
	}
	result, err := c.Login(ctx, server, handstamp.LoginOptions{})
	l.hay.addError(where+": login", err)
	l.hay.addValue(where+": login", result)
	status, err := c.Status(ctx, server)
	l.hay.addError(where+": status", err)
	l.hay.addValue(where+": status", status)
	if status != nil {
		l.hay.addValue(where+": status", *status)
	}
	statuses, err := c.List(ctx)
	l.hay.addError(where+": statuses", err)
	l.hay.addValue(where+": statuses", statuses)
	handler := c.Handler(server)
	l.hay.addValue(where+": handler", handler)
	source, err := handler.TokenSource(ctx)
	l.hay.addError(where+": handler", err)
	l.hay.addValue(where+": handler's token source", source)
	l.hay.addValue(where+": token source", c.TokenSource(ctx, server))
	l.hay.addValue(where+": transport", c.Transport(server))
	l.hay.addValue(where+": client", c)
	if c.Registration != nil {
		l.hay.addValue(where+": configured", c.Registration)
		l.hay.addValue(where+": configured", *c.Registration)
	}
	for _, s := range []store.Store{c.Store, l.Store} {
		l.hay.addValue(where+": store", s)
	}
	if rec, err := l.stored(); err == nil {
		l.hay.addValue(where+": record", rec)
		l.hay.addValue(where+": record", *rec)
		if rec.Grant != nil {
			l.hay.addValue(where+": grant", *rec.Grant)
		}
		for _, client := range rec.Clients {
			l.hay.addValue(where+": client", *client)
		}
		if rec.Intent != nil {
			l.hay.addValue(where+": intent", *rec.Intent)
		}
	}
}

// stored returns the record, if there is one.
func (l *life) stored() (*record.Record, error) {
	key, err := store.NewKey(l.Lab.MCPURL(), "")
	if err != nil {
		return nil, err
	}
	return record.Get(l.T.Context(), l.Store, key)
}

// secrets returns all that the server ever issued and all that was ever sent.
func (l *life) secrets() []string {
	secrets := l.Lab.Secrets()
	for _, r := range l.line.Requests(0) {
		for _, name := range []string{"code_verifier", "code", "refresh_token", "client_secret", "token", "client_assertion", "assertion", "device_code"} {
			secrets = append(secrets, r.Form[name]...)
		}
		secrets = append(secrets, proofIn(r.Raw))
	}
	if rec, err := l.stored(); err == nil && rec.DPoP != nil {
		var key struct{ D string }
		if err := json.Unmarshal([]byte(rec.DPoP.Key.Reveal()), &key); err != nil || key.D == "" {
			l.T.Errorf("the stored key has no private part: %v", err)
		}
		secrets = append(secrets, key.D)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	secrets = append(secrets, l.states...)
	slices.Sort(secrets)
	secrets = slices.Compact(secrets)
	return slices.DeleteFunc(secrets, func(s string) bool { return s == "" })
}

// proofIn returns the proof of possession of a request, "" if it has none.
func proofIn(raw string) string {
	_, after, _ := strings.Cut(raw, "\r\nDpop: ")
	proof, _, _ := strings.Cut(after, "\r\n")
	return proof
}

// TestNoSecretIsEverSaid lives through logins of each kind, refreshes, every class
// of failure, step-up and logout, prints all there is to print, and looks for
// each secret that was at play.
func TestNoSecretIsEverSaid(t *testing.T) {
	testenv.Heavy(t, "it searches all that was printed for each encoding of each secret")
	hay := new(haystack)
	var lives []*life
	begin := func(h lab.Habits) *life {
		l := newLife(t, hay, h)
		lives = append(lives, l)
		return l
	}

	// A client that registers itself, with a secret full of special characters.
	h := lab.NoneFirst()
	h.SecretAlphabet, h.ManageClients = "%+ :/&=", true
	l := begin(h)
	l.use("dynamic", l.client("dynamic"))
	l.Expire()
	l.use("refresh", l.client("refresh"))
	l.Lab.RevokeAccessTokens()
	l.use("rejected early", l.client("rejected early"))
	l.Lab.RevokeFamilies()
	l.use("grant gone", l.client("grant gone"))
	l.Lab.ForgetClients()
	l.Lab.RevokeAccessTokens()
	l.use("client gone", l.client("client gone"))
	c := l.client("logout")
	l.Lab.SetFault("revoke", lab.Fault{Kind: lab.FaultStatus, Status: 503})
	result, err := c.Logout(t.Context(), l.Lab.MCPURL(), handstamp.LogoutOptions{KeepClient: true})
	hay.addError("logout", err)
	hay.addValue("logout", result)
	hay.addError("logout", result.RevokeError)
	l.Lab.SetFault("revoke")
	l.use("signed out", c)
	result, err = c.Logout(t.Context(), l.Lab.MCPURL(), handstamp.LogoutOptions{DeleteClient: true})
	hay.addError("logout", err)
	hay.addValue("logout", result)

	// Clients that are configured, rightly and wrongly, and one with a document.
	l = begin(lab.Habits{ClientIDMetadata: true})
	l.Lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "configured-se:cr%et+ &=", Method: lab.MethodPost})
	for _, secret := range []secret.String{"configured-se:cr%et+ &=", "configured-and-wrong-secret"} {
		c := l.client("configured")
		c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: secret}
		_, err := c.Login(t.Context(), l.Lab.MCPURL(), handstamp.LoginOptions{Force: true})
		hay.addError("configured", err)
		l.Expire()
		l.use("configured", c)
	}

	// Keys: of the client and of its tokens, with pushed requests, and of a client without a user.
	key, err := clientkey.Generate("ES256")
	if err != nil {
		t.Fatal(err)
	}
	for name, grant := range map[string]handstamp.Grant{"keys": nil, "keys of a machine": handstamp.ClientCredentials{}} {
		h := lab.Habits{
			Methods: []string{lab.MethodPrivateKeyJWT}, PAR: lab.PARRequired, NoRegistration: true,
			DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired, ServerNonce: 1, ResourceNonce: 2},
		}
		if grant != nil {
			h.PAR, h.Grants = "", []string{lab.GrantClientCredentials}
		}
		l := begin(h)
		l.Lab.RegisterClient(lab.ConfiguredClient{ID: "keyed", JWKS: string(key.JWKS())})
		for range 2 {
			c := l.client(name)
			c.Registration, c.Key, c.Grant = &handstamp.Registration{ClientID: "keyed"}, key, grant
			l.use(name, c)
			l.Expire()
			l.use(name, c)
		}
		for _, code := range []string{"use_dpop_nonce", "invalid_dpop_proof", "invalid_client"} {
			l.Lab.SetFault("token", lab.Fault{Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Body: `{"error":"` + code + `"}`})
			c := l.client(name + " " + code)
			c.Registration, c.Key, c.Grant, c.LoginPolicy = &handstamp.Registration{ClientID: "keyed"}, key, grant, handstamp.LoginNever
			l.Lab.RevokeAccessTokens()
			l.use(name+" "+code, c)
		}
	}

	// A login on another device.
	l = begin(lab.Habits{Grants: []string{lab.GrantDeviceCode}})
	c = l.client("device")
	c.Grant = handstamp.DeviceCode{}
	c.Prompt.ShowCode = func(_ context.Context, d handstamp.DeviceAuthorization) {
		hay.addError("device", l.Lab.ApproveDevice(d.UserCode))
	}
	l.use("device", c)

	// Scope that grows.
	l = begin(lab.Habits{RequiredScope: "write", ScopesSupported: []string{"read", "write"}, ChallengeScope: "read"})
	l.use("step-up", l.client("step-up"))

	// Each class of failure, at login and at refresh.
	faults := make(map[string]lab.Fault)
	for name, fault := range testenv.Trouble {
		faults[name] = fault
	}
	for _, code := range []string{"invalid_grant", "invalid_client", "invalid_scope", "invalid_target", "invalid_request", "access_denied", "unauthorized_client", "server_error"} {
		faults[code] = lab.Fault{Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Body: `{"error":"` + code + `"}`}
	}
	for _, kind := range []string{lab.FaultCutAfter, lab.FaultCutBody, lab.FaultHuge} {
		faults[kind] = lab.Fault{Kind: kind}
	}
	var group sync.WaitGroup
	for name, fault := range faults {
		l := begin(lab.NoneFirst())
		group.Go(func() {
			l.Lab.SetFault("token", fault)
			hay.addError(name+" at login", l.Login(l.client(name+" at login")))
			l.Lab.SetFault("token")
			l.use(name, l.client(name))
			if rec, err := l.stored(); err == nil && rec.Grant != nil {
				rec.Grant.ExpiresAt = time.Now().Add(-time.Second)
				hay.addError("store", record.Put(t.Context(), l.Store, rec))
			}
			l.Lab.SetFault("token", fault)
			c := l.client(name + " at refresh")
			c.LoginPolicy = handstamp.LoginNever
			l.use(name+" at refresh", c)
		})
	}

	// A response that cannot be used, and responses that are cut to pieces.
	for name, change := range map[string]func(map[string]any){
		"malformed access token": func(document map[string]any) {
			document["access_token"] = fmt.Sprint(document["access_token"]) + "\r\n"
		},
		"no access token": func(document map[string]any) { delete(document, "access_token") },
		"another type":    func(document map[string]any) { document["token_type"] = "DPoP" },
		"token as a list": func(document map[string]any) { document["access_token"] = []any{document["access_token"]} },
		"error beside it": func(document map[string]any) { document["error"] = "invalid_grant" },
	} {
		l := begin(lab.Habits{})
		l.use(name, l.client(name))
		l.Expire()
		l.line.OnJSON(testenv.AtToken, change)
		l.use(name, l.client(name))
		_, err := l.client(name).Login(t.Context(), l.Lab.MCPURL(), handstamp.LoginOptions{Force: true})
		hay.addError(name, err)
	}

	// A server that repeats in its errors what it was sent.
	for _, member := range []string{"refresh_token", "code", "code_verifier", "client_secret", "token"} {
		for _, status := range []int{400, 401, 503} {
			l := begin(lab.NoneFirst())
			where := fmt.Sprint("echo of ", member, " with ", status)
			l.MustLogin(l.client(where))
			l.line.OnResponse(func(req *http.Request, resp *http.Response) {
				if req.URL.Path != testenv.AtToken && req.URL.Path != testenv.AtRevoke {
					return
				}
				requests := l.line.Requests(0)
				said := requests[len(requests)-1].Form.Get(member)
				if said == "" {
					said = "nothing"
				}
				resp.StatusCode = status
				text, _ := json.Marshal(map[string]string{"error": "invalid_grant", "error_description": "we do not know " + said + " here", "error_uri": "https://as.example/" + said})
				testenv.SetBody(resp, text)
			})
			l.Expire()
			group.Go(func() {
				quiet := l.client(where)
				quiet.LoginPolicy = handstamp.LoginNever
				hay.addError(where, l.Call(quiet))
				l.use(where, quiet)
				result, err := quiet.Logout(t.Context(), l.Lab.MCPURL(), handstamp.LogoutOptions{KeepClient: true})
				hay.addError(where, err)
				if result != nil {
					hay.addError(where, result.RevokeError)
				}
				hay.addError(where, l.Login(l.client(where)))
			})
		}
	}
	group.Wait()

	// What panics in the middle of a refresh, with a token in its hands.
	l = begin(lab.Habits{})
	l.MustLogin(l.client("panic"))
	l.Expire()
	c = l.client("panic")
	c.LoginPolicy = handstamp.LoginNever
	c.AuthTransport = panics{l.line}
	hay.addError("panic", l.Call(c))

	// No browser can be opened: the error has the URL in a field of its own, for the
	// user to open, and nowhere else.
	l = begin(lab.Habits{})
	c = l.client("no browser")
	c.Hooks = handstamp.Hooks{}
	authorize := c.Prompt.Authorize
	c.Prompt = handstamp.Prompt{OpenURL: func(ctx context.Context, rawURL string) error {
		_, err := authorize(ctx, handstamp.AuthorizationRequest{URL: rawURL})
		return errors.Join(err, errors.New("no browser"))
	}}
	if err := l.Login(c); err == nil {
		t.Error("a login without a browser worked")
	} else {
		hay.add("no browser", err.Error())
	}

	// A store that fails while a refreshed token is to be stored.
	l = begin(lab.Habits{})
	l.MustLogin(l.client("store"))
	l.Expire()
	c = l.client("store")
	c.Store = &fullStore{Store: l.Store, space: 1}
	l.use("store", c)

	var secrets []string
	for _, l := range lives {
		if s := l.secrets(); len(s) < 2 {
			t.Errorf("a life with %d secrets", len(s))
		} else {
			secrets = append(secrets, s...)
		}
	}
	t.Logf("%d texts, %d secrets", len(hay.straws), len(secrets))
	found := hay.search(secrets)
	for _, f := range found[:min(len(found), 40)] {
		t.Error(f)
	}
	if len(found) > 40 {
		t.Errorf("and %d more", len(found)-40)
	}

	// The silence means something: one careless line would have been heard.
	careless := slog.New(fanOut(hay.handlers("careless")))
	for _, secret := range secrets {
		careless.Debug("sending", "form", url.Values{"x": {secret}}.Encode())
	}
	if n := len(hay.search(secrets)) - len(found); n < len(secrets) {
		t.Errorf("of %d planted secrets %d were found", len(secrets), n)
	}
}

// panics is a RoundTripper with a bug.
type panics struct{ line *testenv.Recorder }

func (p panics) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path != testenv.AtToken {
		return p.line.RoundTrip(req)
	}
	if _, err := p.line.RoundTrip(req); err != nil {
		return nil, err
	}
	sent := p.line.Requests(0)
	panic(sent[len(sent)-1].Raw)
}

// fullStore is a Store that takes so many records more.
type fullStore struct {
	store.Store
	mu    sync.Mutex
	space int // guarded by mu
}

func (f *fullStore) Put(ctx context.Context, key store.Key, value []byte, revision store.Revision) (store.Revision, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.space--; f.space < 0 {
		return "", fmt.Errorf("no space for %v", key)
	}
	return f.Store.Put(ctx, key, value, revision)
}
