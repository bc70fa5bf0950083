package interop

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/lab/mcpserver"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// scene is an MCP server whose tokens come from another project's authorization
// server: that one's own, or one made with the official Go SDK.
type scene struct {
	t    *testing.T
	as   *authServer
	mcp  string // the URL of the MCP server
	seen func(step, what string)
}

func newScene(t *testing.T, start func(*testing.T, string) *authServer) *scene {
	t.Helper()
	mux := http.NewServeMux()
	front := httptest.NewServer(mux)
	t.Cleanup(front.Close)
	sc := &scene{t: t, mcp: front.URL + "/mcp", seen: func(string, string) {}}
	sc.as = start(t, sc.mcp)
	if sc.as.path != "" {
		sc.mcp = cmp.Or(sc.as.mcp, strings.TrimSuffix(sc.as.issuer, "/")+sc.as.path)
		return sc
	}
	const metadata = "/.well-known/oauth-protected-resource/mcp"
	mux.Handle(metadata, auth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
		Resource: sc.mcp, AuthorizationServers: []string{sc.as.issuer}, ScopesSupported: sc.as.scopes,
	}))
	mux.Handle("/mcp", auth.RequireBearerToken(sc.as.verify, &auth.RequireBearerTokenOptions{
		ResourceMetadataURL: front.URL + metadata, AllowMissingExpiration: true,
	})(mcpserver.Handler()))
	return sc
}

// works reports whether the authorization server stands by an access token.
func (sc *scene) works(token string) bool {
	_, err := sc.as.verify(sc.t.Context(), token, nil)
	return err == nil
}

// wantDead checks that an access token does not work after a logout.
func (sc *scene) wantDead(what, token string) {
	sc.t.Helper()
	if sc.works(token) && !sc.as.outlives {
		sc.t.Errorf("%s: the access token works after the logout", what)
	}
}

// expire waits until an access token of short life has ended, for the server
// and for the client, which has its expiry.
func (sc *scene) expire(token string, expiry time.Time) {
	sc.t.Helper()
	proctest.Wait(sc.t, timeout, "the access token expires", func() bool {
		return time.Now().After(expiry) && (sc.as.endsExpired || !sc.works(token))
	})
}

// want checks how many requests the authorization server got.
func (sc *scene) want(what, path string, n int) {
	sc.t.Helper()
	if got := sc.as.asked(path); got != n {
		sc.t.Errorf("%s: %d requests to *%s, want %d; all: %s", what, got, path, n, sc.as.all())
	}
}

// wantRegistered checks that one client was registered, where clients are.
func (sc *scene) wantRegistered(what string) {
	sc.t.Helper()
	if sc.as.register != "" {
		sc.want(what, sc.as.register, 1)
	}
}
