package handstamp_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
)

// The status names the account, where the server provides it, and later logins preselect it.
func TestAccount(t *testing.T) {
	w := testenv.New(t, lab.Habits{OpenID: true})
	w.Lab.SetAccount("ana@lab.test")
	session := func() *handstamp.Client {
		c := w.Session()
		c.Scopes = []string{"openid"}
		return c
	}
	w.MustLogin(session())
	status, err := w.Session().Status(t.Context(), w.Lab.MCPURL())
	if err != nil || status.Account != "ana@lab.test" {
		t.Fatalf("account %q, %v", status.Account, err)
	}
	w.Expire()
	w.MustCall(session())
	w.Lab.RevokeFamilies()
	w.MustCall(session())
	var hints []string
	for _, r := range w.Lab.Requests() {
		if r.Endpoint == "authorize" {
			hints = append(hints, r.Params.Get("login_hint"))
		}
	}
	if len(hints) != 2 || hints[0] != "" || hints[1] != "ana@lab.test" {
		t.Errorf("login hints %q", hints)
	}
}

// A login with another account than before is reported.
func TestAccountChanges(t *testing.T) {
	w := testenv.New(t, lab.Habits{OpenID: true})
	w.Lab.SetAccount("ana@lab.test")
	var notices []string
	session := func() *handstamp.Client {
		c := w.Session()
		c.Scopes = []string{"openid"}
		c.Hooks.Notice = func(_, message string) { notices = append(notices, message) }
		return c
	}
	w.MustLogin(session())
	w.Lab.SetAccount("ben@lab.test")
	if _, err := session().Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(notices, "\n"); !strings.Contains(all, "ben@lab.test") {
		t.Errorf("notices %q", notices)
	}
}

// A server that names no account, or whose userinfo endpoint fails, is no trouble.
func TestAccountIsNotNamed(t *testing.T) {
	w := testenv.New(t, lab.Habits{OpenID: true})
	w.Lab.SetFault("userinfo", lab.Fault{Kind: lab.FaultStatus})
	w.MustLogin(w.Session())
	if status, err := w.Session().Status(t.Context(), w.Lab.MCPURL()); err != nil || status.Account != "" {
		t.Errorf("account %q, %v", status.Account, err)
	}
}

// The account at one authorization server is not sent to another one, nor taken for that of a login
// with another account.
func TestAccountStaysAtItsServer(t *testing.T) {
	w := testenv.New(t, lab.Habits{OpenID: true})
	w.Lab.SetAccount("ana@lab.test")
	issuer, quiet := "", false
	session := func() *handstamp.Client {
		c, line := w.Recorded()
		c.Scopes = []string{"openid"}
		if issuer != "" {
			c.Prompt.Authorize = func(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
				callback, err := w.Consent(ctx, r)
				callback.Del("iss")
				return callback, err
			}
			c.AuthorizationServer = &handstamp.AuthorizationServer{
				Issuer: issuer, AuthorizationEndpoint: w.Lab.Issuer() + "/authorize", TokenEndpoint: w.Lab.Issuer() + "/token",
				RegistrationEndpoint: w.Lab.Issuer() + "/register",
			}
		}
		line.OnJSON("/token", func(document map[string]any) {
			if quiet {
				delete(document, "id_token")
			}
		})
		return c
	}
	want := func(account string) {
		t.Helper()
		status, err := w.Session().Status(t.Context(), w.Lab.MCPURL())
		if err != nil || status.Account != account {
			t.Errorf("account %q, %v, want %q", status.Account, err, account)
		}
	}
	w.MustLogin(session())
	want("ana@lab.test")
	issuer, quiet = "https://another.test", true
	for range 2 {
		w.Lab.RevokeFamilies()
		w.Lab.Reset()
		if _, err := session().Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{}); err != nil {
			t.Fatal(err)
		}
		want("")
		for _, r := range w.Lab.Requests() {
			if r.Params.Has("login_hint") {
				t.Errorf("%s has %q", r.Endpoint, r.Params.Get("login_hint"))
			}
		}
	}
}

// A name without a visible character is none, and the next one serves.
func TestAccountWithoutAVisibleName(t *testing.T) {
	w := testenv.New(t, lab.Habits{OpenID: true})
	c, line := w.Recorded()
	c.Scopes = []string{"openid"}
	line.OnJSON("/token", func(document map[string]any) { delete(document, "id_token") })
	line.OnJSON("/userinfo", func(document map[string]any) {
		document["email"], document["preferred_username"] = "\u202e\x1b[31m", map[string]any{"a": 1}
		document["name"] = "Ana\u202e\x1b]0;title\x07 \u0000Lab"
	})
	w.MustLogin(c)
	status, err := w.Session().Status(t.Context(), w.Lab.MCPURL())
	if err != nil || status.Account != "Ana Lab" {
		t.Errorf("account %q, %v", status.Account, err)
	}
}

