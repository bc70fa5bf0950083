package handstamp_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// Where the MCP server rejects even the token of a completed login, the user hears it
// from login, and no process returns the token.
func TestServerThatRejectsEveryLoginIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{model: newModel(t, "everything is fine", false), after: 24 * time.Hour, since: map[string]time.Time{}}
		result, err := s.client().Login(t.Context(), s.lab.MCPURL(), handstamp.LoginOptions{Force: true})
		if err != nil {
			t.Fatal(err)
		}
		wantKind(t, result.Rejected, handstamp.ErrProtocol)
		if !result.Status.AccessTokenRejected {
			t.Errorf("status %+v", result.Status)
		}
		rejected := s.record().Grant.AccessToken
		token, err := s.client().Token(t.Context(), s.lab.MCPURL(), handstamp.TokenOptions{})
		if err != nil || token.Value == rejected {
			t.Errorf("token %v, %v", token, err)
		}
	})
}

// The token with which login proves a login goes to the server's own origin only.
func TestProofIsNotRedirectedToAnotherOrigin(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		w, other := newWorld(t, lab.NoneFirst()), newWorld(t, lab.NoneFirst())
		w.mustCall(w.session())
		c := w.session()
		var elsewhere []string
		c.BaseTransport = roundTrip(func(req *http.Request) (*http.Response, error) {
			if req.URL.String() != w.lab.MCPURL() {
				elsewhere = append(elsewhere, req.URL.String())
			}
			return &http.Response{StatusCode: status, Header: http.Header{"Location": {other.lab.MCPURL()}}, Body: http.NoBody, Request: req}, nil
		})
		_, err := c.Login(t.Context(), w.lab.MCPURL(), handstamp.LoginOptions{})
		wantKind(t, err, handstamp.ErrProtocol)
		if len(elsewhere)+len(other.lab.Requests()) > 0 {
			t.Errorf("%d: requests to %q", status, elsewhere)
		}
		w.wantTabs(1)
	}
}

// A redirect within the origin is followed, as it is for requests, and the token goes
// along where it may go: below the server's path.
func TestProofFollowsItsOwnOrigin(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	c := w.session()
	c.BaseTransport = roundTrip(func(req *http.Request) (*http.Response, error) {
		if req.URL.String() == w.lab.MCPURL() {
			return &http.Response{StatusCode: 307, Header: http.Header{"Location": {w.lab.MCPURL() + "/"}}, Body: http.NoBody, Request: req}, nil
		}
		req = req.Clone(req.Context())
		req.URL.Path = strings.TrimSuffix(req.URL.Path, "/")
		return http.DefaultTransport.RoundTrip(req)
	})
	result, err := c.Login(t.Context(), w.lab.MCPURL(), handstamp.LoginOptions{})
	if err != nil || !result.Already {
		t.Errorf("%+v, %v", result, err)
	}
	w.wantTabs(1)
}

// A stored login whose scope the server does not find enough is not one that is good:
// login requests what is missing, once.
func TestLoginRequestsTheMissingScope(t *testing.T) {
	w := newWorld(t, lab.Habits{ScopesSupported: []string{"read", "admin"}, ChallengeScope: "read"})
	w.mustCall(w.session())
	c, opened := w.watching()
	c.BaseTransport = roundTrip(func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil && resp.StatusCode == http.StatusOK && !strings.Contains(w.record().Grant.ScopeGranted, "admin") {
			resp.StatusCode = http.StatusForbidden
			resp.Header.Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="admin"`)
		}
		return resp, err
	})
	for range 2 {
		if _, err := c.Login(t.Context(), w.lab.MCPURL(), handstamp.LoginOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(*opened) != 1 || !slices.Contains(strings.Fields((*opened)[0].Get("scope")), "admin") {
		t.Errorf("opened %v", *opened)
	}
}
