package handstamp_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// A server that repeats a token in the challenge that it rejects the proof of a login with gets
// it into no authorization request.
func TestTokenInTheChallengeOfAProofIsNotRequested(t *testing.T) {
	for _, challenge := range []string{
		`Bearer error="invalid_token", scope="TOKEN"`,
		`Bearer error="invalid_token", scope="mcp TOKEN"`,
		`Bearer error="insufficient_scope", scope="TOKEN"`,
	} {
		w := newWorld(t, lab.Habits{})
		c, _ := w.wired()
		w.mustLogin(c)
		token := w.record().Grant.AccessToken.Reveal()
		d, line := w.wired()
		line.onAnswer(func(req *http.Request, resp *http.Response) {
			if strings.HasPrefix(req.URL.Path, atMCP) && strings.Contains(req.Header.Get("Authorization"), token) {
				resp.StatusCode = http.StatusUnauthorized
				if strings.Contains(challenge, "insufficient") {
					resp.StatusCode = http.StatusForbidden
				}
				resp.Header.Set("WWW-Authenticate", strings.ReplaceAll(challenge, "TOKEN", token))
			}
			if strings.HasPrefix(req.URL.Path, atToken) {
				resp.StatusCode = http.StatusBadRequest
			}
		})
		var urls []string
		d.Prompt = handstamp.Prompt{OpenURL: func(ctx context.Context, rawURL string) error {
			urls = append(urls, rawURL)
			return w.openURL(ctx, rawURL)
		}}
		_, _ = d.Login(t.Context(), w.lab.MCPURL(), handstamp.LoginOptions{})
		if n := len(urls); (n == 0) != strings.Contains(challenge, "insufficient") {
			t.Errorf("%s: %d tabs", challenge, n)
		}
		for _, u := range urls {
			if strings.Contains(u, token) {
				t.Errorf("%s: the browser is sent the token: %s", challenge, u)
			}
		}
		if g := w.record().Grant; g != nil && strings.Contains(g.ScopeRequested, token) {
			t.Errorf("%s: the record has the token as a scope", challenge)
		}
	}
}

// The proof of a login follows the redirects of traffic: where those lead to the server, the
// stored login is found to work.
func TestProofFollowsTheRedirectsOfTraffic(t *testing.T) {
	for _, status := range redirects {
		if status == http.StatusSeeOther {
			continue // a GET, with which the server opens a stream
		}
		w := newWorld(t, lab.Habits{MCPPath: "/v2/mcp", ResourceForm: lab.ResourcePath})
		w.lab.SetFault("other", lab.Fault{Kind: lab.FaultRedirect, Status: status, Location: "/v2/mcp"})
		old := strings.Replace(w.lab.MCPURL(), "/v2/mcp", "/mcp", 1)
		c, _ := w.wired()
		if _, err := c.Login(t.Context(), old, handstamp.LoginOptions{}); err != nil {
			t.Errorf("%d: login: %v\n%s", status, err, w.diary())
			continue
		}
		c, _ = w.wired()
		result, err := c.Login(t.Context(), old, handstamp.LoginOptions{})
		if err != nil || !result.Already || result.Rejected != nil {
			t.Errorf("%d: second login: %+v, %v\n%s", status, result, err, w.diary())
		}
		w.wantTabs(1)
		w.lab.RevokeAccessTokens()
		c, _ = w.wired()
		if _, err := c.Login(t.Context(), old, handstamp.LoginOptions{}); err != nil {
			t.Errorf("%d: third login: %v", status, err)
		}
		w.wantTabs(1)
		w.wantCounts(map[string]int{"token:refresh": 1})
	}
}
