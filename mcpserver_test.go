package handstamp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// public is an MCP server and its authorization server that are not on the
// loopback interface by name, though they are by address. It stands for servers
// on the internet, which tests cannot have: what its metadata names has to be
// public, too.
type public struct {
	origin string

	mu       sync.Mutex
	resource map[string]any // guarded by mu
	server   map[string]any // guarded by mu
	token    int            // guarded by mu; requests to the token endpoint
}

// newPublic starts the server, and makes its certificate one that is trusted
// until the test ends.
func newPublic(t *testing.T) *public {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("Windows connects to no unspecified address, which is the name of the server here")
	}
	p := new(public)
	server := httptest.NewTLSServer(p)
	t.Cleanup(server.Close)
	_, port, _ := strings.Cut(server.Listener.Addr().String(), ":")
	p.origin = "https://0.0.0.0:" + port
	p.reset()

	before := http.DefaultTransport
	trusting := before.(*http.Transport).Clone()
	trusting.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	trusting.TLSClientConfig.ServerName = "example.com" // which the certificate is for
	http.DefaultTransport = trusting
	t.Cleanup(func() {
		trusting.CloseIdleConnections()
		http.DefaultTransport = before
	})
	return p
}

func (p *public) mcpURL() string { return p.origin + testenv.AtMCP }

// reset makes the metadata right.
func (p *public) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resource = map[string]any{"resource": p.mcpURL(), "authorization_servers": []string{p.origin}}
	p.server = map[string]any{
		"issuer": p.origin, "authorization_endpoint": p.origin + "/authorize", "token_endpoint": p.origin + testenv.AtToken,
		"revocation_endpoint": p.origin + testenv.AtRevoke, "code_challenge_methods_supported": []string{"S256"},
	}
	p.token = 0
}

// change gives the metadata members of another value.
func (p *public) change(resource, server map[string]any) {
	p.reset()
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.Copy(p.resource, resource)
	maps.Copy(p.server, server)
}

