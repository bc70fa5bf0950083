package handstamp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// elsewhere signs in with a store of its own, as another program would, and
// returns what that program has of the login.
func elsewhere(w *testenv.Env) handstamp.ImportedLogin {
	w.T.Helper()
	other := &testenv.Env{T: w.T, Lab: w.Lab, Store: new(store.Memory)}
	other.MustCall(other.Session())
	g, client := other.Record().Grant, other.Record().GrantClient()
	w.Lab.Reset()
	return handstamp.ImportedLogin{
		Registration:  handstamp.Registration{Issuer: g.Issuer, Response: client.Response},
		TokenResponse: tokenResponse(g.AccessToken.Reveal(), g.RefreshToken.Reveal()),
		ReceivedAt:    g.ObtainedAt,
	}
}

func tokenResponse(access, refresh string) secret.String {
	members := map[string]any{"access_token": access, "token_type": "bearer", "expires_in": 3600}
	if refresh != "" {
		members["refresh_token"] = refresh
	}
	b, _ := json.Marshal(members)
	return secret.String(b)
}

// withoutRefreshToken returns a token response that has an access token alone.
func withoutRefreshToken(t *testing.T, response secret.String) secret.String {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal([]byte(response.Reveal()), &members); err != nil {
		t.Fatal(err)
	}
	return tokenResponse(members["access_token"].(string), "")
}

func importLogin(w *testenv.Env, l handstamp.ImportedLogin, o handstamp.ImportOptions) (*handstamp.ImportResult, error) {
	return w.Session().Import(context.Background(), w.Lab.MCPURL(), l, o)
}

func mustImport(w *testenv.Env, l handstamp.ImportedLogin, o handstamp.ImportOptions) *handstamp.ImportResult {
	w.T.Helper()
	result, err := importLogin(w, l, o)
	if err != nil {
		w.T.Fatalf("import: %v\n%s", err, w.Diary())
	}
	return result
}

// An imported login works like one of ours: no token request while its token is good,
// one refresh when it is not, with the registered method.
func TestImport(t *testing.T) {
	t.Parallel()
	for _, method := range []string{lab.MethodNone, lab.MethodPost, lab.MethodBasic} {
		for _, known := range []string{"issuer known", "issuer unknown"} {
			for _, offline := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/offline=%v", method, known, offline), func(t *testing.T) {
					t.Parallel()
					w := testenv.New(t, lab.Habits{RegisterMethod: method, SecretAlphabet: "%+ :/&=", Resource: lab.ResourceRequired})
					l := elsewhere(w)
					if known == "issuer unknown" {
						l.Registration.Issuer = ""
					}
					w.Lab.Reset()
					result := mustImport(w, l, handstamp.ImportOptions{Offline: offline})
					if s := result.Status; result.Already || s.State != handstamp.StateValid || !s.Refreshable ||
						s.Method != method || s.MethodReason != "from the registration" {
						t.Errorf("imported as %+v", s)
					}
					if offline && len(w.Lab.Counts()) > 0 {
						t.Errorf("asked the network\n%s", w.Diary())
					}

					w.Lab.Reset()
					w.MustCall(w.Session())
					if n := w.AsRequests(); n != 0 {
						t.Errorf("%d requests to the authorization server for a warm start\n%s", n, w.Diary())
					}
					metadata := 0
					if offline {
						metadata = 1
					}
					for range 3 {
						w.Expire()
						w.Lab.Reset()
						w.MustCall(w.Session())
						w.WantCounts(map[string]int{"token:refresh": 1, "server_metadata": metadata})
						metadata = 0
					}
					w.WantTabs(0)
					if rec := w.Record(); len(rec.Clients) != 1 || rec.Grant.Issuer != w.Lab.Issuer() || rec.GrantClient() == nil {
						t.Errorf("stored %d clients, issuer %q", len(rec.Clients), rec.Grant.Issuer)
					}
				})
			}
		}
	}
}

// A registration that does not say its method is found out by the first refresh.
func TestImportFindsOutTheMethod(t *testing.T) {
	for _, method := range []string{lab.MethodNone, lab.MethodPost, lab.MethodBasic} {
		t.Run(method, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{RegisterMethod: method, RegisterSilent: true})
			mustImport(w, elsewhere(w), handstamp.ImportOptions{Offline: true})
			for range 2 {
				w.Expire()
				w.Lab.Reset()
				w.MustCall(w.Session())
			}
			w.WantCounts(map[string]int{"token:refresh": 1})
			w.WantTabs(0)
		})
	}
}

