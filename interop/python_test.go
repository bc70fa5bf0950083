package interop

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/installed"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/secret"
	"github.com/modelcontextprotocol/go-sdk/auth"
)

// The virtual environments, by the major version of the official SDK in them.
const (
	pythonSDK1 = "1"
	pythonSDK2 = "2"
)

// pythonServers are the servers that PyPI has: authorization server and MCP server
// in one.
func pythonServers() []contender {
	const (
		sdk   = "its authorization routes and bearer check, with a provider of ours: every user is let in, refresh tokens rotate, a file keeps all"
		fast  = "its in-memory provider as it is"
		proxy = "its OAuth proxy as it is, with its consent page, in front of oidc-provider, where it is a configured client"
	)
	secret := []string{"client_secret_basic", "client_secret_post"}
	public := []string{"none"}
	return []contender{
		{"Python SDK 2", pypi(pythonSDK2, "mcp"), sdk, pythonServer(pythonSDK2, "sdk", "http", secret)},
		{"Python SDK 2, SSE", pypi(pythonSDK2, "mcp"), "the same, at `/sse`", pythonServer(pythonSDK2, "sdk", "sse", secret)},
		{"Python SDK 1", pypi(pythonSDK1, "mcp"), sdk, pythonServer(pythonSDK1, "sdk", "http", secret)},
		{"Python SDK 1, SSE", pypi(pythonSDK1, "mcp"), "the same, at `/sse`", pythonServer(pythonSDK1, "sdk", "sse", secret)},
		{"FastMCP 4", pypi(pythonSDK2, "fastmcp"), fast, pythonServer(pythonSDK2, "memory", "http", secret)},
		{"FastMCP 4, SSE", pypi(pythonSDK2, "fastmcp"), "the same, at `/sse`", pythonServer(pythonSDK2, "memory", "sse", secret)},
		{"FastMCP 4, proxy", pypi(pythonSDK2, "fastmcp"), proxy, pythonServer(pythonSDK2, "proxy", "http", public)},
		{"FastMCP 2", pypi(pythonSDK1, "fastmcp"), fast, pythonServer(pythonSDK1, "memory", "http", secret)},
		{"FastMCP 2, proxy", pypi(pythonSDK1, "fastmcp"), proxy, pythonServer(pythonSDK1, "proxy", "http", secret)},
	}
}

// pypi says where a package is.
func pypi(environment, name string) string { return "pypi:" + environment + ":" + name }

// python returns the interpreter of a virtual environment.
func python(environment string) string { return filepath.Join(".venv", environment, "bin", "python") }

// pythonServer starts a server of server.py, whose console can give a user clients
// with these methods.
func pythonServer(environment, kind, transport string, kept []string) func(*testing.T, string) *authServer {
	return func(t *testing.T, _ string) *authServer {
		installed.NeedFile(t, "python", filepath.Join(".venv", environment, "installed.txt"),
			"the servers are not installed: run make python-servers")
		s, connect := newAuthServer(t)
		s.register, s.token, s.kept = "/register", "/token", kept
		s.path, s.sse = "/mcp", transport == "sse"
		if s.sse {
			s.path = "/sse"
		}
		// What they list: the proxy's clients are public, and its version 2 does not
		// say so.
		s.method = "client_secret_post"
		if kind == "proxy" && environment == pythonSDK2 {
			s.method = "none"
		}
		args := []string{kind, transport, s.issuer, filepath.Join(t.TempDir(), "state")}
		if kind == "proxy" {
			up := upstream(t, s.issuer, s.path)
			s.pages, s.username, s.password = []string{up.issuer}, up.username, up.password
			args = append(args, up.issuer, upstreamSecret)
			defer func() { s.lifetime = up.lifetime }()
		}
		var p *program
		s.restart = func() {
			if p != nil {
				p.end()
			}
			p = forked(t, environment, args)
			connect(p.url)
		}
		s.restart()
		s.keeps, s.endsExpired, s.keptScope = kind != "memory", kind == "memory", "tools"
		if kind == "proxy" {
			s.keptScope, s.outlives = "tools openid offline_access", environment == pythonSDK1
		}
		s.lifetime = func(d time.Duration) { p.order("lifetime %d", int(d.Seconds())) }
		s.forgetClients = func() { p.order("forget-clients") }
		s.rejectTokens = func() { p.order("reject-tokens") }
		s.verify = accepted(s.issuer + s.path)
		return s
	}
}

// upstreamSecret is the proxy's at the server behind it.
const upstreamSecret = "the-secret-of-the-proxy"

// upstream starts oidc-provider for a proxy whose issuer is base.
func upstream(t *testing.T, base, path string) *authServer {
	s, connect := newAuthServer(t)
	connect(startProgram(t, s, "oidc-provider.mjs", base+path,
		"client_secret_basic", "client_secret_post", "proxy:"+upstreamSecret+":"+base+"/auth/callback"))
	s.username, s.password = "someone", "anything"
	return s
}

// accepted asks an MCP server whether it takes an access token.
func accepted(url string) auth.TokenVerifier {
	return func(ctx context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // which ends the stream of a GET
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Accept", "text/event-stream")
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusUnauthorized:
			return nil, auth.ErrInvalidToken
		case http.StatusForbidden, http.StatusNotFound:
			return nil, fmt.Errorf("%s: %s", url, resp.Status)
		}
		return &auth.TokenInfo{}, nil
	}
}

