package handstamp_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/lab"
)

const boundSecret = "a-secret-of-one-issuer"

// newBound returns an MCP server with an authorization server of its own, and the other one that
// its tokens come from and that the client belongs to.
func newBound(t *testing.T, h lab.Habits) (*world, *lab.Server) {
	t.Helper()
	w := newWorld(t, h)
	owner, err := lab.Start(lab.NoneFirst())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(owner.Close)
	processes.Watch(t, owner)
	w.lab.MoveTo(owner)
	for _, s := range []*lab.Server{w.lab, owner} {
		s.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: boundSecret, Method: lab.MethodPost})
	}
	return w, owner
}

// wantSecretAt checks that the secret was sent to the owner's host, and to no other.
func wantSecretAt(t *testing.T, line *wire, owner *lab.Server, want bool) {
	t.Helper()
	found := false
	for _, r := range line.requests(0) {
		switch {
		case !proctest.Contains(r.raw, boundSecret):
		case strings.HasSuffix(owner.URL(), r.host):
			found = true
		default:
			t.Errorf("the secret was sent to %s%s", r.host, r.path)
		}
	}
	if found != want {
		t.Errorf("the secret was sent to its issuer: %t, want %t", found, want)
	}
}

// A client that is configured with its issuer is used there, whatever the server omits.
func TestConfiguredIssuerWhereTheServerNamesNone(t *testing.T) {
	for name, h := range map[string]lab.Habits{
		"no resource metadata, and authorization metadata of its own": {ResourceForm: lab.ResourceNone, OneOrigin: true},
		"no metadata at all":                 {ResourceForm: lab.ResourceNone, OneOrigin: true, ServerForm: lab.ServerNone},
		"resource metadata without a server": {OneOrigin: true},
	} {
		t.Run(name, func(t *testing.T) {
			w, owner := newBound(t, h)
			session := func() (*handstamp.Client, *wire) {
				c, line := w.wired()
				c.Registration = &handstamp.Registration{Issuer: owner.Issuer(), ClientID: "app", ClientSecret: boundSecret}
				line.onJSON(atResource, func(document map[string]any) { delete(document, "authorization_servers") })
				return c, line
			}
			c, line := session()
			w.mustLogin(c)
			wantSecretAt(t, line, owner, true)
			owner.RevokeAccessTokens()
			c, line = session()
			w.mustCall(c)
			wantSecretAt(t, line, owner, true)
			c, line = session()
			if result, err := c.Logout(t.Context(), w.lab.MCPURL(), handstamp.LogoutOptions{}); err != nil || !result.Revoked {
				t.Errorf("logout: %+v, %v", result, err)
			}
			wantSecretAt(t, line, owner, true)

			// A login from elsewhere that was made with that client is bound to its issuer too.
			c, line = session()
			adopted, err := c.Import(t.Context(), w.lab.MCPURL(), handstamp.ImportedLogin{TokenResponse: tokenResponse("", "a-refresh-token")}, handstamp.ImportOptions{Force: true})
			if err == nil && adopted.Status.Issuer != owner.Issuer() {
				t.Errorf("adopted for %s", adopted.Status.Issuer)
			}
			wantSecretAt(t, line, owner, false)
		})
	}
}

// A server that names another issuer gets nothing, and no advice to give it something.
func TestConfiguredIssuerWhereTheServerNamesAnother(t *testing.T) {
	w, owner := newBound(t, lab.Habits{OneOrigin: true})
	w.lab.MoveTo(nil)
	c, line := w.wired()
	c.Registration = &handstamp.Registration{Issuer: owner.Issuer(), ClientID: "app", ClientSecret: boundSecret}
	err := w.login(c)
	wantKind(t, err, handstamp.ErrInvalidConfig)
	var e *handstamp.Error
	if !errors.As(err, &e) || e.Setting != "" || !strings.Contains(e.Hint, "registered there") {
		t.Errorf("the error does not say what helps: %v", err)
	}
	if _, err := c.Import(t.Context(), w.lab.MCPURL(), handstamp.ImportedLogin{
		Registration:  handstamp.Registration{Issuer: w.lab.Issuer()},
		TokenResponse: tokenResponse("access", "refresh"),
	}, handstamp.ImportOptions{Offline: true}); !errors.Is(err, handstamp.ErrInvalidConfig) {
		t.Errorf("a login of another issuer was taken with the client: %v", err)
	}
	wantSecretAt(t, line, owner, false)
	w.wantTabs(0)

	// Neither does a client without an issuer follow its server to another one.
	c, line = w.wired()
	c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: boundSecret, TokenEndpointAuthMethod: lab.MethodPost}
	w.mustLogin(c)
	wantSecretAt(t, line, w.lab, true)
	w.lab.MoveTo(owner)
	line = new(wire)
	c, line = w.wired()
	c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: boundSecret, TokenEndpointAuthMethod: lab.MethodPost}
	err = w.login(c)
	wantKind(t, err, handstamp.ErrProtocol)
	if !errors.As(err, &e) || strings.Contains(e.Hint, "configure the issuer") {
		t.Errorf("the error says how to get round itself: %v", err)
	}
	wantSecretAt(t, line, w.lab, false)
}

// crowd is an MCP server that names several authorization servers, each with a path of its own.
type crowd struct {
	*httptest.Server
	mu      sync.Mutex
	servers []string                  // guarded by mu; paths
	doc     map[string]map[string]any // guarded by mu; nil: 404
	status  map[string]int            // guarded by mu
}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	c := &crowd{doc: make(map[string]map[string]any), status: make(map[string]int)}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

