package handstamp_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// TestForbiddenInvalidToken: a 403 that says invalid_token is about the token, and
// refreshes it as a 401 does. One that says nothing, or something else, is returned.
func TestForbiddenInvalidToken(t *testing.T) {
	for _, tc := range []struct {
		challenge string
		refreshes int
	}{
		{`Bearer error="invalid_token", error_description="The token expired"`, 1},
		{`Bearer realm="mcp", error="expired_token"`, 1},
		{`Bearer error="invalid_request"`, 0},
		{`Bearer`, 0},
		{``, 0},
	} {
		w := testenv.New(t, lab.Habits{})
		c, line := w.Recorded()
		w.MustCall(c)
		w.Lab.ExpireAccessTokens()
		w.Lab.Reset()
		line.OnResponse(func(req *http.Request, resp *http.Response) {
			if resp.StatusCode == http.StatusUnauthorized && strings.HasSuffix(req.URL.Path, "/mcp") {
				resp.StatusCode = http.StatusForbidden
				resp.Header.Set("WWW-Authenticate", tc.challenge)
			}
		})
		if err := w.Call(c); (err == nil) != (tc.refreshes > 0) {
			t.Errorf("%s: %v", tc.challenge, err)
		}
		w.WantCounts(map[string]int{"token:refresh": tc.refreshes})
		w.WantTabs(1)
	}
}

// TestForbiddenInvalidTokenForEver: a server that says so of every token costs one
// refresh and no tab, and its response is returned.
func TestForbiddenInvalidTokenForEver(t *testing.T) {
	testenv.InBubble(t, lab.Habits{}, func(t *testing.T, w *testenv.Env) {
		c, line := w.Recorded()
		w.MustCall(c)
		w.Lab.Reset()
		line.OnResponse(func(req *http.Request, resp *http.Response) {
			if strings.HasSuffix(req.URL.Path, "/mcp") {
				resp.StatusCode = http.StatusForbidden
				resp.Header.Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			}
		})
		resp, err := c.HTTPClient(w.Lab.MCPURL()).Post(w.Lab.MCPURL(), "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("status %d", resp.StatusCode)
		}
		// The fresh token is sent again a few times, as it may need a moment.
		w.WantCounts(map[string]int{"mcp": 2 + 4, "token:refresh": 1})
		w.WantTabs(1)
	})
}

// TestForbiddenInvalidTokenWithoutRefresh: where the token cannot be refreshed, the user
// signs in, as after a 401.
func TestForbiddenInvalidTokenWithoutRefresh(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	c, line := w.Recorded()
	w.MustCall(c)
	w.Lab.RevokeFamilies()
	line.OnResponse(func(req *http.Request, resp *http.Response) {
		if resp.StatusCode == http.StatusUnauthorized && strings.HasSuffix(req.URL.Path, "/mcp") {
			resp.StatusCode = http.StatusForbidden
		}
	})
	w.MustCall(c)
	w.WantTabs(2)
}

// A resource server that rejects even a token fresh from a login gets no storm
// of tabs.
func TestServerThatRejectsEveryToken(t *testing.T) {
	testenv.InBubble(t, lab.NoneFirst(), func(t *testing.T, w *testenv.Env) {
		c := w.Session()
		client := c.HTTPClient(w.Lab.MCPURL())
		w.MustCall(c)
		for range 5 {
			w.Lab.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusUnauthorized})
			if err := testenv.Call(context.Background(), client, w.Lab.MCPURL()); err == nil {
				t.Fatal("the call worked")
			}
		}
		if n := w.Tabs.Load(); n > 2 {
			t.Errorf("browser opened %d times\n%s", n, w.Diary())
		}
	})
}

// A server that rejects every token costs one refresh, not two for each request.
func TestRejectedTokenIsNotRefreshedForEver(t *testing.T) {
	testenv.InBubble(t, lab.NoneFirst(), func(t *testing.T, w *testenv.Env) {
		w.MustCall(w.Session())
		c := w.Session()
		c.LoginPolicy = handstamp.LoginNever
		client := c.HTTPClient(w.Lab.MCPURL())
		w.Lab.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusUnauthorized})
		for range 5 {
			testenv.Call(t.Context(), client, w.Lab.MCPURL())
		}
		if n := w.Lab.Counts()["token:refresh"]; n > 2 {
			t.Errorf("%d refreshes for 5 calls", n)
		}
	})
}

// Requests that need another scope at the same time wait for one step-up, and none
// of them gives up because there are so many.
func TestStepUpOfManyRequests(t *testing.T) {
	w := testenv.New(t, lab.Habits{RequiredScope: "admin", ScopesSupported: []string{"read", "admin"}, ChallengeScope: "read"})
	c := w.Session()
	release := make(chan struct{})
	var rejected atomic.Int32
	c.BaseTransport = testenv.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil && resp.StatusCode == http.StatusForbidden && rejected.Add(1) == 10 {
			close(release)
		}
		return resp, err
	})
	var opened atomic.Int32
	c.Prompt.OpenURL = func(ctx context.Context, raw string) error {
		if opened.Add(1) > 1 {
			<-release
		}
		return w.OpenURL(ctx, raw)
	}
	if _, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{}); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error)
	client := c.HTTPClient(w.Lab.MCPURL())
	for range 10 {
		go func() { errs <- testenv.Call(t.Context(), client, w.Lab.MCPURL()) }()
	}
	bad := 0
	var last error
	for range 10 {
		if err := <-errs; err != nil {
			bad, last = bad+1, err
		}
	}
	if bad > 0 {
		t.Errorf("%d of 10 failed: %v", bad, last)
	}
	w.WantTabs(2)
}

