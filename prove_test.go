package handstamp_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// Where the MCP server rejects even the token of a completed login, the user hears it
// from login, and no process returns the token: the login before is kept, if there was one.
func TestServerThatRejectsEveryLoginIsNamed(t *testing.T) {
	for _, before := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := &slow{model: newModel(t, "everything is fine", false), after: 24 * time.Hour, since: map[string]time.Time{}}
			if !before {
				s.store = new(store.Memory)
			}
			result, err := s.client().Login(t.Context(), s.lab.MCPURL(), handstamp.LoginOptions{Force: true})
			if err != nil {
				t.Fatal(err)
			}
			testenv.WantKind(t, result.Rejected, handstamp.ErrProtocol)
			if result.Kept != before || result.Status.AccessTokenRejected == before {
				t.Errorf("a login before %v: kept %v, status %+v", before, result.Kept, result.Status)
			}
			stored := s.record().Grant.AccessToken
			if before && stored != s.first.AccessToken {
				t.Error("the record has another token than before")
			}
			token, err := s.client().Token(t.Context(), s.lab.MCPURL(), handstamp.TokenOptions{})
			if err != nil || (token.Value == stored) != before {
				t.Errorf("a login before %v: token %v, %v", before, token, err)
			}
		})
	}
}

// Where there is no MCP server any more at the URL of a stored login, login reports that, and signs in
// nowhere. A server that has resource metadata is one, however oddly it responds to the proof.
func TestLoginWhereTheServerHasGone(t *testing.T) {
	for name, fault := range map[string]lab.Fault{
		"nothing there": {Kind: lab.FaultStatus, Status: http.StatusNotFound},
		"gone":          {Kind: lab.FaultStatus, Status: http.StatusGone},
		"a web page":    {Kind: lab.FaultHTML},
	} {
		w := testenv.New(t, lab.NoneFirst())
		w.MustLogin(w.Session())
		w.Lab.SetFault("mcp", fault)
		result, err := w.Session().Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
		if err != nil || !result.Already {
			t.Errorf("%s, with metadata: %+v, %v", name, result, err)
		}
		w.Lab.SetFault("*", fault)
		result, err = w.Session().Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
		if err == nil {
			t.Errorf("%s: %+v", name, result)
			continue
		}
		testenv.WantKind(t, err, handstamp.ErrInvalidConfig)
		if !strings.Contains(err.Error(), "there is no MCP server at ") {
			t.Errorf("%s: %v", name, err)
		}
		w.WantTabs(1)
	}
}

// A server of the HTTP+SSE transport that responds to a POST as to a path that it does not have is
// proved by its stream.
func TestProofOfAServerThatTakesNoPOST(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustLogin(w.Session())
	w.Lab.SetFault("*", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusNotFound})
	c := w.Session()
	c.BaseTransport = testenv.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil && req.Method == http.MethodGet && req.URL.String() == w.Lab.MCPURL() {
			resp.StatusCode = http.StatusOK
			resp.Header.Set("Content-Type", "text/event-stream")
		}
		return resp, err
	})
	result, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
	if err != nil || !result.Already {
		t.Errorf("%+v, %v", result, err)
	}
	w.WantTabs(1)
}

// A server without metadata may respond to a request with a token that the session was not found. That it
// wants a token shows that it is one.
func TestProofOfAServerThatFindsNoSession(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustLogin(w.Session())
	w.Lab.SetFault("*", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusNotFound})
	c := w.Session()
	c.BaseTransport = testenv.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil && req.URL.String() == w.Lab.MCPURL() && req.Header.Get("Authorization") == "" {
			resp.StatusCode = http.StatusUnauthorized
			resp.Header.Set("WWW-Authenticate", "Bearer")
		}
		return resp, err
	})
	result, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
	if err != nil || !result.Already {
		t.Errorf("%+v, %v", result, err)
	}
	w.WantTabs(1)
}

// The token with which login proves a login goes to the server's own origin only.
func TestProofIsNotRedirectedToAnotherOrigin(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		w, other := testenv.New(t, lab.NoneFirst()), testenv.New(t, lab.NoneFirst())
		w.MustCall(w.Session())
		c := w.Session()
		var elsewhere []string
		c.BaseTransport = testenv.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.String() != w.Lab.MCPURL() {
				elsewhere = append(elsewhere, req.URL.String())
			}
			return &http.Response{StatusCode: status, Header: http.Header{"Location": {other.Lab.MCPURL()}}, Body: http.NoBody, Request: req}, nil
		})
		_, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
		testenv.WantKind(t, err, handstamp.ErrProtocol)
		if len(elsewhere)+len(other.Lab.Requests()) > 0 {
			t.Errorf("%d: requests to %q", status, elsewhere)
		}
		w.WantTabs(1)
	}
}

