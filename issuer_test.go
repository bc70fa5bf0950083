package handstamp_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

const boundSecret = "a-secret-of-one-issuer"

// newBound returns an MCP server with an authorization server of its own, and the other one that
// its tokens come from and that the client belongs to.
func newBound(t *testing.T, h lab.Habits) (*testenv.Env, *lab.Server) {
	t.Helper()
	w := testenv.New(t, h)
	owner, err := lab.Start(lab.NoneFirst())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(owner.Close)
	testenv.Processes.Watch(t, owner)
	w.Lab.MoveTo(owner)
	for _, s := range []*lab.Server{w.Lab, owner} {
		s.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: boundSecret, Method: lab.MethodPost})
	}
	return w, owner
}

// wantSecretAt checks that the secret was sent to the owner's host, and to no other.
func wantSecretAt(t *testing.T, line *testenv.Recorder, owner *lab.Server, want bool) {
	t.Helper()
	found := false
	for _, r := range line.Requests(0) {
		switch {
		case !proctest.Contains(r.Raw, boundSecret):
		case strings.HasSuffix(owner.URL(), r.Host):
			found = true
		default:
			t.Errorf("the secret was sent to %s%s", r.Host, r.Path)
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
			session := func() (*handstamp.Client, *testenv.Recorder) {
				c, line := w.Recorded()
				c.Registration = &handstamp.Registration{Issuer: owner.Issuer(), ClientID: "app", ClientSecret: boundSecret}
				line.OnJSON(testenv.AtResource, func(document map[string]any) { delete(document, "authorization_servers") })
				return c, line
			}
			c, line := session()
			w.MustLogin(c)
			wantSecretAt(t, line, owner, true)
			owner.RevokeAccessTokens()
			c, line = session()
			w.MustCall(c)
			wantSecretAt(t, line, owner, true)
			c, line = session()
			if result, err := c.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{}); err != nil || !result.Revoked {
				t.Errorf("logout: %+v, %v", result, err)
			}
			wantSecretAt(t, line, owner, true)

			// A login from elsewhere that was made with that client is bound to its issuer too.
			c, line = session()
			imported, err := c.Import(t.Context(), w.Lab.MCPURL(), handstamp.ImportedLogin{TokenResponse: tokenResponse("", "a-refresh-token")}, handstamp.ImportOptions{Force: true})
			if err == nil && imported.Status.Issuer != owner.Issuer() {
				t.Errorf("imported for %s", imported.Status.Issuer)
			}
			wantSecretAt(t, line, owner, false)
		})
	}
}

// A server that names another issuer gets nothing, and no advice to give it something.
func TestConfiguredIssuerWhereTheServerNamesAnother(t *testing.T) {
	w, owner := newBound(t, lab.Habits{OneOrigin: true})
	w.Lab.MoveTo(nil)
	c, line := w.Recorded()
	c.Registration = &handstamp.Registration{Issuer: owner.Issuer(), ClientID: "app", ClientSecret: boundSecret}
	err := w.Login(c)
	testenv.WantKind(t, err, handstamp.ErrInvalidConfig)
	var e *handstamp.Error
	if !errors.As(err, &e) || e.Setting != "" || !strings.Contains(e.Hint, "registered there") {
		t.Errorf("the error does not say what helps: %v", err)
	}
	if _, err := c.Import(t.Context(), w.Lab.MCPURL(), handstamp.ImportedLogin{
		Registration:  handstamp.Registration{Issuer: w.Lab.Issuer()},
		TokenResponse: tokenResponse("access", "refresh"),
	}, handstamp.ImportOptions{Offline: true}); !errors.Is(err, handstamp.ErrInvalidConfig) {
		t.Errorf("a login of another issuer was taken with the client: %v", err)
	}
	wantSecretAt(t, line, owner, false)
	w.WantTabs(0)

	// Neither does a client without an issuer follow its server to another one.
	c, line = w.Recorded()
	c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: boundSecret, TokenEndpointAuthMethod: lab.MethodPost}
	w.MustLogin(c)
	wantSecretAt(t, line, w.Lab, true)
	w.Lab.MoveTo(owner)
	c, line = w.Recorded()
	c.Registration = &handstamp.Registration{ClientID: "app", ClientSecret: boundSecret, TokenEndpointAuthMethod: lab.MethodPost}
	err = w.Login(c)
	testenv.WantKind(t, err, handstamp.ErrProtocol)
	if !errors.As(err, &e) || strings.Contains(e.Hint, "configure the issuer") {
		t.Errorf("the hint leads around the check: %v", err)
	}
	wantSecretAt(t, line, w.Lab, false)
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

// A server of MCP 2025-03-26 is its own issuer, with metadata or without.
func TestConfiguredIssuerThatIsTheServerItself(t *testing.T) {
	for name, h := range map[string]lab.Habits{
		"metadata": {ResourceForm: lab.ResourceNone, OneOrigin: true},
		"none":     {ResourceForm: lab.ResourceNone, OneOrigin: true, ServerForm: lab.ServerNone, Iss: lab.IssOff},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, h)
			w.Lab.RegisterClient(lab.ConfiguredClient{ID: "app", Secret: boundSecret, Method: lab.MethodPost})
			c, line := w.Recorded()
			c.Registration = &handstamp.Registration{
				Issuer: w.Lab.URL(), ClientID: "app", ClientSecret: boundSecret, TokenEndpointAuthMethod: lab.MethodPost,
			}
			w.MustLogin(c)
			wantSecretAt(t, line, w.Lab, true)
		})
	}
}

