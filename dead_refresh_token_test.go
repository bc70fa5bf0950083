package handstamp_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
)

// rejectionOf is a response of the token endpoint.
func rejectionOf(status int, body string) lab.Fault {
	return lab.Fault{Kind: lab.FaultStatus, Status: status, ContentType: "application/json", Body: body}
}

// TestDeadRefreshTokenInOtherWords: however a server says that the refresh token
// is dead, the first session that needs it learns so, and one login helps.
func TestDeadRefreshTokenInOtherWords(t *testing.T) {
	for _, fault := range []lab.Fault{
		rejectionOf(400, `{"error":"invalid_request","error_description":"refresh_token is invalid"}`),
		rejectionOf(400, `{"error":"invalid_request","error_description":"session not found"}`),
		rejectionOf(400, `{"status":"BAD_REFRESH_TOKEN"}`),
		rejectionOf(401, `{"error":"Unauthorized","message":"Invalid refresh token"}`),
		rejectionOf(400, `{"detail":{"error":"invalid_grant"}}`),
		rejectionOf(400, `{"error":{"code":"invalid_grant","message":"no"}}`),
		rejectionOf(400, `{"error":"INVALID_GRANT"}`),
		rejectionOf(403, `{"error":"access_denied"}`),
		rejectionOf(400, `{"error":"expired_token"}`),
		rejectionOf(400, `{"error":"not_allowed"}`),
		rejectionOf(404, `{"error":"invalid_grant"}`),
		// These name nothing, and are believed when they come again.
		rejectionOf(400, ``),
		rejectionOf(401, ``),
		rejectionOf(401, `{"error":"unauthorized"}`),
		rejectionOf(400, `{"message":"Bad Request"}`),
	} {
		t.Run(fmt.Sprint(fault.Status, " ", fault.Body), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.NoneFirst())
			w.mustCall(w.session())
			w.expire()
			w.lab.SetFault("token:refresh", fault)

			c := w.session()
			c.LoginPolicy = handstamp.LoginNever
			if err := w.call(c); !errors.Is(err, handstamp.ErrLoginRequired) {
				t.Fatalf("error %v, want ErrLoginRequired\n%s", err, w.diary())
			}
			st, err := c.Status(t.Context(), w.lab.MCPURL())
			if err != nil || st.Usable() || st.GrantError == nil {
				t.Errorf("status %+v (%v), want an unusable one with the rejection", st, err)
			}
			w.mustCall(w.session())
			w.wantTabs(2)
		})
	}
}

// TestRejectionWithoutAReasonKeepsAValidToken: as long as the access token works,
// nothing ends on a guess.
func TestRejectionWithoutAReasonKeepsAValidToken(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	r := w.record()
	r.Grant.ObtainedAt, r.Grant.ExpiresAt = time.Now().Add(-time.Hour), time.Now().Add(30*time.Second)
	if err := record.Put(t.Context(), w.store, r); err != nil {
		t.Fatal(err)
	}
	w.lab.SetFault("token:refresh", rejectionOf(401, ``))
	for range 3 {
		w.mustCall(w.session())
	}
	w.wantTabs(1)
	if w.record().Grant.RefreshToken == "" || w.record().GrantError != nil {
		t.Error("the grant was given up")
	}
}

