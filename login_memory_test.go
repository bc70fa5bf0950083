package handstamp_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// watching returns a session and the authorization requests that its browser was
// opened with.
func (w *world) watching() (*handstamp.Client, *[]url.Values) {
	c, opened := w.session(), new([]url.Values)
	c.Prompt.OpenURL = func(ctx context.Context, rawURL string) error {
		u, err := url.Parse(rawURL)
		if err != nil {
			return err
		}
		*opened = append(*opened, u.Query())
		return w.openURL(ctx, rawURL)
	}
	return c, opened
}

// A secret that has ended is not tried: the client is registered anew before the
// browser opens.
func TestExpiredSecretIsNotUsed(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	rec := w.record()
	rec.Clients[0].SecretExpiresAt = time.Now().Add(-time.Minute)
	w.put(rec)
	w.lab.RevokeFamilies()
	w.lab.Reset()
	c, opened := w.watching()
	w.mustCall(c)
	w.wantCounts(map[string]int{"register": 1, "token:code": 1})
	if len(*opened) != 1 || (*opened)[0].Get("client_id") == rec.Clients[0].ID {
		t.Errorf("opened %v", *opened)
	}
}

// endSecret makes the secret of the stored login end, and the access token.
func (w *world) endSecret() *store.Client {
	w.t.Helper()
	rec := w.record()
	rec.Grant.ObtainedAt = time.Now().Add(-time.Hour)
	rec.Grant.ExpiresAt = time.Now().Add(-time.Second)
	rec.Clients[0].SecretExpiresAt = time.Now().Add(-time.Minute)
	w.put(rec)
	w.lab.Reset()
	return rec.Clients[0]
}

// Nor does a renewal try it: who may not open a browser is told what has happened,
// and everybody else signs in as a new client.
func TestExpiredSecretIsNotRefreshedWith(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	old := w.endSecret()
	c := w.session()
	c.LoginPolicy = handstamp.LoginNever
	err := w.call(c)
	wantKind(t, err, handstamp.ErrLoginRequired)
	if want := "secret of its client ended at " + old.SecretExpiresAt.Format(time.RFC3339); !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	if st, err := c.Status(t.Context(), w.lab.MCPURL()); err != nil || st.State != handstamp.StateExpired || st.Renewable {
		t.Errorf("status %+v, %v", st, err)
	}
	w.mustCall(w.session())
	w.wantCounts(map[string]int{"token:refresh": 0, "register": 1, "token:code": 1})
	w.wantTabs(2)
	if now := w.record().GrantClient(); now == nil || now.ID == old.ID {
		t.Errorf("signed in as %+v", now)
	}
}

// A good access token is used up before anybody is asked.
func TestExpiredSecretLeavesTheToken(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	w.endSecret()
	rec := w.record()
	rec.Grant.ExpiresAt = time.Now().Add(10 * time.Second) // renewed ahead of time, if it could be
	w.put(rec)
	w.mustCall(w.session())
	w.wantCounts(map[string]int{"token:refresh": 0, "register": 0})
	w.wantTabs(1)
}

// A server that says of its secrets that they have ended, and takes them, costs
// nobody a login.
func TestSecretThatWorksPastItsEnd(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	w.endSecret()
	rec := w.record()
	rec.Grant.ObtainedAt = rec.Clients[0].SecretExpiresAt.Add(time.Second)
	w.put(rec)
	w.mustCall(w.session())
	w.wantCounts(map[string]int{"token:refresh": 1, "register": 0})
	w.wantTabs(1)
}

// A public client has no use for its secret, nor for the secret's end.
func TestPublicClientOutlivesItsSecret(t *testing.T) {
	w := newWorld(t, lab.Habits{RegisterMethod: lab.MethodNone})
	w.mustCall(w.session())
	w.endSecret()
	rec := w.record()
	rec.Clients[0].Secret = "never asked for"
	w.put(rec)
	w.mustCall(w.session())
	w.wantCounts(map[string]int{"token:refresh": 1, "register": 0})
}

// An application that keeps the registration gets another one in time, and goes on
// with it although it still gives back the old one.
func TestKeptRegistrationIsRenewed(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	var r *handstamp.Registration
	first := w.session()
	first.OnRegister = keep(&r)
	w.mustCall(first)
	w.endSecret()
	old := *r
	old.SecretExpiresAt = time.Now().Add(-time.Minute)
	c := w.session()
	c.OnRegister, c.Registration = keep(&r), &old
	w.mustCall(c)
	w.wantCounts(map[string]int{"token:refresh": 0, "register": 1, "token:code": 1})
	if r.ClientID == old.ClientID {
		t.Error("the application was not told of a new registration")
	}
	w.lab.Reset()
	if result, err := c.Login(t.Context(), w.lab.MCPURL(), handstamp.LoginOptions{}); err != nil || !result.Already {
		t.Errorf("login once more: %+v, %v", result, err)
	}
	w.lab.RevokeFamilies()
	w.mustCall(c)
	w.wantCounts(map[string]int{"register": 0, "token:code": 1})
}

