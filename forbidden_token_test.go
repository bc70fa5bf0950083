package handstamp_test

import (
	"net/http"
	"strings"
	"testing"

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
		w := newWorld(t, lab.Habits{})
		c, line := w.wired()
		w.mustCall(c)
		w.lab.ExpireAccessTokens()
		w.lab.Reset()
		line.onAnswer(func(req *http.Request, resp *http.Response) {
			if resp.StatusCode == http.StatusUnauthorized && strings.HasSuffix(req.URL.Path, "/mcp") {
				resp.StatusCode = http.StatusForbidden
				resp.Header.Set("WWW-Authenticate", tc.challenge)
			}
		})
		if err := w.call(c); (err == nil) != (tc.refreshes > 0) {
			t.Errorf("%s: %v", tc.challenge, err)
		}
		w.wantCounts(map[string]int{"token:refresh": tc.refreshes})
		w.wantTabs(1)
	}
}

// TestForbiddenInvalidTokenForEver: a server that says so of every token costs one
// refresh and no tab, and its response is returned.
func TestForbiddenInvalidTokenForEver(t *testing.T) {
	w := newWorld(t, lab.Habits{})
	c, line := w.wired()
	w.mustCall(c)
	w.lab.Reset()
	line.onAnswer(func(req *http.Request, resp *http.Response) {
		if strings.HasSuffix(req.URL.Path, "/mcp") {
			resp.StatusCode = http.StatusForbidden
			resp.Header.Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		}
	})
	resp, err := c.HTTPClient(w.lab.MCPURL()).Post(w.lab.MCPURL(), "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("status %d", resp.StatusCode)
	}
	// The fresh token is sent again a few times, as it may need a moment.
	w.wantCounts(map[string]int{"mcp": 2 + 4, "token:refresh": 1})
	w.wantTabs(1)
}

// TestForbiddenInvalidTokenWithoutRefresh: where the token cannot be refreshed, the user
// signs in, as after a 401.
func TestForbiddenInvalidTokenWithoutRefresh(t *testing.T) {
	w := newWorld(t, lab.Habits{})
	c, line := w.wired()
	w.mustCall(c)
	w.lab.RevokeFamilies()
	line.onAnswer(func(req *http.Request, resp *http.Response) {
		if resp.StatusCode == http.StatusUnauthorized && strings.HasSuffix(req.URL.Path, "/mcp") {
			resp.StatusCode = http.StatusForbidden
		}
	})
	w.mustCall(c)
	w.wantTabs(2)
}
