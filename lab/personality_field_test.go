package lab_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// shownField shows the habits of the servers that are run today.
var shownField = map[string]func(t *testing.T, c *hand){
	"form-client-id": func(t *testing.T, c *hand) {
		c.wantListed("client_secret_post", "client_secret_basic")
		c.register(map[string]any{"token_endpoint_auth_method": "client_secret_post"})
		c.wantMethod("client_secret_post")
		c.wantLogin()
	},
	"form-client-id-basic": func(t *testing.T, c *hand) {
		c.register(map[string]any{"token_endpoint_auth_method": "client_secret_post"})
		c.wantMethod("client_secret_basic")
		code := c.authorize(nil).Get("code")
		c.do(c.tokenRequest(c.codeForm(code, nil))).is(t, 401, "invalid_client")
		withID := c.codeForm(code, url.Values{"client_id": {c.id}})
		if r := c.do(c.tokenRequest(withID)); !c.works(r.text("access_token")) {
			t.Errorf("with the id in the form: %d %s", r.status, r.raw)
		}
		other := c.codeForm(c.authorize(nil).Get("code"), url.Values{"client_id": {"ana"}})
		c.do(c.tokenRequest(other)).is(t, 401, "invalid_client")
	},
	"dead-in-other-words": wantDead(400, "invalid_request", `"refresh_token is invalid: the grant is revoked"`),
	"dead-elsewhere":      wantDead(400, "", `"BAD_REFRESH_TOKEN"`),
	"dead-nested":         wantDead(400, "", `{"error":{"code":"INVALID_GRANT"}}`),
	"dead-unauthorized":   wantDead(401, "Unauthorized", `"Invalid refresh token"`),
	"dead-silently":       wantDead(401, "", ""),
	"client-unauthorized": func(t *testing.T, c *hand) {
		token := c.wantLogin()
		c.server.ForgetClients()
		c.refresh(token, nil).is(t, 401, "unauthorized")
	},
	"refresh-scope-wanted": func(t *testing.T, c *hand) {
		token := c.login(url.Values{"scope": {"tools"}}).text("refresh_token")
		c.refresh(token, nil).is(t, 400, "invalid_request")
		c.refresh(token, url.Values{"scope": {"tools"}}).is(t, 200, "")
	},
	"refresh-scope-rejected": func(t *testing.T, c *hand) {
		token := c.login(url.Values{"scope": {"tools"}}).text("refresh_token")
		c.refresh(token, url.Values{"scope": {"tools"}}).is(t, 400, "invalid_scope")
		c.refresh(token, nil).is(t, 200, "")
	},
	"fresh-token-waits": func(t *testing.T, c *hand) {
		token := c.login(nil).text("access_token")
		if c.works(token) {
			t.Error("the token works at once")
		}
		c.server.Advance(time.Second)
		if !c.works(token) {
			t.Error("the token does not work after a second")
		}
	},
}

// wantDead has a grant revoked, and wants this response to its refresh token, again
// and again, while the client is still known.
func wantDead(status int, code, part string) func(*testing.T, *hand) {
	return func(t *testing.T, c *hand) {
		token := c.wantLogin()
		c.server.RevokeFamilies()
		for range 2 {
			r := c.refresh(token, nil)
			if r.status != status || r.text("error") != code || !contains(r.raw, part) {
				t.Errorf("%d %q", r.status, r.raw)
			}
		}
		c.wantLogin()
	}
}

// contains reports whether text has the part; an empty part wants an empty text.
func contains(text, part string) bool {
	return part == "" && text == "" || part != "" && strings.Contains(text, part)
}

// TestRevocationWantsSecret revokes with and without the form member.
func TestRevocationWantsSecret(t *testing.T) {
	for _, method := range []string{lab.MethodNone, lab.MethodBasic, lab.MethodPost} {
		c := start(t, lab.Habits{FormClientID: true, RevokeWantsSecret: true})
		c.register(map[string]any{"token_endpoint_auth_method": method})
		id := url.Values{"client_id": {c.id}}
		code := c.codeForm(c.authorize(nil).Get("code"), id)
		token := c.do(c.tokenRequest(code)).text("refresh_token")
		revoke := func(secret ...string) reply {
			form := url.Values{"token": {token}, "client_id": {c.id}}
			if len(secret) > 0 {
				form["client_secret"] = secret
			}
			r := c.tokenRequest(form)
			r.URL.Path = "/revoke"
			return c.do(r)
		}
		if method != lab.MethodPost { // who sends it anyway
			revoke().is(t, http.StatusBadRequest, "invalid_request")
			if r := revoke(""); r.status != http.StatusOK {
				t.Errorf("%s: with an empty secret: %d %s", method, r.status, r.raw)
			}
		} else if r := revoke(); r.status != http.StatusOK {
			t.Errorf("%s: %d %s", method, r.status, r.raw)
		}
		if n := c.server.Audit().FamiliesRevoked; n != 1 {
			t.Errorf("%s: %d grants revoked", method, n)
		}
	}
}
