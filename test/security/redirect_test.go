package security_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// eachRedirect runs test for every status and every way to name the other place.
func eachRedirect(t *testing.T, h lab.Habits, test func(t *testing.T, w *testenv.Env, e *testenv.Attacker, away lab.Fault)) {
	for _, status := range testenv.Redirects {
		for _, to := range []string{"EVIL/x", "//BAD/x", "http://localhost:PORT/x"} {
			t.Run(fmt.Sprint(status, " ", to), func(t *testing.T) {
				t.Parallel()
				w := testenv.New(t, h)
				e := testenv.NewAttacker(t, w.Lab)
				_, port, _ := strings.Cut(e.Host(), ":")
				to := strings.ReplaceAll(fill(w, e, to).(string), "PORT", port)
				test(t, w, e, lab.Fault{Kind: lab.FaultRedirect, Status: status, Location: to})
				e.WantSilence()
			})
		}
	}
}

// A redirect to another origin is not followed: no document, registration or token is
// taken from there, and nothing sent there.
func TestRedirectedLogin(t *testing.T) {
	for _, endpoint := range []string{"resource_metadata", "server_metadata", "register", "token"} {
		t.Run(endpoint, func(t *testing.T) {
			eachRedirect(t, lab.NoneFirst(), func(t *testing.T, w *testenv.Env, e *testenv.Attacker, away lab.Fault) {
				w.Lab.SetFault(endpoint, away)
				c, _ := w.Recorded()
				if err := w.Login(c); err == nil {
					t.Error("the login worked")
				}
				status, err := c.Status(t.Context(), w.Lab.MCPURL())
				if err != nil || status.State != handstamp.StateNone || strings.Contains(status.ClientID, "evil") {
					t.Errorf("status %+v, %v after a redirect", status, err)
				}
			})
		})
	}
}

// A redirect says nothing about a login: it is kept, and not followed.
func TestRedirectedRefresh(t *testing.T) {
	eachRedirect(t, lab.NoneFirst(), func(t *testing.T, w *testenv.Env, e *testenv.Attacker, away lab.Fault) {
		c, _ := w.Recorded()
		w.MustLogin(c)
		w.Expire()
		before := w.Record()
		away.RetryAfter = "60" // or the test would have to wait for more tries
		w.Lab.SetFault("token", away)
		c, _ = w.Recorded()
		testenv.WantKind(t, w.Call(c), handstamp.ErrUnreachable)
		after := w.Record()
		if after.Grant.RefreshToken != before.Grant.RefreshToken || after.Grant.AccessToken != before.Grant.AccessToken {
			t.Error("the credential was not kept as it was")
		}
		w.WantTabs(1)
	})
}

func TestRedirectedLogout(t *testing.T) {
	eachRedirect(t, lab.Habits{ManageClients: true}, func(t *testing.T, w *testenv.Env, e *testenv.Attacker, away lab.Fault) {
		c, _ := w.Recorded()
		w.MustLogin(c)
		w.Lab.SetFault("revoke", away)
		w.Lab.SetFault("registration", away)
		result, err := c.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{DeleteClient: true})
		if err != nil {
			t.Fatal(err)
		}
		if result.Revoked || result.RevokeError == nil || result.ClientDeleted || result.DeleteClientError == nil {
			t.Errorf("a redirect was taken for success: %+v", result)
		}
	})
}

// The refresh token goes where the login got it, whatever the metadata has come
// to say since: each of its members, and each that it could have, is replaced
// after the login.
func TestMetadataChangedAfterLogin(t *testing.T) {
	members := []string{
		"issuer", "authorization_endpoint", "token_endpoint", "registration_endpoint", "revocation_endpoint", "introspection_endpoint",
		"response_types_supported", "grant_types_supported", "token_endpoint_auth_methods_supported", "code_challenge_methods_supported",
		"authorization_response_iss_parameter_supported", "mtls_endpoint_aliases", "resource", "authorization_servers", "scopes_supported",
	}
	for _, member := range members {
		t.Run(member, func(t *testing.T) {
			w := testenv.New(t, lab.NoneFirst())
			e := testenv.NewAttacker(t, w.Lab)
			c, _ := w.Recorded()
			w.MustLogin(c)

			c, line := w.Recorded()
			change := func(document map[string]any) {
				switch document[member].(type) {
				case []any:
					document[member] = []string{e.URL}
				case bool:
					document[member] = false
				default:
					document[member] = e.URL
				}
				if member == "mtls_endpoint_aliases" {
					document[member] = map[string]string{"token_endpoint": e.URL, "revocation_endpoint": e.URL}
				}
			}
			line.OnJSON(testenv.AtServer, change)
			line.OnJSON(testenv.AtResource, change)
			w.Expire()
			w.MustCall(c)
			w.Lab.RevokeAccessTokens()
			w.MustCall(c)
			result, err := c.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{})
			if err != nil || !result.Revoked {
				t.Errorf("logout: %+v, %v", result, err)
			}
			e.WantSilence()
			w.WantTabs(1)
			for _, r := range line.Requests(0) {
				place := "http://" + r.Host + r.Path
				for _, secret := range w.Lab.Secrets() {
					if !proctest.Contains(r.Raw, secret) {
						continue
					}
					switch place {
					case w.Lab.MCPURL(), w.Lab.URL() + testenv.AtToken, w.Lab.URL() + testenv.AtRevoke:
					default:
						t.Errorf("a secret was sent to %s", place)
					}
				}
			}
		})
	}
}

