package handstamp_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

const boundSecret = "a-secret-of-one-issuer"

// newBound returns an MCP server with an authorization server of its own, and the other one that
// its tokens come from and that the client belongs to.
func newBound(t *testing.T, h lab.Habits) (*testenv.Env, *lab.Server) {
	t.Helper()
	w := testenv.New(t, h)
	owner, err := lab.Start(lab.NoneFirst())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(owner.Close)
	testenv.Processes.Watch(t, owner)
	w.Lab.MoveTo(owner)
	for _, s := range []*lab.Server{w.Lab, owner} {
		s.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: boundSecret, Method: lab.MethodPost})
	}
	return w, owner
}

// wantSecretAt checks that the secret was sent to the owner's host, and to no other.
func wantSecretAt(t *testing.T, line *testenv.Recorder, owner *lab.Server, want bool) {
	t.Helper()
	found := false
	for _, r := range line.Requests(0) {
		switch {
		case !proctest.Contains(r.Raw, boundSecret):
		case strings.HasSuffix(owner.URL(), r.Host):
			found = true
		default:
			t.Errorf("the secret was sent to %s%s", r.Host, r.Path)
		}
	}
	if found != want {
		t.Errorf("the secret was sent to its issuer: %t, want %t", found, want)
	}
}

// A client that is configured with its issuer is used there, whatever the server omits.
func TestConfiguredIssuerWhereTheServerNamesNone(t *testing.T) {
	for name, h := range map[string]lab.Habits{
		"no resource metadata, and authorization metadata of its own": {ResourceForm: lab.ResourceNone, OneOrigin: true},
		"no metadata at all":                 {ResourceForm: lab.ResourceNone, OneOrigin: true, ServerForm: lab.ServerNone},
		"resource metadata without a server": {OneOrigin: true},
	} {
		t.Run(name, func(t *testing.T) {
			w, owner := newBound(t, h)
			session := func() (*handstamp.Client, *testenv.Recorder) {
				c, line := w.Recorded()
				c.Registration = &handstamp.Registration{Issuer: owner.Issuer(), ClientID: "app", ClientSecret: boundSecret}
				line.OnJSON(testenv.AtResource, func(document map[string]any) { delete(document, "authorization_servers") })
				return c, line
			}
			c, line := session()
			w.MustLogin(c)
			wantSecretAt(t, line, owner, true)
			owner.RevokeAccessTokens()
			c, line = session()
			w.MustCall(c)
			wantSecretAt(t, line, owner, true)
			c, line = session()
			if result, err := c.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{}); err != nil || !result.Revoked {
				t.Errorf("logout: %+v, %v", result, err)
			}
			wantSecretAt(t, line, owner, true)

			// A login from elsewhere that was made with that client is bound to its issuer too.
			c, line = session()
			imported, err := c.Import(t.Context(), w.Lab.MCPURL(), handstamp.ImportedLogin{TokenResponse: tokenResponse("", "a-refresh-token")}, handstamp.ImportOptions{Force: true})
			if err == nil && imported.Status.Issuer != owner.Issuer() {
				t.Errorf("imported for %s", imported.Status.Issuer)
			}
			wantSecretAt(t, line, owner, false)
		})
	}
}

// A server that names another issuer gets nothing, and no advice to give it something.
func TestConfiguredIssuerWhereTheServerNamesAnother(t *testing.T) {
	w, owner := newBound(t, lab.Habits{OneOrigin: true})
	w.Lab.MoveTo(nil)
	c, line := w.Recorded()
	c.Registration = &handstamp.Registration{Issuer: owner.Issuer(), ClientID: "app", ClientSecret: boundSecret}
	err := w.Login(c)
	testenv.WantKind(t, err, handstamp.ErrInvalidConfig)
	var e *handstamp.Error
	if !errors.As(err, &e) || e.Setting != "" || !strings.Contains(e.Hint, "registered there") {
		t.Errorf("the error does not say what helps: %v", err)
	}
	if _, err := c.Import(t.Context(), w.Lab.MCPURL(), handstamp.ImportedLogin{
		Registration:  handstamp.Registration{Issuer: w.Lab.Issuer()},
		TokenResponse: tokenResponse("access", "refresh"),
	}, handstamp.ImportOptions{Offline: true}); !errors.Is(err, handstamp.ErrInvalidConfig) {
		t.Errorf("a login of another issuer was taken with the client: %v", err)
	}
	wantSecretAt(t, line, owner, false)
	w.WantTabs(0)

	// Neither does a client without an issuer follow its server to another one.
	c, line = w.Recorded()
	c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: boundSecret, TokenEndpointAuthMethod: lab.MethodPost}
	w.MustLogin(c)
	wantSecretAt(t, line, w.Lab, true)
	w.Lab.MoveTo(owner)
	c, line = w.Recorded()
	c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: boundSecret, TokenEndpointAuthMethod: lab.MethodPost}
	err = w.Login(c)
	testenv.WantKind(t, err, handstamp.ErrProtocol)
	if !errors.As(err, &e) || strings.Contains(e.Hint, "configure the issuer") {
		t.Errorf("the hint leads around the check: %v", err)
	}
	wantSecretAt(t, line, w.Lab, false)
}

// A server of MCP 2025-03-26 is its own issuer, with metadata or without.
func TestConfiguredIssuerThatIsTheServerItself(t *testing.T) {
	for name, h := range map[string]lab.Habits{
		"metadata": {ResourceForm: lab.ResourceNone, OneOrigin: true},
		"none":     {ResourceForm: lab.ResourceNone, OneOrigin: true, ServerForm: lab.ServerNone, Iss: lab.IssOff},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, h)
			w.Lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: boundSecret, Method: lab.MethodPost})
			c, line := w.Recorded()
			c.Registration = &handstamp.Registration{
				Issuer: w.Lab.URL(), ClientID: "app", ClientSecret: boundSecret, TokenEndpointAuthMethod: lab.MethodPost,
			}
			w.MustLogin(c)
			wantSecretAt(t, line, w.Lab, true)
		})
	}
}

// The secret of a configured client does not follow a server that names another
// authorization server.
func TestConfiguredSecretStaysWithItsIssuer(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	key, _ := store.NewKey(w.Lab.MCPURL(), "")
	rec := &record.Record{Version: 1, Key: key, ServerURL: w.Lab.MCPURL()}
	rec.AddClient(&record.Client{Issuer: "https://home.example", ID: "mine", Secret: "s3cret", Source: record.SourceConfigured, Method: "client_secret_post", MethodSource: record.MethodConfigured})
	if err := record.Put(t.Context(), w.Store, rec); err != nil {
		t.Fatal(err)
	}
	c := w.Session()
	c.Registration = &handstamp.Registration{ClientID: "mine", ClientSecret: "s3cret"}
	if err := w.Call(c); !errors.Is(err, handstamp.ErrProtocol) {
		t.Errorf("error %v", err)
	}
	if n := w.Lab.Counts()["token:code"] + w.Lab.Counts()["token"]; n != 0 || w.Tabs.Load() != 0 {
		t.Errorf("%d token requests, %d tabs", n, w.Tabs.Load())
	}
}