// TestRejectionByAPolicyNeedsThree: a 403, 409 or 422 that gives no reason may be
// a firewall's, so it is believed only when it has come three times, half a
// minute apart; until then nobody asks the user.
func TestRejectionByAPolicyNeedsThree(t *testing.T) {
	for _, status := range []int{403, 409, 422} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.NoneFirst())
			w.mustCall(w.session())
			w.expire()
			w.lab.SetFault("token:refresh", rejectionOf(status, ``))
			for i := range 2 {
				for range 3 { // at once: they count as one
					if err := w.call(w.session()); !errors.Is(err, handstamp.ErrUnreachable) {
						t.Fatalf("rejection %d: error %v, want ErrUnreachable", i+1, err)
					}
				}
				w.wantCounts(map[string]int{"token:refresh": i + 1})
				w.later(31 * time.Second)
			}
			c := w.session()
			c.LoginPolicy = handstamp.LoginNever
			if err := w.call(c); !errors.Is(err, handstamp.ErrLoginRequired) {
				t.Fatalf("the third rejection: error %v, want ErrLoginRequired\n%s", err, w.diary())
			}
			if w.record().Grant.RefreshToken == "" {
				t.Error("the refresh token was thrown away on a guess")
			}
			w.mustCall(w.session())
			w.wantTabs(2)
			if r := w.record(); r.GrantError != nil || r.Rejection != nil {
				t.Error("the new login remembers the old one's rejections")
			}
		})
	}
}

// TestRejectionCountedUnderAnotherClock: a clock that was set back neither floods the
// server nor keeps the rejection from being believed.
func TestRejectionCountedUnderAnotherClock(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	w.expire()
	w.lab.SetFault("token:refresh", rejectionOf(403, ``))
	if err := w.call(w.session()); !errors.Is(err, handstamp.ErrUnreachable) {
		t.Fatalf("error %v, want ErrUnreachable", err)
	}
	r := w.record()
	r.Rejection.At = r.Rejection.At.Add(time.Hour)
	r.Rejection.Reason, r.Retry = "401", nil
	w.put(r)
	w.lab.SetFault("token:refresh", rejectionOf(401, ``))
	c := w.session()
	c.LoginPolicy = handstamp.LoginNever
	if err := w.call(c); !errors.Is(err, handstamp.ErrLoginRequired) {
		t.Errorf("error %v, want ErrLoginRequired", err)
	}
	if n := w.lab.Counts()["token:refresh"]; n > 3 {
		t.Errorf("%d requests, want at most 3\n%s", n, w.diary())
	}
}

// later moves what the record remembers of rejections into the past.
func (w *world) later(d time.Duration) {
	w.t.Helper()
	r := w.record()
	if r.Rejection != nil {
		r.Rejection.At = r.Rejection.At.Add(-d)
	}
	if r.Retry != nil {
		r.Retry.NotBefore = r.Retry.NotBefore.Add(-d)
	}
	for i := range r.Cooldowns {
		r.Cooldowns[i].First = r.Cooldowns[i].First.Add(-d)
		r.Cooldowns[i].Until = r.Cooldowns[i].Until.Add(-d)
	}
	if err := record.Put(w.t.Context(), w.store, r); err != nil {
		w.t.Fatal(err)
	}
}

// TestRefreshNamesTheScopeWhereTheServerWantsIt, and nowhere else.
func TestRefreshNamesTheScopeWhereTheServerWantsIt(t *testing.T) {
	w := newWorld(t, lab.Habits{ScopesSupported: []string{"tools"}})
	w.mustCall(w.session())
	scopes := func() []string {
		var all []string
		for _, r := range w.lab.Requests() {
			if r.Endpoint == "token:refresh" {
				all = append(all, r.Scope)
			}
		}
		return all
	}
	w.lab.SetFault("token:refresh", lab.Fault{Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Times: 1,
		Body: `{"error":"invalid_request","error_description":"AADSTS90009: Application is requesting a token for itself."}`})
	w.expire()
	w.mustCall(w.session())
	w.expire()
	w.mustCall(w.session())
	if got := scopes(); len(got) != 3 || got[0] != "" || got[1] != "tools" || got[2] != "tools" {
		t.Errorf("the refreshes named the scopes %q, want none first, then tools, remembered\n%s", got, w.diary())
	}
	// A server that has stopped to take it gets it once more without.
	w.lab.SetFault("token:refresh", lab.Fault{Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Times: 1,
		Body: `{"error":"invalid_scope"}`})
	w.expire()
	w.mustCall(w.session())
	w.expire()
	w.mustCall(w.session())
	if got := scopes(); len(got) != 6 || got[4] != "" || got[5] != "" {
		t.Errorf("the refreshes named the scopes %q, want none in the last two\n%s", got, w.diary())
	}
	w.wantTabs(1)
}