// Many sessions come to a server that names another authorization server while
// the old one still refreshes: one signs in, and all get through.
func TestManySessionsAtAServerThatMoved(t *testing.T) {
	w := testenv.New(t, testenv.Personality(t, "issuer-moved"))
	w.MustCall(w.Session())
	other, err := lab.Start(testenv.Personality(t, "issuer-moved"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	testenv.Processes.Watch(t, other)
	w.Lab.ExpireAccessTokens()
	w.Lab.MoveTo(other)
	var sessions sync.WaitGroup
	for range 20 {
		c := w.Session()
		sessions.Go(func() {
			if err := w.Call(c); err != nil {
				t.Error(err)
			}
		})
	}
	sessions.Wait()
	w.WantTabs(2)
}

// The secret of a configured client does not follow a server that names another
// authorization server.
func TestConfiguredSecretStaysWithItsIssuer(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	key, _ := store.NewKey(w.Lab.MCPURL(), "")
	rec := &record.Record{Version: 1, Key: key, ServerURL: w.Lab.MCPURL()}
	rec.AddClient(&record.Client{Issuer: "https://home.example", ID: "mine", Secret: "s3cret", Source: record.SourceConfigured, Method: "client_secret_post", MethodSource: record.MethodConfigured})
	if err := record.Put(t.Context(), w.Store, rec); err != nil {
		t.Fatal(err)
	}
	c := w.Session()
	c.Registration = &handstamp.Registration{ClientID: "mine", ClientSecret: "s3cret"}
	if err := w.Call(c); !errors.Is(err, handstamp.ErrProtocol) {
		t.Errorf("error %v", err)
	}
	if n := w.Lab.Counts()["token:code"] + w.Lab.Counts()["token"]; n != 0 || w.Tabs.Load() != 0 {
		t.Errorf("%d token requests, %d tabs", n, w.Tabs.Load())
	}
}

// An authorization server without metadata is a mistake, and not a passing trouble.
func TestIssuerWithoutMetadata(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.Lab.SetFault("server_metadata", lab.Fault{Kind: lab.FaultStatus, Status: 404})
	err := w.Call(w.Session())
	if errors.Is(err, handstamp.ErrUnreachable) || !errors.Is(err, handstamp.ErrProtocol) {
		t.Errorf("error %v, want ErrProtocol", err)
	}
}

// Of several authorization servers that a resource names, the next login is at
// the one that the last was at.
func TestLoginStaysAtItsServer(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	other := testenv.New(t, lab.NoneFirst())
	c := w.Session()
	c.AuthTransport = testenv.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil || !strings.Contains(req.URL.Path, "oauth-protected-resource") {
			return resp, err
		}
		defer resp.Body.Close()
		var document map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&document); err != nil {
			return nil, err
		}
		document["authorization_servers"] = []string{other.Lab.Issuer(), w.Lab.Issuer()}
		raw, err := json.Marshal(document)
		resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(string(raw))), int64(len(raw))
		return resp, err
	})
	if _, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	w.WantTabs(2)
	if asked := len(other.Lab.Requests()); asked != 0 {
		t.Errorf("the other server got %d requests", asked)
	}
}