// A login is stored before the account is requested: what ends the process then loses no tokens.
func TestAccountIsRequestedWhenTheLoginIsStored(t *testing.T) {
	w := testenv.New(t, lab.Habits{OpenID: true})
	w.Lab.SetAccount("ana@lab.test")
	gate := w.Lab.Hold("userinfo:received")
	c := w.Session()
	c.Scopes = []string{"openid"}
	c.AuthTransport = changing{grant: "authorization_code", change: func(resp *http.Response) (*http.Response, error) {
		return replaceMember(resp, "id_token", "null")
	}}
	done := make(chan error, 1)
	go func() { done <- w.Login(c) }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := gate.Wait(ctx); err != nil {
		t.Fatalf("the login has not requested the account: %v", err)
	}
	if rec := w.Record(); rec.Grant == nil || rec.Grant.RefreshToken == "" || rec.Account != "" {
		t.Errorf("stored while the account is requested: %+v", rec.Grant)
	}
	gate.Release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if rec := w.Record(); rec.Account != "ana@lab.test" {
		t.Errorf("account %q", rec.Account)
	}
}

// A logout while the account is requested stands, and the login that it came upon ends as one that
// has succeeded.
func TestLogoutWhileTheAccountIsRequested(t *testing.T) {
	for name, signIn := range map[string]func(w *testenv.Env, c *handstamp.Client) error{
		"a login": (*testenv.Env).Login,
		"a login in steps": func(w *testenv.Env, c *handstamp.Client) error {
			c.RedirectURI = stepRedirect
			step, err := c.BeginLogin(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
			if err != nil {
				return err
			}
			response, err := lab.Consent(t.Context(), step.Request.URL)
			if err != nil {
				return err
			}
			_, err = c.CompleteLogin(t.Context(), step.Suspended, response)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{OpenID: true})
			gate := w.Lab.Hold("userinfo:received")
			c := w.Session()
			c.Scopes, c.LoginPolicy = []string{"openid"}, handstamp.LoginNever
			c.AuthTransport = changing{grant: "authorization_code", change: func(resp *http.Response) (*http.Response, error) {
				return replaceMember(resp, "id_token", "null")
			}}
			var outcomes []string
			c.Hooks.LoggedIn = func(e handstamp.LoginEvent) { outcomes = append(outcomes, e.Outcome) }
			done := make(chan error, 1)
			go func() { done <- signIn(w, c) }()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := gate.Wait(ctx); err != nil {
				t.Fatalf("the login has not requested the account: %v", err)
			}
			o := handstamp.LogoutOptions{NoRevoke: true, KeepClient: true}
			if _, err := w.Session().Logout(ctx, w.Lab.MCPURL(), o); err != nil {
				t.Fatal(err)
			}
			gate.Release()
			if err := <-done; err != nil || len(outcomes) != 1 || outcomes[0] != handstamp.OutcomeSignedIn {
				t.Errorf("the login ended with %v, %q", err, outcomes)
			}
			if rec := w.Record(); rec.Grant != nil {
				t.Error("the logout was undone")
			}
			testenv.WantKind(t, w.Call(c), handstamp.ErrLoginRequired) // not with the token that was logged out
		})
	}
}

// An imported login has the account of its own id token, or none, and not that of the login before.
func TestAccountOfAnImportedLogin(t *testing.T) {
	for name, account := range map[string]string{"with an id token": "ben@lab.test", "without one": ""} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{OpenID: true})
			session := func() *handstamp.Client {
				c := w.Session()
				c.Scopes = []string{"openid"}
				return c
			}
			w.Lab.SetAccount("ana@lab.test")
			w.MustLogin(session())
			ana := w.Record()
			ana.ACRValues, ana.MaxAge = "gold", "300"
			w.Lab.SetAccount("ben@lab.test")
			w.MustLogin(session())
			ben := w.Record()
			ana.Revision = ben.Revision
			w.Put(ana)
			l := handstamp.ImportedLogin{
				Registration:  handstamp.Registration{Issuer: ben.Grant.Issuer, Response: ben.GrantClient().Response},
				TokenResponse: tokenResponse(ben.Grant.AccessToken.Reveal(), ben.Grant.RefreshToken.Reveal()),
				ReceivedAt:    time.Now().Add(-time.Minute), // so that a rejection is believed at once
			}
			if account != "" {
				l.TokenResponse = secret.String(strings.Replace(l.TokenResponse.Reveal(), "{", `{"id_token":"`+ben.Grant.IDToken.Reveal()+`",`, 1))
			}
			if got := mustImport(w, l, handstamp.ImportOptions{Force: true}).Status.Account; got != account {
				t.Errorf("account %q, want %q", got, account)
			}
			w.Lab.RevokeFamilies()
			w.Lab.Reset()
			w.MustCall(session())
			for _, r := range w.Lab.Requests() {
				if got := r.Params.Get("login_hint"); r.Endpoint == "authorize" && (got != account || r.Params.Has("acr_values") || r.Params.Has("max_age")) {
					t.Errorf("the next login sends %v", r.Params)
				}
			}
		})
	}
}
