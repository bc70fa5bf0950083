package handstamp_test

import (
	"errors"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// The response carries no refresh token, scope or id token: the old ones stay.
func TestResponseWithoutRefreshToken(t *testing.T) {
	w := testenv.New(t, lab.Habits{Rotation: lab.RotateNone})
	w.MustCall(w.Session())
	for range 3 {
		before := w.Record()
		w.Expire()
		w.MustCall(w.Session())
		if after := w.Record(); after.Grant.RefreshToken != before.Grant.RefreshToken || after.Grant.ScopeGranted != before.Grant.ScopeGranted {
			t.Fatal("the refresh token or scope was lost")
		}
	}
	w.WantTabs(1)
}

// A client that is rejected when the token is refreshed ahead of time: the token goes on
// being used, and the next request to the server waits.
func TestClientRejectedAheadOfTime(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.Lab.RegisterClient(lab.ConfiguredClient{ID: "mine", Secret: "s", Method: lab.MethodPost, RedirectURIs: []string{"http://127.0.0.1/callback"}})
	session := func() *handstamp.Client {
		c := w.Session()
		c.Registration = &handstamp.Registration{ClientID: "mine", ClientSecret: "s", TokenEndpointAuthMethod: lab.MethodPost}
		c.LoginPolicy = handstamp.LoginAuto
		return c
	}
	w.MustCall(session())
	rec := w.Record()
	rec.Grant.ExpiresAt = time.Now().Add(5 * time.Second)
	rec.Grant.ObtainedAt = time.Now().Add(-time.Hour)
	w.Put(rec)
	w.Lab.ForgetClients()
	c := session()
	for range 3 {
		if err := w.Call(c); err != nil {
			t.Errorf("call with a token that is valid: %v", err)
		}
	}
	if n := w.Lab.Counts()["token:refresh"]; n > 1 {
		t.Errorf("%d refreshes", n)
	}
}

// A server that uses the refresh token on a failed authentication: the method that
// was right all the same is known to the login that follows.
func TestMethodLearnedFromRejectedGrant(t *testing.T) {
	w := testenv.New(t, lab.Habits{Methods: []string{"client_secret_basic", "client_secret_post"}, EnforceMethod: lab.MethodPost, RegisterMethod: "client_secret_basic", RefreshUsedOnBadClient: true, CodeUsedOnBadClient: true, RegisterSilent: true})
	w.MustCall(w.Session())
	rec := w.Record()
	rec.Clients[0].Method, rec.Clients[0].MethodSource = "client_secret_basic", record.MethodRequested
	w.Put(rec)
	w.Expire()
	before := w.Tabs.Load()
	w.MustCall(w.Session())
	if n := w.Tabs.Load() - before; n != 1 {
		t.Errorf("%d tabs, want 1\n%s", n, w.Diary())
	}
}

// A token that is no bearer token is not sent as one, in the next call either.
func TestTokenOfAnotherType(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	w.Expire()
	w.Lab.SetFault("token", lab.Fault{Kind: lab.FaultStatus, Status: 200, ContentType: "application/json", Body: `{"access_token":"a","token_type":"DPoP","expires_in":3600}`})
	c := w.Session()
	c.LoginPolicy = handstamp.LoginNever
	for i := range 2 {
		if _, err := c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{}); !errors.Is(err, handstamp.ErrProtocol) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}
