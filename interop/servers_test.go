package interop

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// contender is an authorization server of another project, set up one way.
type contender struct {
	name  string
	from  string // the npm or PyPI package or Go module
	what  string // for the page
	start func(t *testing.T, resource string) *authServer
}

func contenders() []contender {
	const oidc, sdk = "oidc-provider", "@modelcontextprotocol/sdk"
	return append([]contender{
		{"oidc-provider", oidc, "its own login and consent pages, its own store; public clients",
			oidcProvider("client_secret_post", "client_secret_basic", "none")},
		{"oidc-provider, basic", oidc, "the same; clients have a secret and send it in the header",
			oidcProvider("client_secret_basic")},
		{"oidc-provider, post", oidc, "the same; clients have a secret and send it in the body",
			oidcProvider("client_secret_post")},
		{"TypeScript SDK", sdk, "`mcpAuthRouter` with the provider of the SDK's examples, extended by rotating refresh tokens and revocation",
			func(t *testing.T, resource string) *authServer { return mcpSDK(t, resource) }},
		{"zitadel/oidc", "github.com/zitadel/oidc/v3", "the module's example server: its login page, its storage, its native client, which is configured by hand",
			startZitadel},
	}, pythonServers()...)
}

// oidcProvider starts oidc-provider with these methods of authentication, the
// last of which is the one that our clients are to register.
func oidcProvider(methods ...string) func(*testing.T, string) *authServer {
	return func(t *testing.T, resource string) *authServer {
		s, connect := newAuthServer(t)
		behind := startProgram(t, s, "oidc-provider.mjs", resource, methods...)
		connect(behind)
		s.scopes, s.register, s.token = []string{"tools"}, "/reg", "/token"
		s.manages, s.method = true, methods[len(methods)-1]
		s.username, s.password = "someone", "anything"
		gate := url.Values{"client_id": {"gate"}, "client_secret": {"the-secret-of-the-gate"}}
		s.verify = introspection(behind+"/token/introspection", gate, methods[0] == "client_secret_basic")
		return s
	}
}

// mcpSDK starts the router of the TypeScript SDK.
func mcpSDK(t *testing.T, resource string, more ...string) *authServer {
	s, connect := newAuthServer(t)
	s.issuer += "/" // as the router spells it
	behind := startProgram(t, s, "mcp-sdk.mjs", resource, more...)
	connect(behind)
	s.scopes, s.register, s.token, s.method = []string{"tools"}, "/register", "/token", "none"
	s.verify = introspection(behind+"/introspect", nil, false)
	return s
}

var page = flag.String("page", "", "write what was seen to this file")

// TestServers lives the life of a login at each server: with the library, where
// each Client stands for a session, and with the command, where each session is a
// process.
func TestServers(t *testing.T) {
	program := built(t)
	var rows rows
	t.Cleanup(func() { // when all have ended
		if *page != "" && !t.Failed() {
			if err := os.WriteFile(*page, []byte(rows.page(t)), 0o644); err != nil {
				t.Error(err)
			}
		}
	})
	for _, c := range contenders() {
		t.Run(c.name+"/library", func(t *testing.T) {
			t.Parallel()
			l := newLibrary(newScene(t, c.start))
			l.seen = rows.of(c.name, "library")
			l.live()
		})
		t.Run(c.name+"/command", func(t *testing.T) {
			t.Parallel()
			cmd := &command{scene: newScene(t, c.start), program: program, home: filepath.Join(t.TempDir(), "home")}
			cmd.seen = rows.of(c.name, "command")
			cmd.live()
		})
	}
}

// rows are what was seen, in the order of the page.
type rows struct {
	mu    sync.Mutex // guards what follows
	steps []string
	cells map[string]string // by step and server
}

// of returns what notes the sightings at a server, in one way.
func (r *rows) of(server, way string) func(step, what string) {
	return func(step, what string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.cells == nil {
			r.cells = make(map[string]string)
		}
		step += " (" + way + ")"
		found := false
		for _, s := range r.steps {
			found = found || s == step
		}
		if !found {
			r.steps = append(r.steps, step)
		}
		r.cells[step+server] = what
	}
}

// ordered returns the steps, the library's first.
func (r *rows) ordered() []string {
	byLibrary := func(step string) bool { return strings.HasSuffix(step, "(library)") }
	command := slices.DeleteFunc(slices.Clone(r.steps), byLibrary)
	return append(slices.DeleteFunc(slices.Clone(r.steps), func(step string) bool { return !byLibrary(step) }), command...)
}

