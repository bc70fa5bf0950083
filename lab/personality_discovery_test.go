package lab_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/lab"
)

// shownDiscovery shows the habits of metadata, scopes and callbacks, and of hostile servers, by
// name.
var shownDiscovery = map[string]func(t *testing.T, c *hand){
	"resource-rejected": func(t *testing.T, c *hand) {
		if got := c.authorize(nil).Get("error"); got != "invalid_target" {
			t.Errorf("authorize: %q", got)
		}
		if got := c.authorize(url.Values{"resource": {""}}).Get("code"); got == "" {
			t.Errorf("rejected without it")
		}
	},
	"resource-demanded": func(t *testing.T, c *hand) {
		token := c.wantLogin()
		c.refresh(token, url.Values{"resource": {""}}).is(t, 400, "invalid_target")
		c.refresh(token, nil).is(t, 400, "invalid_grant")
	},
	"resource-slash":  wantResource(func(mcp string) string { return mcp + "/" }),
	"resource-origin": wantResource(func(mcp string) string { return strings.TrimSuffix(mcp, "/mcp") }),
	"resource-query":  wantResource(func(mcp string) string { return mcp + "?version=1" }),
	"issuer-slash": func(t *testing.T, c *hand) {
		listed := c.resourceMetadata()["authorization_servers"].([]any)[0]
		if issuer := c.metadata()["issuer"]; issuer != c.server.URL()+"/" || listed != c.server.URL() {
			t.Errorf("issuer %v, listed %v", issuer, listed)
		}
	},
	"issuer-elsewhere": func(t *testing.T, c *hand) {
		if issuer := c.metadata()["issuer"]; issuer != "https://issuer.elsewhere.test" {
			t.Errorf("issuer %v", issuer)
		}
	},
	"issuer-moved": func(t *testing.T, c *hand) {
		other, err := lab.Start(c.server.Habits())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(other.Close)
		token := c.login(nil).text("access_token")
		c.server.MoveTo(other)
		if c.works(token) || c.resourceMetadata()["authorization_servers"].([]any)[0] != other.Issuer() {
			t.Errorf("it has not moved")
		}
	},
	"oidc-append": wantMetadataAt("/realms/lab/.well-known/openid-configuration"),
	"oidc-insert": wantMetadataAt("/.well-known/openid-configuration/oauth2/lab"),
	"path-insert": wantMetadataAt("/.well-known/oauth-authorization-server/oauth/lab"),
	"root-only": func(t *testing.T, c *hand) {
		wantMetadataAt("/.well-known/oauth-authorization-server")(t, c)
		c.wantNoResourceMetadata()
	},
	"defaults-only": func(t *testing.T, c *hand) {
		if r := c.get(c.server.URL() + "/.well-known/oauth-authorization-server"); r.status != 404 {
			t.Errorf("metadata: %d", r.status)
		}
		c.wantNoResourceMetadata()
		c.register(nil)
		c.wantLogin()
	},
	"metadata-down": func(t *testing.T, c *hand) {
		token := c.wantLogin()
		c.trouble()
		for _, at := range []string{c.server.URL() + "/.well-known/oauth-authorization-server", c.resourceMetadataURL()} {
			if r := c.get(at); r.status != 503 {
				t.Errorf("%s: %d", at, r.status)
			}
		}
		c.refresh(token, nil).is(t, 200, "")
	},
	"offline-listed": func(t *testing.T, c *hand) {
		if c.login(nil).text("refresh_token") != "" || c.login(url.Values{"scope": {"tools offline_access"}}).text("refresh_token") == "" {
			t.Errorf("a refresh token does not depend on offline_access")
		}
	},
	"offline-forbidden": func(t *testing.T, c *hand) {
		if got := c.authorize(url.Values{"scope": {"tools offline_access"}}).Get("error"); got != "invalid_scope" {
			t.Errorf("authorize: %q", got)
		}
		if c.login(url.Values{"scope": {"tools"}}).text("refresh_token") != "" {
			t.Errorf("a refresh token comes without being requested")
		}
		c.wantEntry(nil)
	},
	"no-scope-at-registration": func(t *testing.T, c *hand) {
		c.register(map[string]any{"scope": "tools"}).is(t, 403, "insufficient_scope")
		c.register(nil)
		c.wantLogin()
	},
	"localhost-only": func(t *testing.T, c *hand) {
		for _, rejected := range []map[string]any{
			{"application_type": "web", "redirect_uris": []string{"http://127.0.0.1:1/callback"}},
			{"application_type": "native", "redirect_uris": []string{"http://localhost:1/callback"}},
		} {
			if r := c.register(rejected); r.status != 400 {
				t.Errorf("%v: %d", rejected, r.status)
			}
		}
		if r := c.register(map[string]any{"application_type": "web", "redirect_uris": []string{"http://localhost:1/callback"}}); r.status != 201 {
			t.Errorf("a web client on localhost: %d %s", r.status, r.raw)
		}
	},
	"secret-beside-none": func(t *testing.T, c *hand) {
		c.wantListed("none")
		c.register(nil)
		c.wantMethod("none")
		c.refresh("x", nil).is(t, 401, "invalid_client")
		c.method = lab.MethodPost
		c.wantLogin()
	},
	"offline-not-allowed": func(t *testing.T, c *hand) {
		code := c.authorize(url.Values{"scope": {"tools offline_access"}}).Get("code")
		c.do(c.tokenRequest(c.codeForm(code, nil))).is(t, 400, "not_allowed")
		if c.login(url.Values{"scope": {"tools"}}).text("refresh_token") == "" {
			t.Errorf("no refresh token without the scope")
		}
	},
	"consent-by-post": func(t *testing.T, c *hand) {
		_, after, _ := strings.Cut(c.get(c.authorization(nil)).raw, `action="`)
		action, _, _ := strings.Cut(after, `"`)
		if got := c.do(c.request(http.MethodPost, action, "")).status; got != http.StatusTemporaryRedirect {
			t.Errorf("the button: %d", got)
		}
	},
	"google-offline": func(t *testing.T, c *hand) {
		offline := url.Values{"access_type": {"offline"}}
		for i, want := range []bool{true, false} {
			if got := c.login(offline).text("refresh_token") != ""; got != want {
				t.Errorf("login %d: refresh token %v", i, got)
			}
		}
		offline.Set("prompt", "consent")
		if c.login(offline).text("refresh_token") == "" || c.login(nil).text("refresh_token") != "" {
			t.Errorf("prompt=consent does not decide")
		}
	},
	"step-up": func(t *testing.T, c *hand) {
		c.wantStepUp(c.login(url.Values{"scope": {"tools"}}).text("access_token"))
		token := c.login(url.Values{"scope": {"tools tools:call"}}).text("access_token")
		if r := c.call(token, "tools/call", echo); r.status != 200 {
			t.Errorf("with the scope: %d", r.status)
		}
		c.wantEntry(url.Values{"scope": {"tools:call"}})
	},
	"step-up-never": func(t *testing.T, c *hand) {
		c.wantStepUp(c.login(url.Values{"scope": {"tools tools:call"}}).text("access_token"))
	},
	"lazy-auth": func(t *testing.T, c *hand) {
		for method, want := range map[string]int{"initialize": 200, "tools/list": 200, "tools/call": 401} {
			if r := c.call("", method, echo); r.status != want {
				t.Errorf("%s: %d, want %d", method, r.status, want)
			}
		}
	},
	"iss-on":      wantIss(true, func(c *hand) string { return c.server.Issuer() }),
	"iss-off":     wantIss(false, func(*hand) string { return "" }),
	"iss-wrong":   wantIss(true, func(*hand) string { return "https://issuer.elsewhere.test" }),
	"iss-missing": wantIss(true, func(*hand) string { return "" }),

	"challenge-elsewhere": func(t *testing.T, c *hand) {
		challenge := c.post(c.server.MCPURL()).header.Get("WWW-Authenticate")
		if !strings.Contains(challenge, "inner.elsewhere.test") {
			t.Errorf("challenge %q", challenge)
		}
	},
	"issuers-several": func(t *testing.T, c *hand) {
		r := c.get(strings.Replace(c.server.MCPURL(), "/mcp", "/.well-known/oauth-protected-resource/mcp", 1))
		if named, _ := r.document["authorization_servers"].([]any); len(named) != 3 || named[2] != c.server.Issuer() {
			t.Errorf("names %v", named)
		}
		if r := c.get(c.server.URL() + "/.well-known/oauth-authorization-server/retired"); r.status != 404 {
			t.Errorf("the first: %d", r.status)
		}
	},
	"metadata-split": func(t *testing.T, c *hand) {
		for path, whole := range map[string]bool{"oauth-authorization-server": false, "openid-configuration": true} {
			r := c.get(c.server.URL() + "/.well-known/" + path)
			if r.status != 200 || (r.document["registration_endpoint"] != nil) != whole || (r.document["code_challenge_methods_supported"] != nil) != whole {
				t.Errorf("%s: %d %s", path, r.status, r.raw)
			}
		}
	},
	"slash-redirect":     wantSlash(307),
	"slash-redirect-301": wantSlash(301),
	"hostile-browser":    wantEndpoint("authorization_endpoint", "https://169.254."),

	// Not a habit of the server: the suite's user shows it.
	"forged-callback": func(_ *testing.T, c *hand) { c.wantLogin() },
	"hostile-script":  wantEndpoint("authorization_endpoint", "javascript:"),
	"hostile-file":    wantEndpoint("authorization_endpoint", "file:"),
	"hostile-shell":   wantEndpoint("authorization_endpoint", "http://127.0.0.1"),
	"hostile-private": wantEndpoint("token_endpoint", "http://169.254."),
	"hostile-clear":   wantEndpoint("token_endpoint", "http://token.elsewhere.test"),
	"hostile-huge":    wantLong,
	"hostile-bomb": func(t *testing.T, c *hand) {
		c.http.Transport.(*http.Transport).DisableCompression = false
		wantLong(t, c)
	},
}
