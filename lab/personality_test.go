package lab_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// shown is what shows a personality's habit on the wire, by name.
var shown = map[string]func(t *testing.T, c *hand){
	"none-first": func(t *testing.T, c *hand) {
		c.wantListed("none", "client_secret_post", "client_secret_basic")
		c.register(map[string]any{"token_endpoint_auth_method": "none"})
		c.wantMethod("client_secret_post")
		c.method = lab.MethodNone
		c.refresh("x", nil).is(t, 401, "invalid_client")
	},
	"basic-first-public": func(t *testing.T, c *hand) {
		c.wantListed("client_secret_basic", "client_secret_post", "none")
		c.register(nil)
		c.wantMethod("none")
		c.wantLogin()
	},
	"registers-otherwise": func(t *testing.T, c *hand) {
		c.register(map[string]any{"token_endpoint_auth_method": "none"})
		c.wantMethod("client_secret_basic")
		if !strings.ContainsAny(c.secret, "%+ :/&") {
			t.Errorf("a secret that needs no encoding")
		}
		r := c.tokenRequest(url.Values{"grant_type": {"refresh_token"}})
		r.Header.Set("Authorization", basic(c.id, c.secret))
		c.do(r).is(t, 401, "invalid_client")
		c.wantLogin()
	},
	"secret-no-method": func(t *testing.T, c *hand) {
		if r := c.register(nil); r.status != 201 || r.text("client_secret") == "" || r.document["token_endpoint_auth_method"] != nil {
			t.Errorf("registered: %d %s", r.status, r.raw)
		}
		c.method = lab.MethodNone
		if r := c.refresh("x", nil); r.status != 422 || r.document["error"] != nil || r.text("message") == "" {
			t.Errorf("without the secret: %d %s", r.status, r.raw)
		}
		c.method = lab.MethodPost
		c.wantLogin()
	},
	"none-but-demands": func(t *testing.T, c *hand) {
		c.register(nil)
		c.wantMethod("none")
		c.refresh("x", nil).is(t, 401, "invalid_client")
		c.method = lab.MethodPost
		c.wantLogin()
	},
	"lists-basic-takes-post": func(t *testing.T, c *hand) {
		c.wantListed("client_secret_basic", "client_secret_post")
		c.register(map[string]any{"token_endpoint_auth_method": "client_secret_basic"})
		code := c.authorize(nil).Get("code")
		c.method = lab.MethodBasic
		c.do(c.tokenRequest(c.codeForm(code, nil))).is(t, 401, "invalid_client")
		c.method = lab.MethodPost
		c.do(c.tokenRequest(c.codeForm(code, nil))).is(t, 200, "")
	},
	"forgot-client-page": func(t *testing.T, c *hand) {
		token := c.login(nil).text("refresh_token")
		c.server.ForgetClients()
		if r := c.get(c.authorization(nil)); r.status != 422 || r.header.Get("Location") != "" {
			t.Errorf("authorize: %d", r.status)
		}
		c.refresh(token, nil).is(t, 400, "invalid_grant")
	},
	"forgot-client-token": func(t *testing.T, c *hand) {
		token := c.login(nil).text("refresh_token")
		c.server.ForgetClients()
		c.refresh(token, nil).is(t, 401, "invalid_client")
	},
	"expiring-secret": func(t *testing.T, c *hand) {
		r := c.register(nil)
		if ends, ok := r.document["client_secret_expires_at"].(float64); !ok || ends == 0 {
			t.Errorf("the secret ends at %v", r.document["client_secret_expires_at"])
		}
		token := c.wantLogin()
		c.server.Advance(48 * time.Hour)
		c.refresh(token, nil).is(t, 401, "invalid_client")
		if n := c.server.Audit().EndedSecrets; n != 1 {
			t.Errorf("%d requests with a secret past its end", n)
		}
		c.server.SetSecretLifetime(-time.Hour)
		if ends, _ := c.register(nil).document["client_secret_expires_at"].(float64); ends > float64(time.Now().Add(48*time.Hour).Unix()) {
			t.Errorf("a secret that is over ends at %v", ends)
		}
	},
	"exact-redirect": func(t *testing.T, c *hand) {
		r := c.get(c.authorization(url.Values{"redirect_uri": {strings.Replace(redirectURI, "7777", "7778", 1)}}))
		if r.status != 400 {
			t.Errorf("another port: %d", r.status)
		}
		c.wantLogin()
	},
	// The suite takes the port; what the server does is exact-redirect's.
	"port-taken": func(_ *testing.T, c *hand) { c.wantLogin() },
	"grants-enforced": func(t *testing.T, c *hand) {
		c.register(map[string]any{"grant_types": []string{"authorization_code"}})
		if r := c.login(nil); r.text("refresh_token") != "" {
			t.Errorf("a refresh token for a client that did not register the grant type")
		}
	},
	"dcr-allowlist": func(t *testing.T, c *hand) {
		if r := c.register(nil); r.status != 403 || r.raw != "Forbidden" {
			t.Errorf("registered: %d %s", r.status, r.raw)
		}
	},
	"dcr-off": func(t *testing.T, c *hand) {
		c.register(nil).is(t, 400, "dynamic_client_registration_disabled")
	},
	"no-dcr": func(t *testing.T, c *hand) {
		if c.metadata()["registration_endpoint"] != nil || c.register(nil).status != 404 {
			t.Errorf("there is a registration endpoint")
		}
	},
	"no-pkce-listed": func(t *testing.T, c *hand) {
		if c.metadata()["code_challenge_methods_supported"] != nil {
			t.Errorf("PKCE is listed")
		}
	},
	"dpop-listed-only": func(t *testing.T, c *hand) {
		if c.metadata()["dpop_signing_alg_values_supported"] == nil {
			t.Errorf("DPoP is not listed")
		}
		mine := newKey(t, "ES256")
		token := c.boundLogin(mine, nil).text("access_token")
		if r := c.possess("DPoP", token, mine.proof(t, "POST", c.server.MCPURL(), map[string]any{"ath": hashOf(token)})); r.status != 401 {
			t.Errorf("DPoP: %d", r.status)
		}
		c.wantLogin()
	},
	"dpop-offered": func(t *testing.T, c *hand) {
		c.wantPossession()
		c.wantLogin()
	},
	"dpop-required": func(t *testing.T, c *hand) {
		c.wantPossession()
		if c.works(c.login(nil).text("access_token")) {
			t.Errorf("a bearer token works")
		}
	},
	"dpop-challenged": func(t *testing.T, c *hand) {
		c.wantPossession()
		if got := c.call("", "ping", "").header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "DPoP ") {
			t.Errorf("challenge %s", got)
		}
	},
	"dpop-registered": func(t *testing.T, c *hand) {
		if r := c.register(map[string]any{"token_endpoint_auth_method": "none"}); r.document["dpop_bound_access_tokens"] != true {
			t.Errorf("registered %s", r.raw)
		}
		c.refresh("x", nil).is(t, 400, "invalid_request")
		c.wantPossession()
	},
	"dpop-nonces": func(t *testing.T, c *hand) {
		r := c.boundLogin(newKey(t, "ES256"), nil)
		if r.is(t, 400, "use_dpop_nonce"); r.header.Get("DPoP-Nonce") == "" {
			t.Errorf("no nonce")
		}
	},
	"par-required": func(t *testing.T, c *hand) {
		if got := c.authorize(nil).Get("error"); got != "invalid_request" {
			t.Errorf("not pushed: %q", got)
		}
		c.form(c.endpoint("/par"), c.pushForm(nil)).is(t, 201, "")
	},
	"user-authentication": func(t *testing.T, c *hand) {
		if r := c.call(c.login(nil).text("access_token"), "tools/call", echo); r.status != 401 {
			t.Errorf("without acr: %d", r.status)
		}
		if r := c.call(c.login(url.Values{"acr_values": {"gold"}}).text("access_token"), "tools/call", echo); r.status != 200 {
			t.Errorf("with acr: %d", r.status)
		}
	},
	"updated-secret": func(t *testing.T, c *hand) {
		r := c.register(nil)
		update := map[string]any{"client_id": c.id, "redirect_uris": []string{redirectURI}}
		after := c.manage("PUT", r.text("registration_client_uri"), r.text("registration_access_token"), update)
		if after.status != 200 || after.text("client_secret") == c.secret {
			t.Errorf("updated: %d", after.status)
		}
	},
	"initial-token": func(t *testing.T, c *hand) { c.register(nil).is(t, 401, "invalid_token") },
	"key-only": func(t *testing.T, c *hand) {
		c.wantListed("private_key_jwt")
		c.register(map[string]any{"token_endpoint_auth_method": "none"}).is(t, 400, "invalid_client_metadata")
	},
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