// A login for the scope of a rejected request, which the user has done in another process, reaches one
// that must not sign in itself. A token without that scope is sent once. The store is read for each
// token once a second, however many requests are rejected.
func TestStepUpInAnotherProcess(t *testing.T) {
	habits := lab.Habits{RequiredScope: "admin", ScopesSupported: []string{"read", "admin"}, ChallengeScope: "read"}
	testenv.InBubble(t, habits, func(t *testing.T, w *testenv.Env) {
		w.MustLogin(w.Session())
		never := w.Session()
		reads := &countingStore{Store: w.Store}
		never.LoginPolicy, never.Store = handstamp.LoginNever, reads
		forbidden := func(requests int) {
			t.Helper()
			w.Lab.Reset()
			if err := w.Call(never); err == nil || !strings.Contains(err.Error(), "403") {
				t.Errorf("a call without the scope: %v", err)
			}
			w.WantCounts(map[string]int{"mcp": requests, "token:refresh": 0})
		}
		forbidden(1)
		before := reads.reads.Load()
		for range 5 {
			forbidden(1)
		}
		if n := reads.reads.Load() - before; n != 0 {
			t.Errorf("the store was read %d times more in a moment", n)
		}
		if _, err := w.Session().Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{Refresh: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		forbidden(2)
		forbidden(1)
		o := handstamp.LoginOptions{Scopes: []string{"admin"}}
		if _, err := w.Session().Login(t.Context(), w.Lab.MCPURL(), o); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		w.MustCall(never)
		w.WantTabs(2)
	})
}

// A server that grants a scope and goes on asking for it gets its logins once, not
// for every request.
func TestStepUpThatDoesNotHelp(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	c := w.Session()
	c.BaseTransport = testenv.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil && req.URL.String() == w.Lab.MCPURL() && resp.StatusCode != http.StatusUnauthorized {
			resp.StatusCode = http.StatusForbidden
			resp.Header.Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="read"`)
		}
		return resp, err
	})
	client := c.HTTPClient(w.Lab.MCPURL())
	for range 4 {
		if err := testenv.Call(t.Context(), client, w.Lab.MCPURL()); err == nil {
			t.Fatal("the server has let a user in")
		}
	}
	w.WantTabs(2) // the login, and one for the scope
}

// A server that wants the user to sign in in another way, or once more, gets that and nothing else: no
// refresh, and no second tab for the next request.
func TestInsufficientUserAuthentication(t *testing.T) {
	for name, wanted := range map[string]lab.StepUp{
		"another way": {ACR: []string{"gold", "silver"}},
		"anew":        {MaxAge: 300},
	} {
		t.Run(name, func(t *testing.T) {
			testenv.InBubble(t, lab.Habits{StepUp: wanted}, func(t *testing.T, w *testenv.Env) {
				w.MustLogin(w.Session())
				if wanted.MaxAge > 0 {
					w.Lab.Advance(10 * time.Minute)
				}
				never := w.Session()
				never.LoginPolicy = handstamp.LoginNever
				if err := w.Call(never); !errors.Is(err, handstamp.ErrLoginRequired) {
					t.Errorf("a session that must not sign in: %v", err)
				}
				w.MustCall(w.Session())
				w.MustCall(w.Session())
				time.Sleep(2 * time.Second)
				w.MustCall(never) // which has still the token from before
				w.WantTabs(2)
				w.WantCounts(map[string]int{"token:refresh": 0})
				w.Lab.RevokeFamilies() // and the next login knows how the user has to sign in
				w.MustCall(w.Session())
				w.WantTabs(3)
			})
		})
	}
}

// A server that is never content with how the user signs in gets its logins, and no tab for each
// further request, however much later.
func TestSigningInAgainDoesNotHelp(t *testing.T) {
	testenv.InBubble(t, lab.Habits{}, func(t *testing.T, w *testenv.Env) {
		c, line := w.Recorded()
		w.MustCall(c)
		line.OnResponse(func(req *http.Request, resp *http.Response) {
			if strings.HasSuffix(req.URL.Path, "/mcp") {
				resp.StatusCode = http.StatusUnauthorized
				resp.Header.Set("WWW-Authenticate", `Bearer error="insufficient_user_authentication", acr_values="gold"`)
			}
		})
		for range 5 {
			if err := w.Call(c); err == nil {
				t.Fatal("the call worked")
			}
			time.Sleep(time.Hour)
		}
		if n := w.Tabs.Load(); n > 3 {
			t.Errorf("browser opened %d times", n)
		}
	})
}

// The first challenge may say already how the user has to sign in.
func TestFirstChallengeWantsAuthentication(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	c, line := w.Recorded()
	line.OnResponse(func(req *http.Request, resp *http.Response) {
		if header := resp.Header.Get("WWW-Authenticate"); header != "" {
			resp.Header.Set("WWW-Authenticate", header+`, error="insufficient_user_authentication", max_age="soon", acr_values="gold"`)
		}
	})
	w.MustCall(c)
	for _, r := range w.Lab.Requests() {
		if r.Endpoint == "authorize" && (r.Params.Get("acr_values") != "gold" || r.Params.Has("max_age")) {
			t.Errorf("the authorization request has %v", r.Params)
		}
	}
	w.WantTabs(1)
}