// A configured secret that has ended is the user's to change, and said before the
// browser opens.
func TestConfiguredSecretEnds(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "s", Method: lab.MethodPost})
	c := w.session()
	c.Registration = &handstamp.Registration{
		ClientID: "app", ClientSecret: "s", TokenEndpointAuthMethod: "client_secret_post", SecretExpiresAt: time.Now().Add(-time.Minute),
	}
	wantKind(t, w.call(c), handstamp.ErrClientRejected)
	w.wantTabs(0)
	d := w.session()
	d.Registration = &handstamp.Registration{
		ClientID: "app", ClientSecret: "s", TokenEndpointAuthMethod: "client_secret_post", SecretExpiresAt: time.Now().Add(time.Minute),
	}
	w.mustCall(d)
	w.wantTabs(1)

	// The end that was stored gives way to that of the secret configured now.
	w.endSecret()
	e := w.session()
	e.Registration = d.Registration
	w.mustCall(e)
	w.wantCounts(map[string]int{"token:refresh": 1, "register": 0})
	w.wantTabs(1)
}

// A client that its server has refused is not refreshed with.
func TestRefusedClientIsNotRefreshedWith(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	w.expire()
	rec := w.record()
	rec.Clients[0].Refused = true
	w.put(rec)
	w.lab.Reset()
	c := w.session()
	c.LoginPolicy = handstamp.LoginNever
	wantKind(t, w.call(c), handstamp.ErrLoginRequired)
	w.wantCounts(map[string]int{"token:refresh": 0})
}

// A step-up asks for all that was asked for before, and not only for what was
// granted of it.
func TestStepUpAsksForTheUnion(t *testing.T) {
	w := newWorld(t, personality(t, "step-up"))
	w.mustCall(w.session())
	rec := w.record()
	rec.Grant.ScopeRequested, rec.Grant.ScopeGranted = "tools reports", "tools"
	tokens := w.lab.Issue(rec.Grant.ClientID, rec.Grant.Resource.Value, "tools")
	rec.Grant.AccessToken, rec.Grant.RefreshToken = store.Secret(tokens.Access), store.Secret(tokens.Refresh)
	w.put(rec)
	c, opened := w.watching()
	w.mustCall(c)
	if len(*opened) != 1 {
		t.Fatalf("%d step-ups", len(*opened))
	}
	scope := strings.Fields((*opened)[0].Get("scope"))
	for _, want := range []string{"tools", "reports", "tools:call"} {
		if !strings.Contains(" "+strings.Join(scope, " ")+" ", " "+want+" ") {
			t.Errorf("asked for %q, without %s", scope, want)
		}
	}
}

// After invalid_scope the next request is for what both documents list, and not
// at once for nothing.
func TestRefusedScopeLeavesTheRest(t *testing.T) {
	w := newWorld(t, personality(t, "offline-forbidden"))
	c, opened := w.watching()
	w.mustCall(c)
	var scopes []string
	for _, request := range *opened {
		scopes = append(scopes, request.Get("scope"))
	}
	if got := strings.Join(scopes, ", "); got != "tools offline_access, tools" {
		t.Errorf("asked for %s", got)
	}
}

// That an authorization server rejects the resource parameter is known in the next
// login.
func TestRefusedResourceIsRemembered(t *testing.T) {
	w := newWorld(t, personality(t, "resource-rejected"))
	w.mustCall(w.session())
	w.lab.RevokeFamilies()
	c, opened := w.watching()
	w.mustCall(c)
	if len(*opened) != 1 || (*opened)[0].Has("resource") {
		t.Errorf("opened %v", *opened)
	}
}

// Where nobody can know the method it is asked for before the person is.
func TestMethodIsAskedForBeforeThePerson(t *testing.T) {
	w := newWorld(t, lab.Habits{Methods: []string{lab.MethodBasic, lab.MethodPost}})
	w.lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "s", Method: lab.MethodPost})
	c := w.session()
	c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: "s"}
	before := -1
	c.Prompt.OpenURL = func(ctx context.Context, rawURL string) error {
		before = w.lab.Counts()["token:code"]
		return w.openURL(ctx, rawURL)
	}
	w.mustCall(c)
	if before != 3 { // basic, basic with the id in the form, post
		t.Errorf("%d token requests before the browser opened, want one for each form", before)
	}
	w.wantCounts(map[string]int{"token:code": 4})
	w.wantTabs(1)
}

// Of several authorization servers that a resource names, the next login is at
// the one that the last was at.
func TestLoginStaysAtItsServer(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	other := newWorld(t, lab.NoneFirst())
	c := w.session()
	c.AuthTransport = roundTrip(func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil || !strings.Contains(req.URL.Path, "oauth-protected-resource") {
			return resp, err
		}
		defer resp.Body.Close()
		var document map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&document); err != nil {
			return nil, err
		}
		document["authorization_servers"] = []string{other.lab.Issuer(), w.lab.Issuer()}
		raw, err := json.Marshal(document)
		resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(string(raw))), int64(len(raw))
		return resp, err
	})
	if _, err := c.Login(t.Context(), w.lab.MCPURL(), handstamp.LoginOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	w.wantTabs(2)
	if asked := len(other.lab.Requests()); asked != 0 {
		t.Errorf("the other server was asked %d times", asked)
	}
}

// While the server is asked to revoke a login nobody renews it any more.
func TestLogoutPutsOutOfUseFirst(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	w.expire()
	gate := w.lab.Hold("revoke:received")
	ended := make(chan error, 1)
	leaving := w.session()
	go func() {
		_, err := leaving.Logout(context.Background(), w.lab.MCPURL(), handstamp.LogoutOptions{})
		ended <- err
	}()
	if _, err := gate.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	if w.record().Grant != nil {
		t.Error("the login is still in use")
	}
	w.lab.Reset()
	c := w.session()
	c.LoginPolicy = handstamp.LoginNever
	wantKind(t, w.call(c), handstamp.ErrLoginRequired)
	w.wantCounts(map[string]int{"token:refresh": 0})
	gate.Release()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