// An authorization server that breaks the rules is rejected by default, by an error that names
// the one way through; described by the user it serves, in later sessions too.
func TestAuthorizationServerDescribedByTheUser(t *testing.T) {
	for name, test := range map[string]struct {
		habits    lab.Habits
		metadata  func(w *testenv.Env, document map[string]any)
		described func(w *testenv.Env) handstamp.AuthorizationServer
	}{
		"a template as its issuer (Entra ID, /common)": {
			habits:   lab.Habits{IssuerPath: "/9188040d-6c67-4c5b-b112-36a304b66dad", Iss: lab.IssOn},
			metadata: func(w *testenv.Env, d map[string]any) { d["issuer"] = w.Lab.URL() + "/{tenantid}" },
		},
		"another issuer (Entra ID, /organizations)": {
			habits:   lab.Habits{Iss: lab.IssOff},
			metadata: func(w *testenv.Env, d map[string]any) { d["issuer"] = w.Lab.URL() + "/72f988bf/v2.0" },
		},
		"another host as its issuer": {
			habits:   lab.Habits{Iss: lab.IssOff},
			metadata: func(_ *testenv.Env, d map[string]any) { d["issuer"] = "https://tenant.idp.example/" },
		},
		"no issuer": {
			metadata: func(_ *testenv.Env, d map[string]any) { delete(d, "issuer") },
		},
		"no token endpoint": {
			metadata: func(_ *testenv.Env, d map[string]any) { delete(d, "token_endpoint") },
			described: func(w *testenv.Env) handstamp.AuthorizationServer {
				return handstamp.AuthorizationServer{Issuer: w.Lab.Issuer(), TokenEndpoint: w.Lab.URL() + "/token"}
			},
		},
		"no metadata at all": {
			habits: lab.Habits{ServerForm: lab.ServerNone},
			described: func(w *testenv.Env) handstamp.AuthorizationServer {
				return handstamp.AuthorizationServer{
					AuthorizationEndpoint: w.Lab.URL() + "/authorize", TokenEndpoint: w.Lab.URL() + "/token",
					RegistrationEndpoint: w.Lab.URL() + "/register", RevocationEndpoint: w.Lab.URL() + "/revoke",
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, test.habits)
			session := func() *handstamp.Client {
				c, line := w.Recorded()
				if test.metadata != nil {
					line.OnJSON(testenv.AtServer, func(d map[string]any) { test.metadata(w, d) })
				}
				return c
			}
			err := w.Login(session())
			testenv.WantKind(t, err, handstamp.ErrProtocol)
			e, ok := errtype.As[*handstamp.Error](err)
			if !ok || e.Setting != "AuthorizationServer" || !strings.Contains(e.Hint, "AuthorizationServer") {
				t.Errorf("the error does not name the way through: %v", err)
			}
			w.WantTabs(0)

			described := handstamp.AuthorizationServer{Issuer: w.Lab.Issuer()}
			if test.described != nil {
				described = test.described(w)
			}
			c := session()
			c.AuthorizationServer = &described
			w.MustLogin(c)
			w.MustCall(c)
			w.Lab.RevokeAccessTokens()
			c = session() // even one that knows nothing of the description
			w.MustCall(c)
			w.WantTabs(1)
			status, err := c.Status(t.Context(), w.Lab.MCPURL())
			if err != nil || !strings.HasPrefix(status.Issuer, w.Lab.URL()) || strings.Contains(status.Issuer, "{") {
				t.Errorf("status %+v, %v", status, err)
			}
			if result, err := c.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{}); err != nil || !result.Revoked {
				t.Errorf("logout: %+v, %v", result, err)
			}
		})
	}
}

// The description widens nothing else: whose client it is, what the callback must prove, and
// what a URL may be.
func TestDescriptionsThatCannotWork(t *testing.T) {
	for name, test := range map[string]struct {
		described    handstamp.AuthorizationServer
		registration *handstamp.Registration
		kind         error
	}{
		"nothing":              {handstamp.AuthorizationServer{}, nil, handstamp.ErrInvalidConfig},
		"one endpoint":         {handstamp.AuthorizationServer{TokenEndpoint: "https://as.example/token"}, nil, handstamp.ErrInvalidConfig},
		"plain http":           {handstamp.AuthorizationServer{Issuer: "http://as.example"}, nil, handstamp.ErrInvalidConfig},
		"a script":             {handstamp.AuthorizationServer{AuthorizationEndpoint: "javascript:1", TokenEndpoint: "https://as.example/token"}, nil, handstamp.ErrInvalidConfig},
		"a template":           {handstamp.AuthorizationServer{Issuer: "https://as.example/{tenantid}"}, nil, handstamp.ErrInvalidConfig},
		"another client's":     {handstamp.AuthorizationServer{Issuer: "https://as.example"}, &handstamp.Registration{Issuer: "https://other.example", ClientID: "app"}, handstamp.ErrInvalidConfig},
		"an issuer of nothing": {handstamp.AuthorizationServer{Issuer: "HOST/nothing"}, nil, handstamp.ErrInvalidConfig},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{})
			c, _ := w.Recorded()
			test.described.Issuer = strings.ReplaceAll(test.described.Issuer, "HOST", w.Lab.URL())
			c.AuthorizationServer, c.Registration = &test.described, test.registration
			testenv.WantKind(t, w.Login(c), test.kind)
			w.WantTabs(0)
			w.WantCounts(map[string]int{"register": 0})
		})
	}
}

// Endpoints alone leave the issuer open. A callback that names another one than their origin is
// rejected by an error that says what to add, and with that added the login works.
func TestDescribedEndpointsWithAnotherIssuer(t *testing.T) {
	w := testenv.New(t, lab.Habits{ServerForm: lab.ServerNone, IssuerPath: "/tenant", Iss: lab.IssOn})
	c, _ := w.Recorded()
	described := handstamp.AuthorizationServer{
		AuthorizationEndpoint: w.Lab.URL() + "/authorize", TokenEndpoint: w.Lab.URL() + "/token",
		RegistrationEndpoint: w.Lab.URL() + "/register",
	}
	c.AuthorizationServer = &described
	err := w.Login(c)
	testenv.WantKind(t, err, handstamp.ErrProtocol)
	if e, ok := errtype.As[*handstamp.Error](err); !ok || !strings.Contains(e.Hint, "with its issuer") || !strings.Contains(err.Error(), w.Lab.Issuer()) {
		t.Errorf("error %v", err)
	}
	described.Issuer = w.Lab.Issuer()
	d, _ := w.Recorded()
	d.AuthorizationServer = &described
	w.MustLogin(d)
	w.MustCall(d)
}