func TestImportLeavesAGoodLogin(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	l := elsewhere(w)
	w.MustCall(w.Session())
	before := w.Record()
	w.Lab.Reset()
	for _, o := range []handstamp.ImportOptions{{}, {Offline: true}, {DryRun: true}} {
		if result := mustImport(w, l, o); !result.Already || w.Record().Revision != before.Revision {
			t.Errorf("%+v: Already is %v, revision %q", o, result.Already, w.Record().Revision)
		}
	}
	if len(w.Lab.Counts()) > 0 {
		t.Errorf("asked the network\n%s", w.Diary())
	}
	mustImport(w, l, handstamp.ImportOptions{Force: true, DryRun: true})
	if w.Record().Revision != before.Revision {
		t.Error("a dry run stored something")
	}
	if result := mustImport(w, l, handstamp.ImportOptions{Force: true}); result.Already || w.Record().Grant.AccessToken == before.Grant.AccessToken {
		t.Error("Force did not replace the login")
	}
	w.MustCall(w.Session())
	w.WantTabs(1)
}

// busy is a store in which a user signs in just before the first write.
type busy struct {
	store.Store
	once   sync.Once
	signIn func()
}

func (b *busy) Put(ctx context.Context, key store.Key, value []byte, revision store.Revision) (store.Revision, error) {
	b.once.Do(b.signIn)
	return b.Store.Put(ctx, key, value, revision)
}

// A login that is stored while another one is imported is not overwritten.
func TestImportLosesARace(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	l := elsewhere(w)
	c := w.Session()
	c.Store = &busy{Store: w.Store, signIn: func() { w.MustCall(w.Session()) }}
	result, err := c.Import(t.Context(), w.Lab.MCPURL(), l, handstamp.ImportOptions{})
	if err != nil || !result.Already {
		t.Errorf("%+v, %v", result, err)
	}
	var imported map[string]any
	if err := json.Unmarshal([]byte(l.TokenResponse), &imported); err != nil {
		t.Fatal(err)
	}
	if w.Record().Grant.AccessToken.Reveal() == imported["access_token"] {
		t.Error("the login that came first was overwritten")
	}
}

// Nothing of a login is sent to another authorization server than it came from.
func TestImportFromAnotherIssuer(t *testing.T) {
	for name, form := range map[string]string{"named": "", "at the server itself": lab.ResourceNone} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{ResourceForm: form, OneOrigin: form != ""})
			l := elsewhere(w)
			l.Registration.Issuer = "https://as.example.com"
			w.Lab.Reset()
			_, err := importLogin(w, l, handstamp.ImportOptions{})
			testenv.WantKind(t, err, handstamp.ErrProtocol)
			if err == nil || !strings.Contains(err.Error(), "as.example.com") || !strings.Contains(err.Error(), w.Lab.Issuer()) {
				t.Errorf("%v does not name both issuers", err)
			}
			w.WantNoCredentials()

			// Taken unseen, it serves as long as its token does. Then it ends.
			mustImport(w, l, handstamp.ImportOptions{Offline: true})
			w.MustCall(w.Session())
			w.Expire()
			c := w.Session()
			c.LoginPolicy = handstamp.LoginNever
			testenv.WantKind(t, w.Call(c), handstamp.ErrLoginRequired)
			w.WantCounts(map[string]int{"token:refresh": 0})
			if status, err := c.Status(t.Context(), w.Lab.MCPURL()); err != nil || status.GrantError == nil || status.GrantError.Code != "issuer_changed" {
				t.Errorf("status %+v, %v", status, err)
			}
			w.MustCall(w.Session())
			w.WantTabs(1)
		})
	}
}

// An authorization server that cannot be reached costs no login, neither when it is
// imported nor when its import is completed.
func TestImportUnreachable(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	l := elsewhere(w)
	w.Lab.SetFault("server_metadata", lab.Fault{Kind: lab.FaultStatus, Status: 503})
	_, err := importLogin(w, l, handstamp.ImportOptions{})
	testenv.WantKind(t, err, handstamp.ErrUnreachable)
	w.WantNoCredentials()
	mustImport(w, l, handstamp.ImportOptions{Offline: true})
	w.Expire()
	testenv.WantKind(t, w.Call(w.Session()), handstamp.ErrUnreachable)
	w.WantTabs(0)
	w.Lab.SetFault("server_metadata")
	rec := w.Record()
	if rec.Retry == nil {
		t.Fatal("nothing says when to ask again")
	}
	rec.Retry.NotBefore = time.Now()
	w.Put(rec)
	w.MustCall(w.Session())
	w.WantTabs(0)
}

