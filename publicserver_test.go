package handstamp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
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

// somePrivateHosts are all of them but where short tests are wanted.
func somePrivateHosts() []string {
	if !testing.Short() {
		return privateHosts
	}
	var some []string
	for several := range slices.Chunk(privateHosts, 4) {
		some = append(some, several[0])
	}
	return some
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
	for _, host := range somePrivateHosts() {
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