// Nothing that belongs to one authorization server is sent to another one: not
// when the server moves there, and not when it moves back.
func TestServerMovesToAnotherIssuer(t *testing.T) {
	t.Parallel()
	w := testenv.New(t, lab.NoneFirst())
	habits := lab.NoneFirst()
	habits.ResourceName = w.Lab.MCPURL()
	other, err := lab.Start(habits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	testenv.Processes.Watch(t, other)
	c, line := w.Recorded()
	moves := 3
	if testing.Short() {
		moves = 1 // each waits the three seconds that a fresh token is given
	}
	for move := range moves {
		w.MustCall(c)
		if move%2 == 0 {
			w.Lab.MoveTo(other)
		} else {
			w.Lab.MoveTo(nil)
		}
	}
	w.MustCall(c)
	w.WantTabs(int32(1 + moves))

	owners := map[string]*lab.Server{
		strings.TrimPrefix(w.Lab.URL(), "http://"): w.Lab,
		strings.TrimPrefix(other.URL(), "http://"): other,
	}
	found := 0
	for _, r := range line.Requests(0) {
		for host, owner := range owners {
			for _, secret := range owner.Secrets() {
				switch {
				case !proctest.Contains(r.Raw, secret):
				case r.Host == host:
					found++
				case owners[r.Host] != nil:
					t.Errorf("a secret of %s was sent to %s%s", host, r.Host, r.Path)
				}
			}
		}
	}
	if found == 0 {
		t.Error("no secret was found where it belongs: the search does not work")
	}
}

// A configured client belongs to one issuer, if it says so.
func TestConfiguredClientStaysWithItsIssuer(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	other, err := lab.Start(lab.Habits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	testenv.Processes.Watch(t, other)
	w.Lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "a-secret-of-the-application", Method: lab.MethodPost})
	w.Lab.MoveTo(other)
	c, line := w.Recorded()
	c.Registration = &handstamp.Registration{Issuer: w.Lab.Issuer(), ClientID: "app", ClientSecret: "a-secret-of-the-application"}
	testenv.WantKind(t, w.Login(c), handstamp.ErrInvalidConfig)
	w.WantTabs(0)
	for _, r := range line.Requests(0) {
		if proctest.Contains(r.Raw, "a-secret-of-the-application") {
			t.Errorf("the secret was sent to %s%s", r.Host, r.Path)
		}
	}
}

// A redirect of the MCP server is followed on its own origin, token and all, and nowhere else.
func TestRedirectedRequest(t *testing.T) {
	for _, status := range testenv.Redirects {
		for name, test := range map[string]struct {
			location string
			followed bool
		}{
			"same place":           {"MCP", true},
			"below":                {"MCP/moved", true},
			"same host, elsewhere": {"http://HOST/elsewhere", true},
			"path that begins so":  {"MCP-other", true},
			"other port":           {"EVIL/mcp", false},
			"other host":           {"http://localhost:PORT/mcp", false},
			"other name":           {"//BAD/mcp", false},
		} {
			t.Run(fmt.Sprint(status, " ", name), func(t *testing.T) {
				t.Parallel()
				w := testenv.New(t, lab.Habits{})
				e := testenv.NewAttacker(t, w.Lab)
				_, port, _ := strings.Cut(e.Host(), ":")
				c, line := w.Recorded()
				w.MustLogin(c)
				location := strings.ReplaceAll(fill(w, e, test.location).(string), "PORT", port)
				w.Lab.SetFault("mcp", lab.Fault{Kind: lab.FaultRedirect, Status: status, Location: location, Times: 1})
				from := len(line.Requests(0))
				req, err := http.NewRequest(http.MethodPost, w.Lab.MCPURL(), strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", "application/json")
				resp, err := c.HTTPClient(w.Lab.MCPURL()).Do(req)
				if err == nil {
					resp.Body.Close()
				}
				if (err == nil) != test.followed {
					t.Errorf("error %v, want the redirect followed: %t", err, test.followed)
				}
				token := w.Record().Grant.AccessToken.Reveal()
				sent := line.Requests(from)
				if len(sent) == 1 == test.followed {
					t.Fatalf("sent %v", sent)
				}
				for _, r := range sent {
					if !proctest.Contains(r.Raw, token) {
						t.Errorf("no token was sent to %s%s", r.Host, r.Path)
					}
				}
				e.WantSilence()
			})
		}
	}
}