// TestScopeRejectedEitherWay: a server that rejects a refresh with its scope and
// without it does not get them in turns.
func TestScopeRejectedEitherWay(t *testing.T) {
	for _, body := range []string{
		`{"error":"invalid_scope"}`,
		`{"error":"invalid_request","error_description":"AADSTS90009: Application is requesting a token for itself."}`,
		`{"error":"invalid_scope","error_description":"scope is required"}`,
	} {
		for _, remembered := range []bool{false, true} {
			w := newWorld(t, lab.Habits{ScopesSupported: []string{"tools"}})
			w.mustCall(w.session())
			w.expire()
			if r := w.record(); remembered {
				r.RefreshScope = []string{r.Grant.Issuer}
				w.put(r)
			}
			w.lab.SetFault("token:refresh", rejectionOf(400, body))
			c := w.session()
			c.LoginPolicy = handstamp.LoginNever
			if err := w.call(c); !errors.Is(err, handstamp.ErrLoginRequired) {
				t.Errorf("%s: %v, want ErrLoginRequired", body, err)
			}
			if n := w.lab.Counts()["token:refresh"]; n > 3 { // one more two seconds later
				t.Errorf("%s, remembered %v: %d requests, want at most 3\n%s", body, remembered, n, w.diary())
			}
			w.mustCall(w.session())
			w.wantTabs(2)
		}
	}
}

// TestRejectedClientHasACooldown: what is rejected for good is not sent again at
// once by whichever session; a change of the configuration and a user's login are
// tried at once.
func TestRejectedClientHasACooldown(t *testing.T) {
	w := newWorld(t, lab.Habits{Methods: []string{lab.MethodPost}})
	w.lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "right", Method: lab.MethodPost})
	client := func(clientSecret string) *handstamp.Client {
		c := w.session()
		c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: secret.String(clientSecret), TokenEndpointAuthMethod: lab.MethodPost}
		return c
	}
	w.mustCall(client("right"))
	w.expire()
	first := w.lab.Counts()["token:refresh"]
	rejections := func() int { return w.lab.Counts()["token:refresh"] - first }
	fail := func(after time.Duration, want int) {
		t.Helper()
		for range 5 {
			if err := w.call(client("wrong")); !errors.Is(err, handstamp.ErrClientRejected) {
				t.Fatalf("after %v: error %v, want ErrClientRejected", after, err)
			}
		}
		if n := rejections(); n != want {
			t.Errorf("after %v: %d requests, want %d", after, n, want)
		}
	}
	fail(0, 1)
	w.later(31 * time.Second)
	fail(31*time.Second, 2)
	w.later(61 * time.Second)
	fail(92*time.Second, 3)
	w.later(121 * time.Second)
	fail(213*time.Second, 3) // no more than three in five minutes
	w.later(100 * time.Second)
	fail(313*time.Second, 4)
	w.later(3 * time.Minute)
	fail(493*time.Second, 4) // the cooldown is four minutes by now
	w.mustCall(client("right"))
	if n := rejections(); n != 5 {
		t.Errorf("%d requests, want one more for the changed secret", n)
	}
	if len(w.record().Cooldowns) != 0 {
		t.Error("success left a cooldown behind")
	}
}

// TestCooldownUnderAnotherClock: a clock that was set back does not end the cooldown.
func TestCooldownUnderAnotherClock(t *testing.T) {
	w := newWorld(t, lab.Habits{RefuseRegistration: lab.RegistrationAllowlist})
	for i := range 8 {
		wantKind(t, w.call(w.session()), handstamp.ErrRegistrationRequired)
		if i < 4 {
			r := w.record()
			r.Cooldowns[0].First, r.Cooldowns[0].Until = time.Now().Add(time.Hour), time.Now().Add(time.Hour)
			w.put(r)
		}
	}
	w.wantCounts(map[string]int{"register": 5})
}