// page returns the page.
func (r *rows) page(t *testing.T) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Authorization servers that others wrote

Written by `+"`make interop-servers`"+` on %s, with %s on %s/%s. Nothing here is edited by hand: it is what was seen.
`+"`make interop`"+`, which is part of `+"`make test`"+`, runs the same and fails where a count differs.

Each server runs on this machine. In front of it is a proxy that counts what the client requests. The Python servers have an MCP
server of their own; for the others one is made with the official Go SDK, and checks each bearer token at the authorization
server itself. A user without a browser walks through its pages. The MCP sessions are the official Go SDK's, through
`+"`Client.HTTPClient`"+` and through `+"`handstamp bridge`"+`. A refresh rotates the refresh token everywhere. A dash: the server can't be
brought to it.

| server | version | how it is set up |
|---|---|---|
`, time.Now().UTC().Format(time.DateOnly), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	var names []string
	for _, c := range contenders() {
		names = append(names, c.name)
		fmt.Fprintf(&b, "| %s | `%s` %s | %s |\n", c.name, c.from[strings.LastIndexByte(c.from, ':')+1:], version(t, c.from), c.what)
	}
	fmt.Fprintf(&b, "\nWhat a session costs at the authorization server:\n\n| session | %s |\n|---|%s\n",
		strings.Join(names, " | "), strings.Repeat("---|", len(names)))
	for _, step := range r.ordered() {
		fmt.Fprintf(&b, "| %s |", step)
		for _, name := range names {
			fmt.Fprintf(&b, " %s |", cmp.Or(r.cells[step+name], "–"))
		}
		b.WriteByte('\n')
	}
	b.WriteString(`
What the servers taught:

- ` + "`oidc-provider`" + ` ignores ` + "`offline_access`" + ` in silence unless the authorization request has
  ` + "`prompt=consent`" + `, as OpenID Connect Core, section 11 allows. Handstamp sends it now
  ([decision](decisions/0023-consent-for-offline-access.md)).
- The example of zitadel/oidc returns ` + "`server_error`" + ` for a client that it does not know. That may pass, so it is no rejection: the
  login is kept, and works again once the client is back.
- The SDK's example provider, as it is, issues no refresh token. A session works as long as the access token; a server that was
  started again, and has forgotten everything, costs one registration and one tab.
- The Python SDK looks a client up by the form's ` + "`client_id`" + `, even under Basic, and ` + "`/revoke`" + ` wants a ` + "`client_secret`" + ` in the form,
  even if empty. Its version 1 calls a failed client authentication ` + "`unauthorized_client`" + `.
- FastMCP's in-memory provider ends the whole grant when an expired access token is presented. Handstamp never presents one.
- FastMCP's proxy registers every client as public; its version 2 gives it a secret all the same, and goes on accepting an access
  token after its grant was revoked, until the token's end.

Keys, certificates, DPoP, pushed requests, devices and services run there too ([decision](decisions/0110-real-servers-for-keys.md)). They taught:

- Whether an assertion is for the issuer or for the token endpoint is the same to ` + "`oidc-provider`" + `; the AT Protocol's provider and
  zitadel/oidc take the issuer alone. The first consumes an assertion before it looks for the nonce of a DPoP proof: a retry needs a new one.
- zitadel/oidc calls whatever is wrong with an assertion ` + "`invalid_grant`" + `, as it calls a refresh token that has ended.
- The AT Protocol's provider reports success for a revocation without a DPoP proof, and revokes nothing; a refresh with another key
  ends its session.
- A server that lists its authorities in the TLS handshake never sees a self-signed client certificate of Go's ` + "`tls.Config.Certificates`" + `.
- Without ` + "`response_types`" + ` a registration is for the code flow, and needs redirect URIs, whatever its grants are.
`)
	return b.String()
}

// version returns the version of an npm or PyPI package or a Go module here.
func version(t *testing.T, from string) string {
	if pypi, ok := strings.CutPrefix(from, "pypi:"); ok {
		environment, name, _ := strings.Cut(pypi, ":")
		out, err := exec.Command(python(environment), "-c",
			"import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	if strings.Contains(from, ".com/") {
		out, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", from).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	var described struct{ Version string }
	raw, err := os.ReadFile("node_modules/" + from + "/package.json")
	if err == nil {
		err = json.Unmarshal(raw, &described)
	}
	if err != nil {
		t.Fatal(err)
	}
	return described.Version
}
