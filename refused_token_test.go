package handstamp_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// The SDK hands its handler one refusal after the other, each without a past. The
// handler must remember by itself that the server refuses even fresh tokens.
func TestHandlerAtServerThatRefusesEveryToken(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	c := w.session()
	h := c.Handler(w.lab.MCPURL())
	one := func() {
		ts, err := h.TokenSource(t.Context())
		if err != nil {
			return
		}
		for range 2 {
			req, _ := http.NewRequest("POST", w.lab.MCPURL(), strings.NewReader("{}"))
			if ts != nil {
				tok, _ := ts.Token()
				tok.SetAuthHeader(req)
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != 401 {
				return
			}
			if h.Authorize(t.Context(), req, resp) != nil {
				return
			}
			ts, _ = h.TokenSource(t.Context())
		}
	}
	w.lab.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusUnauthorized})
	for range 6 {
		one()
	}
	if tabs, renewals := w.tabs.Load(), w.lab.Counts()["token:refresh"]; tabs > 2 || renewals > 2 {
		t.Errorf("%d tabs and %d renewals for 6 requests", tabs, renewals)
	}
}

// The same where the login cannot be renewed: not a tab for each request.
func TestHandlerWithoutRefreshToken(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	c := w.session()
	w.mustCall(c)
	rec := w.record()
	rec.Grant.RefreshToken = ""
	w.put(rec)
	h := c.Handler(w.lab.MCPURL())
	w.lab.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusUnauthorized})
	for range 5 {
		ts, err := h.TokenSource(t.Context())
		if err != nil {
			break
		}
		req, _ := http.NewRequest("POST", w.lab.MCPURL(), strings.NewReader("{}"))
		if ts != nil {
			tok, _ := ts.Token()
			tok.SetAuthHeader(req)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		h.Authorize(t.Context(), req, resp)
		if rec := w.record(); rec.Grant != nil {
			rec.Grant.RefreshToken = ""
			w.put(rec)
		}
	}
	// One was the login that worked. The handler never learns whether a request
	// did, and a server may move to another authorization server right after a
	// login, so two more are allowed before it rests.
	if n := w.tabs.Load(); n > 3 {
		t.Errorf("%d tabs for 5 requests", n)
	}
}

// A server that refuses every token costs one renewal, not two for each request.
func TestRefusedTokenIsNotRenewedForEver(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	c := w.session()
	c.LoginPolicy = handstamp.LoginNever
	client := c.HTTPClient(w.lab.MCPURL())
	w.lab.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusUnauthorized})
	for range 5 {
		call(t.Context(), client, w.lab.MCPURL())
	}
	if n := w.lab.Counts()["token:refresh"]; n > 2 {
		t.Errorf("%d refreshes for 5 calls", n)
	}
}

// Requests that need another scope at the same time wait for one step-up, and none
// of them gives up because there are so many.
func TestStepUpOfManyRequests(t *testing.T) {
	w := newWorld(t, lab.Habits{RequiredScope: "admin", ScopesSupported: []string{"read", "admin"}, ChallengeScope: "read"})
	c := w.session()
	release := make(chan struct{})
	var refused atomic.Int32
	c.BaseTransport = roundTrip(func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil && resp.StatusCode == http.StatusForbidden && refused.Add(1) == 10 {
			close(release)
		}
		return resp, err
	})
	var opened atomic.Int32
	c.Prompt.OpenURL = func(ctx context.Context, raw string) error {
		if opened.Add(1) > 1 {
			<-release
		}
		return w.openURL(ctx, raw)
	}
	if _, err := c.Login(t.Context(), w.lab.MCPURL(), handstamp.LoginOptions{}); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error)
	client := c.HTTPClient(w.lab.MCPURL())
	for range 10 {
		go func() { errs <- call(t.Context(), client, w.lab.MCPURL()) }()
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
	w.wantTabs(2)
}

// A server that grants a scope and goes on asking for it gets its logins once, not
// for every request.
func TestStepUpInVain(t *testing.T) {
	w := newWorld(t, lab.Habits{})
	c := w.session()
	c.BaseTransport = roundTrip(func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil && req.URL.String() == w.lab.MCPURL() && resp.StatusCode != http.StatusUnauthorized {
			resp.StatusCode = http.StatusForbidden
			resp.Header.Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="read"`)
		}
		return resp, err
	})
	client := c.HTTPClient(w.lab.MCPURL())
	for range 4 {
		if err := call(t.Context(), client, w.lab.MCPURL()); err == nil {
			t.Fatal("the server has let somebody in")
		}
	}
	w.wantTabs(2) // the login, and one for the scope
}