// TestRejectedRegistrationHasACooldown, which a user's login ends.
func TestRejectedRegistrationHasACooldown(t *testing.T) {
	w := newWorld(t, lab.Habits{RefuseRegistration: lab.RegistrationAllowlist})
	for range 5 {
		if err := w.call(w.session()); !errors.Is(err, handstamp.ErrRegistrationRequired) {
			t.Fatalf("error %v, want ErrRegistrationRequired", err)
		}
	}
	w.wantCounts(map[string]int{"register": 1})
	if _, err := w.session().Login(t.Context(), w.lab.MCPURL(), handstamp.LoginOptions{}); !errors.Is(err, handstamp.ErrRegistrationRequired) {
		t.Fatalf("error %v, want ErrRegistrationRequired", err)
	}
	w.wantCounts(map[string]int{"register": 2})
	other := w.session()
	other.Scopes = []string{"other"} // what is rejected has changed
	if err := w.call(other); !errors.Is(err, handstamp.ErrRegistrationRequired) {
		t.Fatalf("error %v, want ErrRegistrationRequired", err)
	}
	w.wantCounts(map[string]int{"register": 3})
}

// TestUselessRegistrationHasACooldown: a registration response that cannot be used is
// not fetched again by each call, and neither is one before its time.
func TestUselessRegistrationHasACooldown(t *testing.T) {
	noSecret := false
	for _, tc := range []struct {
		name   string
		habits lab.Habits
		fault  lab.Fault
		kind   error
	}{
		{"without the secret", lab.Habits{Methods: []string{lab.MethodBasic}, RegisterSecret: &noSecret}, lab.Fault{}, handstamp.ErrProtocol},
		{"without a client", lab.Habits{}, rejectionOf(201, `{}`), handstamp.ErrProtocol},
		{"too early", lab.Habits{}, lab.Fault{Kind: lab.FaultStatus, Status: 429, RetryAfter: "600"}, handstamp.ErrUnreachable},
	} {
		w := newWorld(t, tc.habits)
		if tc.fault.Kind != "" {
			w.lab.SetFault("register", tc.fault)
		}
		for range 5 {
			wantKind(t, w.call(w.session()), tc.kind)
		}
		if n := w.lab.Counts()["register"]; n != 1 {
			t.Errorf("%s: %d registrations, want 1\n%s", tc.name, n, w.diary())
		}
		wantKind(t, w.login(w.session()), tc.kind) // the user's is tried
		if n := w.lab.Counts()["register"]; n != 2 {
			t.Errorf("%s: %d registrations after a user's login, want 2\n%s", tc.name, n, w.diary())
		}
	}
}

// TestUselessRefreshHasACooldown: a token that cannot be used is not refreshed by each
// call, and a user's login is tried at once.
func TestUselessRefreshHasACooldown(t *testing.T) {
	for _, body := range []string{
		`{"access_token":"a","token_type":"mac","expires_in":3600}`,
		`{"refresh_token":"r","expires_in":3600}`,
	} {
		w := newWorld(t, lab.NoneFirst())
		w.mustCall(w.session())
		w.expire()
		w.lab.SetFault("token:refresh", rejectionOf(200, body))
		for range 5 {
			c := w.session()
			c.LoginPolicy = handstamp.LoginNever
			wantKind(t, w.call(c), handstamp.ErrProtocol)
		}
		if n := w.lab.Counts()["token:refresh"]; n != 1 {
			t.Errorf("%s: %d requests, want 1\n%s", body, n, w.diary())
		}
		if _, err := w.session().Login(t.Context(), w.lab.MCPURL(), handstamp.LoginOptions{}); err != nil {
			t.Errorf("%s: login: %v", body, err)
		}
		w.mustCall(w.session())
		w.wantTabs(2)
	}
}
