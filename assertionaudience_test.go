package handstamp_test

import (
	"context"
	"net/http"
	"slices"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// honestEndpoint is the token endpoint of another authorization server.
const honestEndpoint = "https://honest.example/token"

// wantAudiences checks the audiences of the assertions that an endpoint has received.
func wantAudiences(t *testing.T, w *testenv.Env, endpoint string, want ...string) {
	t.Helper()
	var got []string
	for _, r := range w.Lab.Requests() {
		if r.Endpoint == endpoint && r.Assertion != nil {
			got = append(got, r.Assertion.Audience...)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s received assertions for %q, want %q\n%s", endpoint, got, want, w.Diary())
	}
}

// An authorization server whose metadata has the token endpoint of another one, and that rejects the
// client until it gets an assertion for that endpoint, gets none.
func TestAssertionForAnotherServerIsNotSent(t *testing.T) {
	key := generateKey(t, "ES256")
	for endpoint, grant := range map[string]handstamp.Grant{
		"par": nil, "device_authorization": handstamp.DeviceCode{},
	} {
		t.Run(endpoint, func(t *testing.T) {
			testenv.InBubble(t, lab.Habits{
				Methods: []string{lab.MethodPrivateKeyJWT}, NoRegistration: true, PAR: lab.PARRequired,
				Grants: []string{lab.GrantDeviceCode}, Endpoints: map[string]string{"token_endpoint": honestEndpoint},
			}, func(t *testing.T, w *testenv.Env) {
				w.Lab.RegisterClient(lab.ConfiguredClient{ID: "keyed", JWKS: string(key.JWKS())})
				w.Lab.SetFault(endpoint, lab.Fault{Kind: lab.FaultStatus, Status: http.StatusUnauthorized,
					ContentType: "application/json", Body: `{"error":"invalid_client"}`})
				c := w.Session()
				c.Registration, c.Key = &handstamp.Registration{ClientID: "keyed"}, key
				c.Grant = grant
				c.Prompt.ShowCode = func(context.Context, handstamp.DeviceAuthorization) {}
				testenv.WantKind(t, w.Login(c), handstamp.ErrClientRejected)
				wantAudiences(t, w, endpoint, w.Lab.Issuer(), w.Lab.URL()+"/"+endpoint)
			})
		})
	}
}

// At a server that takes assertions for its token endpoint only, they are for that at each endpoint of
// its origin. At one of another origin, an assertion is for the endpoint that it is sent to.
func TestAssertionForTheTokenEndpoint(t *testing.T) {
	key := generateKey(t, "ES256")
	testenv.InBubble(t, lab.Habits{
		Methods: []string{lab.MethodPrivateKeyJWT}, NoRegistration: true, PAR: lab.PARRequired,
		Assertions: lab.Assertions{Audience: lab.AudienceEndpoint},
	}, func(t *testing.T, w *testenv.Env) {
		w.Lab.RegisterClient(lab.ConfiguredClient{ID: "keyed", JWKS: string(key.JWKS())})
		session := func() *handstamp.Client {
			c := w.Session()
			c.Registration, c.Key = &handstamp.Registration{ClientID: "keyed"}, key
			return c
		}
		token := w.Lab.URL() + "/token"
		w.MustLogin(session())
		wantAudiences(t, w, "par", w.Lab.Issuer(), token)
		wantAudiences(t, w, "token:code", token)
		result, err := session().Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{})
		if err != nil || !result.Revoked {
			t.Errorf("logout: %+v, %v", result, err)
		}
		wantAudiences(t, w, "revoke", token)

		w.MustLogin(session())
		rec := w.Record()
		rec.Grant.TokenEndpoint = honestEndpoint
		w.Put(rec)
		w.Lab.Reset()
		if _, err := session().Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{}); err != nil {
			t.Error(err)
		}
		wantAudiences(t, w, "revoke", w.Lab.URL()+"/revoke")
	})
}