// A login that is not complete yet is completed by whoever needs it to be.
func TestImportedOfflineThenLogoutOrLogin(t *testing.T) {
	for name, refreshable := range map[string]bool{"logout": true, "logout, without a refresh token": false} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.NoneFirst())
			l := elsewhere(w)
			if !refreshable {
				l.TokenResponse = withoutRefreshToken(t, l.TokenResponse)
			}
			mustImport(w, l, handstamp.ImportOptions{Offline: true})
			result, err := w.Session().Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{})
			if err != nil || !result.Revoked {
				t.Errorf("%+v, %v", result, err)
			}
		})
	}
	t.Run("login", func(t *testing.T) {
		w := testenv.New(t, lab.NoneFirst())
		l := elsewhere(w)
		l.Registration.Issuer = ""
		mustImport(w, l, handstamp.ImportOptions{Offline: true})
		w.Lab.Reset()
		w.MustLogin(w.Session())
		w.WantCounts(map[string]int{"register": 0, "token:code": 1})
		if rec := w.Record(); len(rec.Clients) != 1 {
			t.Errorf("%d clients are stored, want the imported one", len(rec.Clients))
		}
	})
}

// A client that was typed in, and one that is a metadata document, come without
// a registration response.
func TestImportWithoutRegistrationResponse(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.Lab.RegisterClient(lab.ConfiguredClient{ID: "by-hand", Secret: "secret", Method: lab.MethodBasic, RedirectURIs: []string{"http://127.0.0.1/callback"}})
	r := handstamp.Registration{ClientID: "by-hand", ClientSecret: "secret"}
	other := &testenv.Env{T: t, Lab: w.Lab, Store: new(store.Memory)}
	c := other.Session()
	c.Registration = &r
	other.MustCall(c)
	g := other.Record().Grant
	l := handstamp.ImportedLogin{TokenResponse: tokenResponse(g.AccessToken.Reveal(), g.RefreshToken.Reveal())}

	_, err := importLogin(w, l, handstamp.ImportOptions{})
	testenv.WantKind(t, err, handstamp.ErrInvalidConfig) // a refresh token without its client
	c = w.Session()
	c.Registration = &r
	if _, err := c.Import(t.Context(), w.Lab.MCPURL(), l, handstamp.ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	if rec := w.Record(); rec.Clients[0].Source != record.SourceConfigured || !rec.Grant.ExpiresAt.IsZero() {
		t.Errorf("source %q, expiry %v without a time of receipt", rec.Clients[0].Source, rec.Grant.ExpiresAt)
	}
	w.Expire()
	w.MustCall(w.Session())

	l.Registration.ClientID = "https://app.example.com/client.json"
	mustImport(w, l, handstamp.ImportOptions{Force: true, DryRun: true})
	result := mustImport(w, l, handstamp.ImportOptions{Force: true})
	if result.Status.ClientSource != record.SourceMetadataDocument || result.Status.Method != lab.MethodNone {
		t.Errorf("%+v", result.Status)
	}
}

func TestImportRejects(t *testing.T) {
	registration := handstamp.Registration{Response: `{"client_id":"c","redirect_uris":["http://localhost:3334/callback"]}`}
	long := strings.Repeat("a", 40<<10)
	for _, test := range []struct {
		name  string
		kind  error
		login handstamp.ImportedLogin
	}{
		{"nothing", handstamp.ErrInvalidConfig, handstamp.ImportedLogin{}},
		{"no token", handstamp.ErrInvalidConfig, handstamp.ImportedLogin{TokenResponse: `{"token_type":"Bearer"}`}},
		{"an error", handstamp.ErrInvalidConfig, handstamp.ImportedLogin{TokenResponse: `{"error":"invalid_grant"}`}},
		{"half of it", handstamp.ErrInvalidConfig, handstamp.ImportedLogin{Registration: registration, TokenResponse: `{"access_token":"a","refresh_token":"r"`}},
		{"a header in the token", handstamp.ErrInvalidConfig, handstamp.ImportedLogin{TokenResponse: `{"access_token":"a\r\nX-Evil: 1"}`}},
		{"a huge token", handstamp.ErrInvalidConfig, handstamp.ImportedLogin{TokenResponse: tokenResponse(long, "")}},
		{"a refresh token without client", handstamp.ErrInvalidConfig, handstamp.ImportedLogin{TokenResponse: tokenResponse("a", "r")}},
		{"a registration that is none", handstamp.ErrInvalidConfig, handstamp.ImportedLogin{
			Registration: handstamp.Registration{Response: `{"client_name":"x"}`}, TokenResponse: tokenResponse("a", "r")}},
		{"a registration that leads elsewhere", handstamp.ErrInvalidConfig, handstamp.ImportedLogin{
			Registration: handstamp.Registration{Response: `{"client_id":"c","client_uri":"javascript:alert(1)"}`}, TokenResponse: tokenResponse("a", "r")}},
		{"a resource and none", handstamp.ErrInvalidConfig, handstamp.ImportedLogin{
			Resource: "https://mcp.invalid", OmitResource: true, TokenResponse: tokenResponse("a", "")}},
		{"a method without its secret", handstamp.ErrInvalidConfig, handstamp.ImportedLogin{
			Registration: handstamp.Registration{Response: `{"client_id":"c","token_endpoint_auth_method":"client_secret_basic"}`}, TokenResponse: tokenResponse("a", "r")}},
		{"expired and not refreshable", handstamp.ErrLoginRequired, handstamp.ImportedLogin{
			Registration: registration, TokenResponse: tokenResponse("a", ""), ReceivedAt: time.Now().Add(-2 * time.Hour)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := handstamp.Client{}
			for _, offline := range []bool{true, false} { // checked before any request
				_, err := c.Import(t.Context(), "https://mcp.invalid/mcp", test.login, handstamp.ImportOptions{Offline: offline})
				testenv.WantKind(t, err, test.kind)
				if err != nil && strings.Contains(err.Error(), "X-Evil") {
					t.Errorf("%v shows a secret", err)
				}
			}
			if list, err := c.List(t.Context()); err != nil || len(list) != 0 {
				t.Errorf("stored %v, %v", list, err)
			}
		})
	}
	var c handstamp.Client
	_, err := c.Import(t.Context(), "ftp://mcp.invalid", handstamp.ImportedLogin{}, handstamp.ImportOptions{})
	testenv.WantKind(t, err, handstamp.ErrInvalidConfig)
}

// What a login says of itself beyond its tokens is kept.
func TestImportKeepsWhatIsKnown(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(l *handstamp.ImportedLogin, origin string)
		want func(origin string) string
	}{
		{"nothing is known of the resource", func(*handstamp.ImportedLogin, string) {}, func(origin string) string { return origin + "/" }},
		{"it is known", func(l *handstamp.ImportedLogin, origin string) { l.Resource = origin }, func(origin string) string { return origin }},
		{"there was none", func(l *handstamp.ImportedLogin, _ string) { l.OmitResource = true }, func(string) string { return "" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{ResourceName: lab.NameOrigin})
			origin := strings.TrimSuffix(w.Lab.MCPURL(), "/mcp")
			l := elsewhere(w)
			l.ReceivedAt, l.ExpiresAt = time.Now().Add(time.Hour), time.Now().Add(30*time.Minute) // a clock that was wrong
			l.ScopeRequested = "read write"
			test.set(&l, origin)
			mustImport(w, l, handstamp.ImportOptions{})
			g := w.Record().Grant
			if want := test.want(origin); g.Resource.Value != want || g.Resource.Omit != (want == "") {
				t.Errorf("resource %+v, want %q", g.Resource, want)
			}
			if g.ScopeRequested != "read write" || g.ObtainedAt.After(time.Now()) || !g.ExpiresAt.Equal(l.ExpiresAt.UTC()) {
				t.Errorf("scope %q, obtained %v, expires %v", g.ScopeRequested, g.ObtainedAt, g.ExpiresAt)
			}
			w.Expire()
			w.Lab.Reset()
			w.MustCall(w.Session())
			w.WantCounts(map[string]int{"token:refresh": 1})
			w.WantTabs(0)
		})
	}
}

// A login that cannot be stored is not half taken.
func TestImportNeedsTheStore(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	l := elsewhere(w)
	c := w.Session()
	c.Store = &brittle{Store: w.Store}
	_, err := c.Import(t.Context(), w.Lab.MCPURL(), l, handstamp.ImportOptions{})
	testenv.WantKind(t, err, handstamp.ErrStore)
	if !errors.Is(err, store.ErrUnusable) {
		t.Errorf("%v hides its cause", err)
	}
	w.WantNoCredentials()
}
