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
	w := newWorld(t, personality(t, "resource-refused"))
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
	if before != 2 {
		t.Errorf("%d questions before the browser opened, want one for each method", before)
	}
	w.wantCounts(map[string]int{"token:code": 3})
	w.wantTabs(1)
}

// Of several authorization servers that a resource names, the next login is at
// the one that the last was at.
func TestLoginStaysAtItsServer(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	other := newWorld(t, lab.NoneFirst())
	c := w.session()
	c.AuthHTTP = roundTrip(func(req *http.Request) (*http.Response, error) {
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
