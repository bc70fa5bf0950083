package handstamp_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
)

// A configured client that is rejected is rejected for the next request, too,
// unless something has changed.
func TestRejectedClientPauses(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	w.Lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "old"})
	configured := func(clientSecret string) *handstamp.Client {
		c := w.Session()
		c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: secret.String(clientSecret), TokenEndpointAuthMethod: "client_secret_basic"}
		return c
	}
	w.MustCall(configured("old"))
	w.Expire()
	w.Lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "new"})
	w.Lab.Reset()
	c := configured("old")
	for range 20 {
		testenv.WantKind(t, w.Call(c), handstamp.ErrClientRejected)
	}
	w.WantCounts(map[string]int{"token:refresh": 1})
	w.MustCall(configured("new"))
	w.WantCounts(map[string]int{"token:refresh": 2})
	w.MustCall(c) // with what the other has stored
	w.WantTabs(1)
}

// TestRejectedClientHasACooldown: what is rejected for good is not sent again at
// once by whichever session; a change of the configuration and a user's login are
// tried at once.
func TestRejectedClientHasACooldown(t *testing.T) {
	w := testenv.New(t, lab.Habits{Methods: []string{lab.MethodPost}})
	w.Lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: "right", Method: lab.MethodPost})
	client := func(clientSecret string) *handstamp.Client {
		c := w.Session()
		c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: secret.String(clientSecret), TokenEndpointAuthMethod: lab.MethodPost}
		return c
	}
	w.MustCall(client("right"))
	w.Expire()
	first := w.Lab.Counts()["token:refresh"]
	rejections := func() int { return w.Lab.Counts()["token:refresh"] - first }
	fail := func(after time.Duration, want int) {
		t.Helper()
		for range 5 {
			if err := w.Call(client("wrong")); !errors.Is(err, handstamp.ErrClientRejected) {
				t.Fatalf("after %v: error %v, want ErrClientRejected", after, err)
			}
		}
		if n := rejections(); n != want {
			t.Errorf("after %v: %d requests, want %d", after, n, want)
		}
	}
	fail(0, 1)
	later(w, 31*time.Second)
	fail(31*time.Second, 2)
	later(w, 61*time.Second)
	fail(92*time.Second, 3)
	later(w, 121*time.Second)
	fail(213*time.Second, 3) // no more than three in five minutes
	later(w, 100*time.Second)
	fail(313*time.Second, 4)
	later(w, 3*time.Minute)
	fail(493*time.Second, 4) // the cooldown is four minutes by now
	w.MustCall(client("right"))
	if n := rejections(); n != 5 {
		t.Errorf("%d requests, want one more for the changed secret", n)
	}
	if len(w.Record().Cooldowns) != 0 {
		t.Error("success left a cooldown behind")
	}
}

// TestCooldownUnderAnotherClock: a clock that was set back does not end the cooldown.
func TestCooldownUnderAnotherClock(t *testing.T) {
	w := testenv.New(t, lab.Habits{ClosedRegistration: lab.RegistrationAllowlist})
	for i := range 8 {
		testenv.WantKind(t, w.Call(w.Session()), handstamp.ErrRegistrationRequired)
		if i < 4 {
			r := w.Record()
			r.Cooldowns[0].First, r.Cooldowns[0].Until = time.Now().Add(time.Hour), time.Now().Add(time.Hour)
			w.Put(r)
		}
	}
	w.WantCounts(map[string]int{"register": 5})
}

// TestRejectedRegistrationHasACooldown, which a user's login ends.
func TestRejectedRegistrationHasACooldown(t *testing.T) {
	w := testenv.New(t, lab.Habits{ClosedRegistration: lab.RegistrationAllowlist})
	for range 5 {
		if err := w.Call(w.Session()); !errors.Is(err, handstamp.ErrRegistrationRequired) {
			t.Fatalf("error %v, want ErrRegistrationRequired", err)
		}
	}
	w.WantCounts(map[string]int{"register": 1})
	if _, err := w.Session().Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{}); !errors.Is(err, handstamp.ErrRegistrationRequired) {
		t.Fatalf("error %v, want ErrRegistrationRequired", err)
	}
	w.WantCounts(map[string]int{"register": 2})
	other := w.Session()
	other.Scopes = []string{"other"} // what is rejected has changed
	if err := w.Call(other); !errors.Is(err, handstamp.ErrRegistrationRequired) {
		t.Fatalf("error %v, want ErrRegistrationRequired", err)
	}
	w.WantCounts(map[string]int{"register": 3})
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
		w := testenv.New(t, tc.habits)
		if tc.fault.Kind != "" {
			w.Lab.SetFault("register", tc.fault)
		}
		for range 5 {
			testenv.WantKind(t, w.Call(w.Session()), tc.kind)
		}
		if n := w.Lab.Counts()["register"]; n != 1 {
			t.Errorf("%s: %d registrations, want 1\n%s", tc.name, n, w.Diary())
		}
		testenv.WantKind(t, w.Login(w.Session()), tc.kind) // the user's is tried
		if n := w.Lab.Counts()["register"]; n != 2 {
			t.Errorf("%s: %d registrations after a user's login, want 2\n%s", tc.name, n, w.Diary())
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
		w := testenv.New(t, lab.NoneFirst())
		w.MustCall(w.Session())
		w.Expire()
		w.Lab.SetFault("token:refresh", rejectionOf(200, body))
		for range 5 {
			c := w.Session()
			c.LoginPolicy = handstamp.LoginNever
			testenv.WantKind(t, w.Call(c), handstamp.ErrProtocol)
		}
		if n := w.Lab.Counts()["token:refresh"]; n != 1 {
			t.Errorf("%s: %d requests, want 1\n%s", body, n, w.Diary())
		}
		if _, err := w.Session().Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{}); err != nil {
			t.Errorf("%s: login: %v", body, err)
		}
		w.MustCall(w.Session())
		w.WantTabs(2)
	}
}