// A redirect within the origin is followed, as it is for requests, and the token goes
// along where it may go: below the server's path.
func TestProofFollowsItsOwnOrigin(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	c := w.Session()
	c.BaseTransport = testenv.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		if req.URL.String() == w.Lab.MCPURL() {
			return &http.Response{StatusCode: 307, Header: http.Header{"Location": {w.Lab.MCPURL() + "/"}}, Body: http.NoBody, Request: req}, nil
		}
		req = req.Clone(req.Context())
		req.URL.Path = strings.TrimSuffix(req.URL.Path, "/")
		return http.DefaultTransport.RoundTrip(req)
	})
	result, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
	if err != nil || !result.Already {
		t.Errorf("%+v, %v", result, err)
	}
	w.WantTabs(1)
}

// A stored login whose scope the server does not find enough is not one that is good:
// login requests what is missing, once.
func TestLoginRequestsTheMissingScope(t *testing.T) {
	w := testenv.New(t, lab.Habits{ScopesSupported: []string{"read", "admin"}, ChallengeScope: "read"})
	w.MustCall(w.Session())
	c, opened := watching(w)
	c.BaseTransport = testenv.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil && resp.StatusCode == http.StatusOK && !strings.Contains(w.Record().Grant.ScopeGranted, "admin") {
			resp.StatusCode = http.StatusForbidden
			resp.Header.Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="admin"`)
		}
		return resp, err
	})
	for range 2 {
		if _, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(*opened) != 1 || !slices.Contains(strings.Fields((*opened)[0].Get("scope")), "admin") {
		t.Errorf("opened %v", *opened)
	}
}

// A server that repeats a token in the challenge that it rejects the proof of a login with gets
// it into no authorization request.
func TestTokenInTheChallengeOfAProofIsNotRequested(t *testing.T) {
	t.Parallel()
	for _, challenge := range []string{
		`Bearer error="invalid_token", scope="TOKEN"`,
		`Bearer error="invalid_token", scope="mcp TOKEN"`,
		`Bearer error="insufficient_scope", scope="TOKEN"`,
	} {
		w := testenv.New(t, lab.Habits{})
		c, _ := w.Recorded()
		w.MustLogin(c)
		token := w.Record().Grant.AccessToken.Reveal()
		d, line := w.Recorded()
		line.OnResponse(func(req *http.Request, resp *http.Response) {
			if strings.HasPrefix(req.URL.Path, testenv.AtMCP) && strings.Contains(req.Header.Get("Authorization"), token) {
				resp.StatusCode = http.StatusUnauthorized
				if strings.Contains(challenge, "insufficient") {
					resp.StatusCode = http.StatusForbidden
				}
				resp.Header.Set("WWW-Authenticate", strings.ReplaceAll(challenge, "TOKEN", token))
			}
			if strings.HasPrefix(req.URL.Path, testenv.AtToken) {
				resp.StatusCode = http.StatusBadRequest
			}
		})
		var urls []string
		d.Prompt = handstamp.Prompt{OpenURL: func(ctx context.Context, rawURL string) error {
			urls = append(urls, rawURL)
			return w.OpenURL(ctx, rawURL)
		}}
		_, _ = d.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
		if n := len(urls); (n == 0) != strings.Contains(challenge, "insufficient") {
			t.Errorf("%s: %d tabs", challenge, n)
		}
		for _, u := range urls {
			if strings.Contains(u, token) {
				t.Errorf("%s: the browser is sent the token: %s", challenge, u)
			}
		}
		if g := w.Record().Grant; g != nil && strings.Contains(g.ScopeRequested, token) {
			t.Errorf("%s: the record has the token as a scope", challenge)
		}
	}
}

// The proof of a login follows the redirects of traffic: where those lead to the server, the
// stored login is found to work.
func TestProofFollowsTheRedirectsOfTraffic(t *testing.T) {
	for _, status := range testenv.Redirects {
		if status == http.StatusSeeOther {
			continue // a GET, with which the server opens a stream
		}
		w := testenv.New(t, lab.Habits{MCPPath: "/v2/mcp", ResourceForm: lab.ResourcePath})
		w.Lab.SetFault("other", lab.Fault{Kind: lab.FaultRedirect, Status: status, Location: "/v2/mcp"})
		old := strings.Replace(w.Lab.MCPURL(), "/v2/mcp", "/mcp", 1)
		c, _ := w.Recorded()
		if _, err := c.Login(t.Context(), old, handstamp.LoginOptions{}); err != nil {
			t.Errorf("%d: login: %v\n%s", status, err, w.Diary())
			continue
		}
		c, _ = w.Recorded()
		result, err := c.Login(t.Context(), old, handstamp.LoginOptions{})
		if err != nil || !result.Already || result.Rejected != nil {
			t.Errorf("%d: second login: %+v, %v\n%s", status, result, err, w.Diary())
		}
		w.WantTabs(1)
		w.Lab.RevokeAccessTokens()
		c, _ = w.Recorded()
		if _, err := c.Login(t.Context(), old, handstamp.LoginOptions{}); err != nil {
			t.Errorf("%d: third login: %v", status, err)
		}
		w.WantTabs(1)
		w.WantCounts(map[string]int{"token:refresh": 1})
	}
}