// ServeHTTP implements http.Handler.
func (p *public) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	var document any
	switch r.URL.Path {
	case testenv.AtResource + testenv.AtMCP:
		document = p.resource
	case testenv.AtServer:
		document = p.server
	case testenv.AtToken:
		p.token++
		document = map[string]any{"access_token": "access", "token_type": "Bearer", "refresh_token": "refresh"}
	case testenv.AtRevoke:
		document = map[string]any{}
	default:
		if r.Header.Get("Authorization") == "Bearer access" {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	json.NewEncoder(w).Encode(document)
}

// login signs in with a client that is configured, through the guarded transport
// that a Client makes for itself.
func (p *public) login(t *testing.T, prompts *int) (*handstamp.Client, error) {
	c := &handstamp.Client{
		Registration: &handstamp.Registration{ClientID: "app", ClientSecret: "a-secret", TokenEndpointAuthMethod: "client_secret_post"},
		Prompt: handstamp.Prompt{Authorize: func(_ context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
			*prompts++
			u, err := url.Parse(r.URL)
			if err != nil {
				return nil, err
			}
			return url.Values{"code": {"a-code"}, "state": {u.Query().Get("state")}}, nil
		}},
	}
	t.Cleanup(func() { c.Close(context.WithoutCancel(t.Context())) })
	_, err := c.Login(t.Context(), p.mcpURL(), handstamp.LoginOptions{})
	return c, err
}

// privateHosts are spellings of addresses that no server on the internet has.
var privateHosts = []string{
	"10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "127.0.0.1", "127.1.2.3", "[::1]", "[::]",
	"[::ffff:10.0.0.1]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::1]", "[2002:7f00:1::]",
	"[2001::1]", "[fd00::1]", "[fe80::1]", "[fec0::1]", "[ff02::1]", "224.0.0.1", "240.0.0.1", "255.255.255.255",
	"localhost", "localhost.", "a.localhost", "printer.local", "intranet", "sso.corp", "metadata.google.internal", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "127.1",
}

// A public server cannot make its clients talk to what is behind their firewall,
// whatever leg names it and however it is spelled.
func TestPrivateAddressesOfPublicServer(t *testing.T) {
	p := newPublic(t)
	e := testenv.NewAttacker(t, testenv.New(t, lab.Habits{}).Lab)
	_, port, _ := strings.Cut(e.Host(), ":")

	prompts := 0
	if _, err := p.login(t, &prompts); err != nil || prompts != 1 {
		t.Fatalf("login with nothing wrong: %v", err)
	}
	for _, host := range privateHosts {
		for _, scheme := range []string{"https", "http"} {
			name := fmt.Sprintf("%s://%s:%s", scheme, host, port)
			t.Run("authorization server "+name, func(t *testing.T) {
				p.change(map[string]any{"authorization_servers": []string{name}}, nil)
				prompts := 0
				_, err := p.login(t, &prompts)
				testenv.WantKind(t, err, handstamp.ErrProtocol)
				if prompts > 0 {
					t.Error("the user had to sign in")
				}
			})
		}
		for _, scheme := range []string{"https", "http"} {
			for _, member := range []string{"authorization_endpoint", "registration_endpoint"} {
				name := fmt.Sprintf("%s://%s:%s", scheme, host, port)
				t.Run(member+" "+name, func(t *testing.T) {
					p.change(nil, map[string]any{member: name + "/x"})
					prompts := 0
					_, err := p.login(t, &prompts)
					testenv.WantKind(t, err, handstamp.ErrProtocol)
					if prompts > 0 {
						t.Error("the browser was sent there")
					}
				})
			}
		}
		name := "https://" + host + ":" + port
		t.Run("token endpoint "+name, func(t *testing.T) {
			p.change(nil, map[string]any{"token_endpoint": name + testenv.AtToken})
			_, err := p.login(t, new(int))
			testenv.WantKind(t, err, handstamp.ErrProtocol)
		})
		t.Run("revocation endpoint "+name, func(t *testing.T) {
			p.change(nil, map[string]any{"revocation_endpoint": name + testenv.AtRevoke})
			c, err := p.login(t, new(int))
			if err != nil {
				t.Fatal(err)
			}
			result, err := c.Logout(t.Context(), p.mcpURL(), handstamp.LogoutOptions{})
			if err != nil || result.Revoked || result.RevokeError == nil {
				t.Errorf("logout: %+v, %v", result, err)
			}
		})
	}
	e.WantSilence()
}

// Where the user allows private addresses, requests go there.
func TestPrivateAddressesAllowed(t *testing.T) {
	p := newPublic(t)
	e := testenv.NewAttacker(t, testenv.New(t, lab.Habits{}).Lab)
	p.change(map[string]any{"authorization_servers": []string{e.URL}}, nil)
	c := &handstamp.Client{
		InsecureAllowPrivateAddresses: true,
		Prompt: handstamp.Prompt{Authorize: func(context.Context, handstamp.AuthorizationRequest) (url.Values, error) {
			return nil, errors.New("no user here")
		}},
	}
	if _, err := c.Login(t.Context(), p.mcpURL(), handstamp.LoginOptions{}); err == nil {
		t.Error("the login worked")
	}
	if len(e.Requests()) == 0 {
		t.Error("the server at a private address got no request")
	}
}

// The error of a private address says what allows it, unless nothing does.
func TestPrivateAddressErrorNamesTheSetting(t *testing.T) {
	p := newPublic(t)
	for host, setting := range map[string]string{
		"127.0.0.1": "InsecureAllowPrivateAddresses", "10.0.0.1": "InsecureAllowPrivateAddresses", "169.254.169.254": "", "2130706433": "",
	} {
		p.change(nil, map[string]any{"authorization_endpoint": "https://" + host + "/authorize"})
		_, err := p.login(t, new(int))
		e, ok := errtype.As[*handstamp.Error](err)
		if !ok || e.Setting != setting || !strings.Contains(e.Error(), "authorization_endpoint") || !strings.Contains(e.Error(), host) ||
			strings.Contains(e.Hint, "InsecureAllowPrivateAddresses") != (setting != "") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// Which endpoints a server may name follows from where it is itself.
func TestEndpointsAreWhereTheServerIs(t *testing.T) {
	for _, test := range []struct {
		server, endpoint string
		allowed          bool
	}{
		{"https://mcp.example", "https://as.example", true},
		{"https://mcp.example", "https://10.0.0.1", false},
		{"https://mcp.example", "http://127.0.0.1:8080", false},
		{"https://mcp.example", "https://keycloak", false},
		{"https://10.0.0.5", "https://10.1.2.3:8443", true},
		{"https://10.0.0.5", "https://keycloak.internal", true},
		{"https://10.0.0.5", "https://[fd12::1]", true},
		{"https://10.0.0.5", "https://as.example", true},
		{"https://10.0.0.5", "https://169.254.169.254", false},
		{"https://10.0.0.5", "https://[fd00:ec2::254]", false},
		{"https://10.0.0.5", "https://[fe80::1]", false},
		{"https://10.0.0.5", "http://127.0.0.1:8080", false},
		{"https://10.0.0.5", "https://localhost", false},
		{"https://10.0.0.5", "https://167772161", false},
		{"https://mcp.internal", "https://192.168.1.1", true},
		{"https://mcp.internal", "https://169.254.169.254", false},
		{"https://[fd12::5]", "https://10.0.0.1", true},
		{"http://127.0.0.1:3000", "http://localhost:8080", true},
		{"http://127.0.0.1:3000", "http://[::1]:8080", true},
		{"http://127.0.0.1:3000", "https://10.0.0.1", true},
		{"http://127.0.0.1:3000", "https://169.254.169.254", false},
		{"https://169.254.1.1", "https://169.254.1.1:8443", true},
		{"https://169.254.1.1", "https://169.254.169.254", false},
	} {
		t.Run(test.server+" "+test.endpoint, func(t *testing.T) {
			base := documents{
				test.server + testenv.AtResource + testenv.AtMCP: map[string]any{"resource": test.server + testenv.AtMCP, "authorization_servers": []string{test.server}},
				test.server + testenv.AtServer: map[string]any{
					"issuer": test.server, "authorization_endpoint": test.endpoint + "/authorize", "token_endpoint": test.server + "/token",
					"registration_endpoint": test.server + testenv.AtRegister, "code_challenge_methods_supported": []string{"S256"},
				},
				test.server + testenv.AtRegister: map[string]any{"client_id": "app", "token_endpoint_auth_method": "none"},
				test.server + testenv.AtToken:    map[string]any{"access_token": "access", "token_type": "Bearer"},
			}
			prompts := 0
			c := &handstamp.Client{BaseTransport: base, AuthTransport: base, Prompt: handstamp.Prompt{
				Authorize: func(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
					prompts++
					return testenv.Consented(ctx, r)
				},
			}}
			_, err := c.Login(t.Context(), test.server+testenv.AtMCP, handstamp.LoginOptions{})
			if (err == nil) != test.allowed || (prompts == 1) != test.allowed {
				t.Errorf("%d prompts, error %v", prompts, err)
			}
		})
	}
}

// documents responds to requests by their URLs, for servers that a test cannot have.
type documents map[string]map[string]any

// RoundTrip implements http.RoundTripper.
func (d documents) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	w := httptest.NewRecorder()
	d.serve(w, req.URL.Scheme+"://"+req.URL.Host+req.URL.Path)
	return w.Result(), nil
}

// A public name that leads into a private network is there, if it proves its name there; so it
// may name its neighbours, and no link-local address.
func TestServerInAPrivateNetworkByItsAddress(t *testing.T) {
	private := privateAddress(t)
	listener, err := net.Listen("tcp", net.JoinHostPort(private, "0"))
	if err != nil {
		t.Skipf("nothing can listen at %s: %v", private, err)
	}
	var origin string
	endpoint := ""
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		documents{
			origin + testenv.AtResource + testenv.AtMCP: {"resource": origin + testenv.AtMCP, "authorization_servers": []string{origin}},
			origin + testenv.AtServer: {
				"issuer": origin, "authorization_endpoint": endpoint + "/authorize", "token_endpoint": origin + "/token",
				"registration_endpoint": origin + testenv.AtRegister, "code_challenge_methods_supported": []string{"S256"},
			},
			origin + testenv.AtRegister: {"client_id": "app", "token_endpoint_auth_method": "none"},
			origin + testenv.AtToken:    {"access_token": "access", "token_type": "Bearer"},
		}.serve(w, origin+r.URL.Path)
	}))
	server.Listener.Close()
	server.Listener = listener
	server.StartTLS()
	t.Cleanup(server.Close)
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	origin = "https://example.com:" + port // which the certificate is for

	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, listener.Addr().String())
	}
	t.Cleanup(transport.CloseIdleConnections)
	for named, allowed := range map[string]bool{
		"https://10.1.2.3": true, "https://keycloak.internal": true, "https://169.254.169.254": false, "http://127.0.0.1:8080": false,
	} {
		endpoint = named
		c := &handstamp.Client{BaseTransport: transport, AuthTransport: transport, Prompt: handstamp.Prompt{Authorize: testenv.Consented}}
		if _, err := c.Login(t.Context(), origin+testenv.AtMCP, handstamp.LoginOptions{}); (err == nil) != allowed {
			t.Errorf("%s: error %v, want allowed %t", named, err, allowed)
		}
		if !allowed {
			continue
		}
		// A later session, which has not met the server yet, knows it from the record.
		later := documents{
			origin + testenv.AtResource + testenv.AtMCP: {"resource": origin + testenv.AtMCP, "authorization_servers": []string{origin}},
			origin + testenv.AtServer: {
				"issuer": origin, "authorization_endpoint": endpoint + "/authorize", "token_endpoint": origin + "/token",
				"registration_endpoint": origin + testenv.AtRegister, "code_challenge_methods_supported": []string{"S256"},
			},
			origin + testenv.AtRegister: {"client_id": "app", "token_endpoint_auth_method": "none"},
			origin + testenv.AtToken:    {"access_token": "access", "token_type": "Bearer"},
		}
		c = &handstamp.Client{Store: c.Store, BaseTransport: later, AuthTransport: later, Prompt: handstamp.Prompt{Authorize: testenv.Consented}}
		if _, err := c.Login(t.Context(), origin+testenv.AtMCP, handstamp.LoginOptions{Force: true}); err != nil {
			t.Errorf("%s, later: %v", named, err)
		}
	}
}