// takesTokensOnce is the user's way to a server that accepts each access token once.
func takesTokensOnce(w *testenv.Env) http.RoundTripper {
	return testenv.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil && req.Header.Get("Authorization") != "" && resp.StatusCode == http.StatusOK {
			w.Lab.RevokeAccessTokens()
		}
		return resp, err
	})
}

// A server that accepts each token once, and an authorization server that rejects
// every refresh, open three tabs, whatever the number of requests and processes. The
// user's own login is not held back, and restarts the count.
func TestAutomaticLoginsHaveACeiling(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.Lab.SetFault("token:refresh", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusBadRequest, Body: `{"error":"invalid_grant"}`})
	session := func() *handstamp.Client {
		c := w.Session()
		c.BaseTransport = takesTokensOnce(w)
		return c
	}
	long := session() // a process of many requests
	var last error
	for range 5 {
		for _, c := range []*handstamp.Client{session(), long} {
			if err := w.Call(c); err != nil {
				last = err
			}
		}
	}
	w.WantTabs(3)
	testenv.WantKind(t, last, handstamp.ErrLoginRequired)
	e, ok := errtype.As[*handstamp.Error](last)
	if wait := time.Until(e.RetryAt); !ok || wait < 9*time.Minute || wait > 10*time.Minute || !strings.Contains(last.Error(), "sign in to ") {
		t.Errorf("error %v", last)
	}
	_, err := session().Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{})
	testenv.WantKind(t, err, handstamp.ErrLoginRequired)
	w.WantTabs(3)

	user := session()
	if _, err := user.Login(context.Background(), w.Lab.MCPURL(), handstamp.LoginOptions{}); err != nil {
		t.Fatal(err)
	}
	w.WantTabs(4)
	for range 5 {
		w.Call(session())
	}
	w.WantTabs(7)
}

// The ceiling is no lock: after its time a login opens again, and a time of the
// future, recorded under a wrong clock, counts no longer than one of the past.
func TestCeilingOfLoginsEnds(t *testing.T) {
	for name, shift := range map[string]time.Duration{"later": -11 * time.Minute, "clock set back": time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.NoneFirst())
			for range 3 {
				w.MustCall(w.Session())
				w.Lab.RevokeFamilies()
			}
			testenv.WantKind(t, w.Call(w.Session()), handstamp.ErrLoginRequired)
			rec := w.Record()
			for i := range rec.AutomaticLogins {
				rec.AutomaticLogins[i].At = rec.AutomaticLogins[i].At.Add(shift)
			}
			w.Put(rec)
			w.MustCall(w.Session())
			w.WantTabs(4)
		})
	}
}

// A server that names another authorization server each time has a ceiling, too.
func TestCeilingOfLoginsAtManyIssuers(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	for range 8 {
		other, err := lab.Start(lab.NoneFirst())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(other.Close)
		testenv.Processes.Watch(t, other)
		w.Lab.MoveTo(other)
		other.RevokeFamilies()
		rec := w.Record()
		if rec.Grant != nil {
			rec.Grant.RefreshToken, rec.Grant.Rejected = "", true
			w.Put(rec)
		}
		w.Call(w.Session())
	}
	w.WantTabs(6)
}

// One login opens three tabs at most, however many reasons the server has.
func TestOneLoginOpensThreeTabsAtMost(t *testing.T) {
	w := testenv.New(t, lab.Habits{ScopesSupported: []string{"read", "write"}, Offline: lab.OfflineListed})
	c := w.Session()
	tabs := 0
	c.Prompt.OpenURL = func(ctx context.Context, rawURL string) error {
		tabs++
		code := []string{"invalid_scope", "invalid_scope", "invalid_target", "invalid_scope"}[min(tabs, 4)-1]
		return reject(ctx, rawURL, code)
	}
	_, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
	testenv.WantKind(t, err, handstamp.ErrProtocol)
	if tabs != 3 {
		t.Errorf("%d tabs, want 3: %v", tabs, err)
	}
}

// reject is a browser in which the authorization server rejects the login.
func reject(ctx context.Context, rawURL, code string) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return err
	}
	q := u.Query()
	back := q.Get("redirect_uri") + "?" + url.Values{"error": {code}, "state": {q.Get("state")},
		"iss": {u.Scheme + "://" + u.Host}}.Encode()
	go func() {
		req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, back, nil)
		if err != nil {
			return
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	return nil
}
