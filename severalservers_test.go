package handstamp_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

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
		case r.URL.Path == testenv.AtServer+path && c.status[path] == 200:
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
	if r.URL.Path == testenv.AtResource+testenv.AtMCP {
		var issuers []string
		for _, path := range c.servers {
			issuers = append(issuers, c.URL+path)
		}
		json.NewEncoder(w).Encode(map[string]any{"resource": c.URL + testenv.AtMCP, "authorization_servers": issuers})
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
			w := testenv.New(t, lab.Habits{})
			c := w.Session()
			c.Prompt = handstamp.Prompt{Authorize: testenv.Consented}
			_, err := c.Login(t.Context(), crowd.URL+testenv.AtMCP, handstamp.LoginOptions{})
			if test.want == "protocol" {
				testenv.WantKind(t, err, handstamp.ErrProtocol)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			status, err := c.Status(t.Context(), crowd.URL+testenv.AtMCP)
			if err != nil || status.Issuer != crowd.URL+test.want {
				t.Fatalf("signed in at %+v, %v, want %s", status, err, test.want)
			}
			if test.want == "/one" {
				return
			}
			// The login stays where it is as long as the server lists that one.
			crowd.add("/one", 200, nil)
			login := func() error {
				c := w.Session()
				c.Prompt = handstamp.Prompt{Authorize: testenv.Consented}
				_, err := c.Login(t.Context(), crowd.URL+testenv.AtMCP, handstamp.LoginOptions{Force: true})
				return err
			}
			if err := login(); err != nil {
				t.Fatal(err)
			}
			if status, err := c.Status(t.Context(), crowd.URL+testenv.AtMCP); err != nil || status.Issuer != crowd.URL+"/two" {
				t.Errorf("signed in at %+v, %v, want /two still", status, err)
			}
			crowd.set("/two", 503)
			testenv.WantKind(t, login(), handstamp.ErrUnreachable)
		})
	}
}

// A configured client without an issuer is not sent to whichever server responds first.
func TestConfiguredClientWaitsForTheFirstServer(t *testing.T) {
	crowd := newCrowd(t)
	crowd.add("/one", 503, nil)
	crowd.add("/two", 200, nil)
	c, _ := testenv.New(t, lab.Habits{}).Recorded()
	c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: boundSecret}
	c.Prompt = handstamp.Prompt{Authorize: testenv.Consented}
	_, err := c.Login(t.Context(), crowd.URL+testenv.AtMCP, handstamp.LoginOptions{})
	testenv.WantKind(t, err, handstamp.ErrUnreachable)
}