// serve responds with the document of a URL.
func (d documents) serve(w http.ResponseWriter, target string) {
	w.Header().Set("Content-Type", "application/json")
	document := d[target]
	if document == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	json.NewEncoder(w).Encode(document)
}

// privateAddress returns an address of this machine in a private network.
func privateAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsPrivate() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no address in a private network")
	return ""
}

// beside is an HTTP+SSE server with the endpoint that the stream names, wherever that is, and
// what it was sent.
type beside struct {
	*httptest.Server
	mu     sync.Mutex
	event  string   // what the stream begins with; set before it is opened
	posted []string // guarded by mu: "path authorization"
}

func newBeside(t *testing.T) *beside {
	t.Helper()
	b := new(beside)
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if r.Method == http.MethodPost {
			b.posted = append(b.posted, r.URL.Path+" "+r.Header.Get("Authorization"))
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		// Byte by byte, as a network may have it.
		for i := range len(b.event) {
			io.WriteString(w, b.event[i:i+1])
			http.NewResponseController(w).Flush()
		}
	}))
	t.Cleanup(b.Close)
	return b
}

// The endpoint that the server names on its stream gets the token, if it is on its own origin.
func TestEndpointBesideTheStreamGetsTheToken(t *testing.T) {
	for _, test := range []struct {
		event, post string
		attached    bool
	}{
		{"event: endpoint\ndata: /messages/?session_id=1\n\n", "BASE/messages/?session_id=1", true},
		{"event: endpoint\r\ndata: /messages/?session_id=1\r\n\r\n", "BASE/messages/?session_id=2", true},
		{"event:endpoint\rdata:/messages/\r\r", "BASE/messages/", true},
		{"\ufeffevent: endpoint\ndata: BASE/v1/messages\n\n", "BASE/v1/messages", true},
		{": hello\n\nevent: ping\ndata: x\n\nid: 1\nevent: endpoint\ndata: messages\n\n", "BASE/messages", true},
		{"data: /messages/\nevent: endpoint\n\n", "BASE/messages/", true},
		{"event: endpoint\ndata: /messages/\n\n", "BASE/messages/more", false},
		{"event: endpoint\ndata: /messages/\n\n", "BASE/other", false},
		{"event: endpoint\ndata: /messages/\n", "BASE/messages/", false}, // not ended
		{"event: message\ndata: /messages/\n\n", "BASE/messages/", false},
		{"event: endpoint\ndata: /first\n\nevent: endpoint\ndata: /messages/\n\n", "BASE/messages/", false},
		{"event: endpoint\ndata: http://127.0.0.1:1/messages/\n\n", "BASE/messages/", false},
		{"event: endpoint\ndata: /a/%2e%2e/messages\n\n", "BASE/a/%2e%2e/messages", false},
		{"", "BASE/messages/", false},
	} {
		t.Run(fmt.Sprintf("%q", test.event), func(t *testing.T) {
			b := newBeside(t)
			c, _ := signedIn(t, b.URL+"/sse")
			c.BaseTransport = http.DefaultTransport
			b.event = strings.ReplaceAll(test.event, "BASE", b.URL)
			client := c.HTTPClient(b.URL + "/sse")
			resp, err := client.Get(b.URL + "/sse")
			if err != nil {
				t.Fatal(err)
			}
			if got := testenv.Body(t, resp); got != b.event {
				t.Errorf("the stream was changed: %q", got)
			}
			resp, err = client.Post(strings.ReplaceAll(test.post, "BASE", b.URL), "application/json", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := strings.HasSuffix(b.posted[0], " Bearer the-access-token"); got != test.attached {
				t.Errorf("posted %q, want the token: %t", b.posted, test.attached)
			}
		})
	}
}

// The token may be needed before the stream has ended: it never does.
func TestEndpointIsKnownWhileTheStreamIsOpen(t *testing.T) {
	posted := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			posted <- r.Header.Get("Authorization")
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "event: endpoint\ndata: /messages/\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	c, _ := signedIn(t, server.URL+"/sse")
	c.BaseTransport = http.DefaultTransport
	client := c.HTTPClient(server.URL + "/sse")
	resp, err := client.Get(server.URL + "/sse")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for range 3 {
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	response, err := client.Post(server.URL+"/messages/", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if got := <-posted; got != "Bearer the-access-token" {
		t.Errorf("sent %q", got)
	}
}
