package lab_test

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// shownTokens shows the habits of the token endpoint, by name.
var shownTokens = map[string]func(t *testing.T, c *hand){
	"rotates-strictly": func(t *testing.T, c *hand) {
		first := c.login(nil).text("refresh_token")
		second := c.refresh(first, nil).text("refresh_token")
		c.refresh(first, nil).is(t, 400, "invalid_grant")
		c.refresh(second, nil).is(t, 400, "invalid_grant")
	},
	"rotates-with-grace": func(t *testing.T, c *hand) {
		first := c.login(nil).text("refresh_token")
		c.wantLost(first)
		c.refresh(first, nil).is(t, 200, "")
	},
	"lost-response": func(t *testing.T, c *hand) {
		first := c.login(nil).text("refresh_token")
		c.wantLost(first)
		c.refresh(first, nil).is(t, 400, "invalid_grant")
	},
	"keeps-refresh-token": func(t *testing.T, c *hand) {
		token := c.login(nil).text("refresh_token")
		for range 2 {
			if r := c.refresh(token, nil); r.status != 200 || r.document["refresh_token"] != nil {
				t.Errorf("refreshed: %d %s", r.status, r.raw)
			}
		}
	},
	"flaky": func(t *testing.T, c *hand) {
		token := c.login(nil).text("refresh_token")
		c.trouble()
		for _, want := range []int{503, 429, 502} {
			if r := c.refresh(token, nil); r.status != want {
				t.Errorf("refreshed: %d, want %d", r.status, want)
			}
		}
		for _, silence := range []time.Duration{2 * time.Second, 0} {
			begun := time.Now()
			if _, err := c.try(c.tokenRequest(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})); err == nil {
				t.Errorf("the connection was not cut")
			}
			if d := time.Since(begun); d < silence {
				t.Errorf("it was silent for %v, not %v", d, silence)
			}
		}
		c.refresh(token, nil).is(t, 200, "")
	},
	"no-expiry":     wantExpiry(nil),
	"expiry-string": wantExpiry("3600"),
	"expiry-zero":   wantExpiry(0.0),
	"jwt-expiry": func(t *testing.T, c *hand) {
		wantExpiry(nil)(t, c)
		if token := c.login(nil).text("access_token"); strings.Count(token, ".") != 2 {
			t.Errorf("no JWT")
		}
	},
	"form-responses": func(t *testing.T, c *hand) {
		r := c.refresh("x", nil)
		values, err := url.ParseQuery(r.raw)
		if err != nil || values.Get("error") != "invalid_grant" || strings.Contains(r.header.Get("Content-Type"), "json") {
			t.Errorf("refreshed: %s %v", r.raw, err)
		}
	},
	"errors-in-200":  func(t *testing.T, c *hand) { c.refresh("x", nil).is(t, 200, "invalid_grant") },
	"odd-error-code": func(t *testing.T, c *hand) { c.refresh("x", nil).is(t, 400, "unauthorized_client") },
	"odd-error-member": func(t *testing.T, c *hand) {
		if r := c.refresh("x", nil); r.status != 400 || r.text("error_code") != "refresh_token_not_found" || r.document["error"] != nil {
			t.Errorf("refreshed: %d %s", r.status, r.raw)
		}
	},
}
