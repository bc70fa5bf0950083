package handstamp_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/lab"
)

// redirects are the statuses by which a server sends a client elsewhere: with
// the same method and body (307, 308) or as a GET.
var redirects = []int{
	http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect,
}

// eachRedirect runs test for every status and every way to name the other place.
func eachRedirect(t *testing.T, h lab.Habits, test func(t *testing.T, w *world, e *evil, away lab.Fault)) {
	for _, status := range redirects {
		for _, to := range []string{"EVIL/x", "//BAD/x", "http://localhost:PORT/x"} {
			t.Run(fmt.Sprint(status, " ", to), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, h)
				e := newEvil(t, w.lab)
				_, port, _ := strings.Cut(e.host(), ":")
				to := strings.ReplaceAll(fill(w, e, to).(string), "PORT", port)
				test(t, w, e, lab.Fault{Kind: lab.FaultRedirect, Status: status, Location: to})
				e.wantSilence()
			})
		}
	}
}

// What an endpoint says of another place is not what that place says: no
// document, registration or token is taken from there, and nothing sent there.
func TestRedirectedLogin(t *testing.T) {
	for _, endpoint := range []string{"resource_metadata", "server_metadata", "register", "token"} {
		t.Run(endpoint, func(t *testing.T) {
			eachRedirect(t, lab.NoneFirst(), func(t *testing.T, w *world, e *evil, away lab.Fault) {
				w.lab.SetFault(endpoint, away)
				c, _ := w.wired()
				if err := w.login(c); err == nil {
					t.Error("the login worked")
				}
				status, err := c.Status(t.Context(), w.lab.MCPURL())
				if err != nil || status.State != handstamp.StateNone || strings.Contains(status.ClientID, "evil") {
					t.Errorf("status %+v, %v after a redirect", status, err)
				}
			})
		})
	}
}

// A redirect says nothing about a login: it is kept, and not followed.
func TestRedirectedRefresh(t *testing.T) {
	eachRedirect(t, lab.NoneFirst(), func(t *testing.T, w *world, e *evil, away lab.Fault) {
		c, _ := w.wired()
		w.mustLogin(c)
		w.expire()
		before := w.record()
		away.RetryAfter = "60" // or the test would have to wait for more tries
		w.lab.SetFault("token", away)
		c, _ = w.wired()
		wantKind(t, w.call(c), handstamp.ErrUnreachable)
		after := w.record()
		if after.Grant.RefreshToken != before.Grant.RefreshToken || after.Grant.AccessToken != before.Grant.AccessToken {
			t.Error("the credential was not kept as it was")
		}
		w.wantTabs(1)
	})
}

func TestRedirectedLogout(t *testing.T) {
	eachRedirect(t, lab.Habits{ManageClients: true}, func(t *testing.T, w *world, e *evil, away lab.Fault) {
		c, _ := w.wired()
		w.mustLogin(c)
		w.lab.SetFault("revoke", away)
		w.lab.SetFault("registration", away)
		result, err := c.Logout(t.Context(), w.lab.MCPURL(), handstamp.LogoutOptions{DeleteClient: true})
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
			w := newWorld(t, lab.NoneFirst())
			e := newEvil(t, w.lab)
			c, _ := w.wired()
			w.mustLogin(c)

			c, line := w.wired()
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
			line.onJSON(atServer, change)
			line.onJSON(atResource, change)
			w.expire()
			w.mustCall(c)
			w.lab.RevokeAccessTokens()
			w.mustCall(c)
			result, err := c.Logout(t.Context(), w.lab.MCPURL(), handstamp.LogoutOptions{})
			if err != nil || !result.Revoked {
				t.Errorf("logout: %+v, %v", result, err)
			}
			e.wantSilence()
			w.wantTabs(1)
			for _, r := range line.requests(0) {
				place := "http://" + r.host + r.path
				for _, secret := range w.lab.Secrets() {
					if !proctest.Contains(r.raw, secret) {
						continue
					}
					switch place {
					case w.lab.MCPURL(), w.lab.URL() + atToken, w.lab.URL() + atRevoke:
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
	w := newWorld(t, lab.NoneFirst())
	habits := lab.NoneFirst()
	habits.ResourceName = w.lab.MCPURL()
	other, err := lab.Start(habits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	processes.Watch(t, other)
	c, line := w.wired()
	for move := range 3 {
		w.mustCall(c)
		if move%2 == 0 {
			w.lab.MoveTo(other)
		} else {
			w.lab.MoveTo(nil)
		}
	}
	w.mustCall(c)
	w.wantTabs(4)

	owners := map[string]*lab.Server{
		strings.TrimPrefix(w.lab.URL(), "http://"): w.lab,
		strings.TrimPrefix(other.URL(), "http://"): other,
	}
	found := 0
	for _, r := range line.requests(0) {
		for host, owner := range owners {
			for _, secret := range owner.Secrets() {
				switch {
				case !proctest.Contains(r.raw, secret):
				case r.host == host:
					found++
				case owners[r.host] != nil:
					t.Errorf("a secret of %s was sent to %s%s", host, r.host, r.path)
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
	w := newWorld(t, lab.Habits{})
	other, err := lab.Start(lab.Habits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	processes.Watch(t, other)
	w.lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "a-secret-of-the-application", Method: lab.MethodPost})
	w.lab.MoveTo(other)
	c, line := w.wired()
	c.Registration = &handstamp.Registration{Issuer: w.lab.Issuer(), ClientID: "app", ClientSecret: "a-secret-of-the-application"}
	wantKind(t, w.login(c), handstamp.ErrInvalidConfig)
	w.wantTabs(0)
	for _, r := range line.requests(0) {
		if proctest.Contains(r.raw, "a-secret-of-the-application") {
			t.Errorf("the secret was sent to %s%s", r.host, r.path)
		}
	}
}
