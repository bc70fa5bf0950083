package lab_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/lab"
)

// trouble sets what the personality's requests meet.
func (c *hand) trouble() {
	c.t.Helper()
	p, _ := lab.FindPersonality(c.server.Habits().Name)
	if len(p.Trouble) == 0 {
		c.t.Fatal("it makes no trouble")
	}
	for endpoint, faults := range p.Trouble {
		c.server.SetFault(endpoint, faults...)
	}
}

// wantLogin logs in and returns the refresh token.
func (c *hand) wantLogin() string {
	c.t.Helper()
	r := c.login(nil)
	if !c.works(r.text("access_token")) || r.text("refresh_token") == "" {
		c.t.Errorf("the login has not worked: %s", r.raw)
	}
	return r.text("refresh_token")
}

func (c *hand) wantListed(want ...string) {
	c.t.Helper()
	var got []string
	for _, method := range c.metadata()["token_endpoint_auth_methods_supported"].([]any) {
		got = append(got, method.(string))
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		c.t.Errorf("it lists %v", got)
	}
}

func (c *hand) wantMethod(want string) {
	c.t.Helper()
	if c.method != want {
		c.t.Errorf("registered %s, want %s", c.method, want)
	}
}

// wantLost refreshes and hears nothing of it.
func (c *hand) wantLost(token string) {
	c.t.Helper()
	c.trouble()
	if _, err := c.try(c.tokenRequest(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})); err == nil {
		c.t.Error("the response has come")
	}
	if got := c.server.Audit().Refreshes; got != 1 {
		c.t.Errorf("%d refreshes", got)
	}
}

func (c *hand) wantStepUp(token string) {
	c.t.Helper()
	r := c.call(token, "tools/call", echo)
	if r.status != 403 || !strings.Contains(r.header.Get("WWW-Authenticate"), `scope="tools:call"`) {
		c.t.Errorf("without the scope: %d %q", r.status, r.header.Get("WWW-Authenticate"))
	}
}

// wantEntry logs in without the scope that every request needs.
func (c *hand) wantEntry(params url.Values) {
	c.t.Helper()
	r := c.call(c.login(params).text("access_token"), "tools/list", "{}")
	if r.status != 403 || !strings.Contains(r.header.Get("WWW-Authenticate"), `scope="tools"`) {
		c.t.Errorf("without the first scope: %d %q", r.status, r.header.Get("WWW-Authenticate"))
	}
}

func (c *hand) resourceMetadataURL() string {
	u, err := url.Parse(c.server.MCPURL())
	if err != nil {
		c.t.Fatal(err)
	}
	u.Path = "/.well-known/oauth-protected-resource" + u.Path
	return u.String()
}

func (c *hand) resourceMetadata() map[string]any {
	c.t.Helper()
	return c.get(c.resourceMetadataURL()).document
}

func (c *hand) wantNoResourceMetadata() {
	c.t.Helper()
	if r := c.get(c.resourceMetadataURL()); r.status != 404 {
		c.t.Errorf("resource metadata: %d", r.status)
	}
}

func wantExpiry(want any) func(*testing.T, *hand) {
	return func(t *testing.T, c *hand) {
		if got := c.login(nil).document["expires_in"]; got != want {
			t.Errorf("expires_in is %#v, want %#v", got, want)
		}
	}
}

func wantResource(want func(mcp string) string) func(*testing.T, *hand) {
	return func(t *testing.T, c *hand) {
		if got := c.resourceMetadata()["resource"]; got != want(c.server.MCPURL()) {
			t.Errorf("the resource is %v", got)
		}
		c.wantLogin()
		if got := c.authorize(url.Values{"resource": {c.server.MCPURL()}}).Get("error"); got != "invalid_target" {
			t.Errorf("another string: %q", got)
		}
	}
}

func wantMetadataAt(path string) func(*testing.T, *hand) {
	return func(t *testing.T, c *hand) {
		if r := c.get(c.server.URL() + path); r.status != 200 || r.text("issuer") != c.server.Issuer() {
			t.Errorf("metadata: %d %s", r.status, r.raw)
		}
		if n := strings.Count(path, "/"); n > 3 {
			if r := c.get(c.server.URL() + "/.well-known/oauth-authorization-server"); r.status != 404 {
				t.Errorf("metadata at the root: %d", r.status)
			}
		}
	}
}

func wantIss(announced bool, want func(*hand) string) func(*testing.T, *hand) {
	return func(t *testing.T, c *hand) {
		if got := c.metadata()["authorization_response_iss_parameter_supported"] == true; got != announced {
			t.Errorf("announced: %v", got)
		}
		if got := c.authorize(nil).Get("iss"); got != want(c) {
			t.Errorf("iss is %q", got)
		}
	}
}

func wantEndpoint(member, prefix string) func(*testing.T, *hand) {
	return func(t *testing.T, c *hand) {
		if got, _ := c.metadata()[member].(string); !strings.HasPrefix(got, prefix) {
			t.Errorf("%s is %q", member, got)
		}
	}
}

func wantLong(t *testing.T, c *hand) {
	c.trouble()
	if r := c.get(c.server.URL() + "/.well-known/oauth-authorization-server"); len(r.raw) < 10<<20 {
		t.Errorf("%d bytes", len(r.raw))
	}
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
