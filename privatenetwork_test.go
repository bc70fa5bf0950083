package handstamp_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
)

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