// add adds an authorization server whose metadata is changed; nil members are removed.
func (c *crowd) add(path string, status int, changes map[string]any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	issuer := c.URL + path
	doc := map[string]any{
		"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token",
		"registration_endpoint": issuer + "/register", "code_challenge_methods_supported": []string{"S256"},
	}
	for name, value := range changes {
		if doc[name] = value; value == nil {
			delete(doc, name)
		}
	}
	c.servers = append(c.servers, path)
	c.doc[path], c.status[path] = doc, status
}

// set changes the status of a server's metadata.
func (c *crowd) set(path string, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status[path] = status
}

func (c *crowd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	for path, doc := range c.doc {
		switch {
		case r.URL.Path == atServer+path && c.status[path] == 200:
			json.NewEncoder(w).Encode(doc)
			return
		case strings.HasSuffix(r.URL.Path, path) && strings.Contains(r.URL.Path, ".well-known"):
			w.WriteHeader(c.status[path])
			return
		case r.URL.Path == path+"/register":
			w.Write([]byte(`{"client_id":"app","token_endpoint_auth_method":"none"}`))
			return
		case r.URL.Path == path+"/token":
			w.Write([]byte(`{"access_token":"access","refresh_token":"refresh","token_type":"Bearer","expires_in":3600}`))
			return
		}
	}
	if r.URL.Path == atResource+atMCP {
		var issuers []string
		for _, path := range c.servers {
			issuers = append(issuers, c.URL+path)
		}
		json.NewEncoder(w).Encode(map[string]any{"resource": c.URL + atMCP, "authorization_servers": issuers})
		return
	}
	w.WriteHeader(http.StatusNotFound)
}

// Of several authorization servers the first that can be used serves.
func TestFirstUsableAuthorizationServer(t *testing.T) {
	for name, test := range map[string]struct {
		status  int
		changes map[string]any
		want    string // the server that is used; or the kind of error
	}{
		"usable":                   {200, nil, "/one"},
		"absent":                   {404, nil, "/two"},
		"out of order":             {503, nil, "/two"},
		"no token endpoint":        {200, map[string]any{"token_endpoint": nil}, "/two"},
		"no authorization server":  {200, map[string]any{"authorization_endpoint": nil, "token_endpoint": nil, "issuer": nil}, "/two"},
		"no issuer":                {200, map[string]any{"issuer": nil}, "/two"},
		"no PKCE":                  {200, map[string]any{"code_challenge_methods_supported": nil}, "/two"},
		"no registration":          {200, map[string]any{"registration_endpoint": nil}, "/two"},
		"another issuer":           {200, map[string]any{"issuer": "https://evil.example"}, "protocol"},
		"an endpoint without TLS":  {200, map[string]any{"token_endpoint": "http://evil.example/token"}, "protocol"},
		"an endpoint that is none": {200, map[string]any{"service_documentation": "javascript:1"}, "protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			crowd := newCrowd(t)
			crowd.add("/one", test.status, test.changes)
			crowd.add("/two", 200, nil)
			w := newWorld(t, lab.Habits{})
			c := w.session()
			c.Prompt = handstamp.Prompt{Authorize: consented}
			_, err := c.Login(t.Context(), crowd.URL+atMCP, handstamp.LoginOptions{})
			if test.want == "protocol" {
				wantKind(t, err, handstamp.ErrProtocol)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			status, err := c.Status(t.Context(), crowd.URL+atMCP)
			if err != nil || status.Issuer != crowd.URL+test.want {
				t.Fatalf("signed in at %+v, %v, want %s", status, err, test.want)
			}
			if test.want == "/one" {
				return
			}
			// The login stays where it is as long as the server lists that one.
			crowd.add("/one", 200, nil)
			login := func() error {
				c := w.session()
				c.Prompt = handstamp.Prompt{Authorize: consented}
				_, err := c.Login(t.Context(), crowd.URL+atMCP, handstamp.LoginOptions{Force: true})
				return err
			}
			if err := login(); err != nil {
				t.Fatal(err)
			}
			if status, err := c.Status(t.Context(), crowd.URL+atMCP); err != nil || status.Issuer != crowd.URL+"/two" {
				t.Errorf("signed in at %+v, %v, want /two still", status, err)
			}
			crowd.set("/two", 503)
			wantKind(t, login(), handstamp.ErrUnreachable)
		})
	}
}

// A configured client without an issuer is not sent to whichever server answers first.
func TestConfiguredClientWaitsForTheFirstServer(t *testing.T) {
	crowd := newCrowd(t)
	crowd.add("/one", 503, nil)
	crowd.add("/two", 200, nil)
	c, _ := newWorld(t, lab.Habits{}).wired()
	c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: boundSecret}
	c.Prompt = handstamp.Prompt{Authorize: consented}
	_, err := c.Login(t.Context(), crowd.URL+atMCP, handstamp.LoginOptions{})
	wantKind(t, err, handstamp.ErrUnreachable)
}

// A server of MCP 2025-03-26 is its own issuer, with metadata or without.
func TestConfiguredIssuerThatIsTheServerItself(t *testing.T) {
	for name, h := range map[string]lab.Habits{
		"metadata": {ResourceForm: lab.ResourceNone, OneOrigin: true},
		"none":     {ResourceForm: lab.ResourceNone, OneOrigin: true, ServerForm: lab.ServerNone, Iss: lab.IssOff},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, h)
			w.lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: boundSecret, Method: lab.MethodPost})
			c, line := w.wired()
			c.Registration = &handstamp.Registration{
				Issuer: w.lab.URL(), ClientID: "app", ClientSecret: boundSecret, TokenEndpointAuthMethod: lab.MethodPost,
			}
			w.mustLogin(c)
			wantSecretAt(t, line, w.lab, true)
		})
	}
}
