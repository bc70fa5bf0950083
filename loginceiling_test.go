package handstamp_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

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
// user's own login is not held back, and starts the count anew.
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