// wantSlash shows that each endpoint is behind a slash.
func wantSlash(status int) func(t *testing.T, c *hand) {
	return func(t *testing.T, c *hand) {
		c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		for _, target := range []string{c.server.MCPURL(), c.server.URL() + "/token", c.server.URL() + "/register"} {
			r := c.post(target)
			if r.status != status || !strings.HasSuffix(target+"/", r.header.Get("Location")) {
				t.Errorf("%s: %d %s", target, r.status, r.header.Get("Location"))
			}
			if r := c.post(target + "/"); r.status == 404 || r.status == status {
				t.Errorf("%s/: %d", target, r.status)
			}
		}
	}
}

const echo = `{"name":"echo","arguments":{"text":"hello"}}`

// TestPersonalities shows the habit of every personality to a plain HTTP client.
func TestPersonalities(t *testing.T) {
	seen := make(map[string]bool)
	for _, p := range lab.Personalities() {
		if seen[p.Name] {
			t.Errorf("%s is there twice", p.Name)
		}
		seen[p.Name] = true
		t.Run(p.Name, func(t *testing.T) {
			if p.Habit == "" || p.Seen == "" || p.Client == "" || p.Habits.Name != p.Name {
				t.Errorf("it does not say what it is: %+v", p)
			}
			if found, ok := lab.FindPersonality(p.Name); !ok || found.Habit != p.Habit {
				t.Errorf("it is not found by its name")
			}
			show := shown[p.Name]
			if show == nil {
				t.Fatal("its habit is shown nowhere")
			}
			show(t, start(t, p.Habits))
		})
	}
	for name := range shown {
		if !seen[name] {
			t.Errorf("there is no %s", name)
		}
	}
	if _, ok := lab.FindPersonality("unknown"); ok {
		t.Error("an unknown personality was found")
	}
}