// keptClient registers a client as a server's console would, for a redirect URI
// at this port, and returns what a user writes down of it: not the method.
func (sc *scene) keptClient(method string, port int) *handstamp.Registration {
	sc.t.Helper()
	redirect := fmt.Sprintf("http://127.0.0.1:%d/callback", port)
	body := fmt.Sprintf(`{"client_name":"kept","redirect_uris":[%q],"grant_types":["authorization_code","refresh_token"],`+
		`"response_types":["code"],"scope":%q,"token_endpoint_auth_method":%q}`, redirect, sc.as.keptScope, method)
	req, err := http.NewRequestWithContext(sc.t.Context(), http.MethodPost,
		strings.TrimSuffix(sc.as.issuer, "/")+sc.as.register, strings.NewReader(body))
	if err != nil {
		sc.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	var client struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	if err := ask(req, &client); err != nil {
		sc.t.Fatal(err)
	}
	return &handstamp.Registration{ClientID: client.ID, ClientSecret: secret.String(client.Secret), RedirectURIs: []string{redirect}}
}

// rejected is a session whose access token the server rejects before its end.
func (l *library) rejected() {
	if l.as.rejectTokens == nil {
		return
	}
	l.as.reset()
	l.as.rejectTokens()
	l.mustCall("rejected token", handstamp.LoginNever)
	l.want("rejected token", l.as.token, 1)
	l.wantTabs("rejected token", 0)
	l.seen("token rejected early", l.as.cost())
}

// restarted is what the server's restart costs a session.
func (l *library) restarted() {
	if l.as.restart == nil {
		return
	}
	l.as.reset()
	l.as.restart()
	if l.as.keeps {
		l.mustCall("restarted server", handstamp.LoginNever)
		l.want("restarted server", "", 0)
		l.refresh()
		l.seen("restarted server", "0 requests")
		return
	}
	if err := l.call(l.session(handstamp.LoginNever)); !errors.Is(err, handstamp.ErrLoginRequired) {
		l.t.Errorf("restarted server: %v, want ErrLoginRequired", err)
	}
	l.as.reset()
	l.mustCall("restarted server", handstamp.LoginAuto)
	l.wantTabs("restarted server", 1)
	l.wantRegistered("restarted server")
	l.seen("restarted server", l.as.cost()+", 1 tab")
}

// keptClients is the life of a login with clients that a user was given at a console,
// and whose methods of authentication the user does not know.
func (l *library) keptClients() {
	for _, method := range l.as.kept {
		k := newLibrary(l.scene)
		k.client = l.keptClient(method, proctest.FreePort(l.t))
		what := "configured client, " + method
		k.as.reset()
		k.mustCall(what, handstamp.LoginAuto)
		k.wantTabs(what, 1)
		k.want(what, k.as.register, 0)
		k.seen(what, k.as.cost()+", 1 tab")
		k.as.reset()
		k.mustCall(what+", second session", handstamp.LoginNever)
		k.want(what+", second session", "", 0)
		k.refresh()
		k.want(what+", refresh", "", 1)
		last := k.grant()
		result, err := k.session(handstamp.LoginNever).Logout(k.t.Context(), k.mcp, handstamp.LogoutOptions{})
		if err != nil || !result.Revoked {
			k.t.Errorf("%s: logout: %+v, %v", what, result, err)
		}
		k.wantDead(what, string(last.AccessToken))
	}
}

// rejected is likewise, through the bridge.
func (c *command) rejected() {
	if c.as.rejectTokens == nil {
		return
	}
	c.as.reset()
	c.as.rejectTokens()
	if err := c.bridge(); err != nil {
		c.t.Errorf("bridge, rejected token: %v", err)
	}
	c.want("bridge, rejected token", c.as.token, 1)
	c.seen("token rejected early, `bridge`", c.as.cost())
}

// restarted is likewise, through the bridge.
func (c *command) restarted() {
	if c.as.restart == nil {
		return
	}
	c.as.reset()
	c.as.restart()
	if err := c.bridge(); err != nil {
		c.t.Errorf("bridge, restarted server: %v", err)
	}
	if c.as.keeps {
		c.want("bridge, restarted server", "", 0)
	} else {
		c.wantRegistered("bridge, restarted server")
	}
	c.seen("restarted server, `bridge`", c.as.cost())
}

// keptClients is likewise, with the command.
func (c *command) keptClients() {
	for _, method := range c.as.kept {
		port := proctest.FreePort(c.t)
		client := c.keptClient(method, port)
		k := &command{scene: c.scene, program: c.program, home: filepath.Join(c.t.TempDir(), "home")}
		args := []string{"login", k.mcp, "--client-id", client.ClientID, "--callback-port", strconv.Itoa(port)}
		if secret := string(client.ClientSecret); secret != "" {
			file := filepath.Join(k.t.TempDir(), "secret.txt")
			if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
				k.t.Fatal(err)
			}
			args = append(args, "--client-secret-file", file)
		}
		what := "configured client, " + method
		k.as.reset()
		k.must(0, args...)
		k.want(what, k.as.register, 0)
		k.seen("`login`, "+what, k.as.cost())
		k.as.reset()
		if err := k.bridge(); err != nil {
			k.t.Errorf("%s: bridge: %v", what, err)
		}
		k.want(what+", bridge", "", 0)
		last, _ := k.must(0, "token", k.mcp, "--refresh")
		k.want(what+", refresh", "", 1)
		if _, said := k.must(0, "logout", k.mcp); !strings.Contains(said, "revoked at the server") {
			k.t.Errorf("%s: logout says:\n%s", what, said)
		}
		k.wantDead(what, last)
	}
}
