package handstamp_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/dnstest"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// A server that is not trusted is at a public address, however its URL has it: for logins, for the
// requests of MCP with a token and without one, and for a logout.
func TestUntrustedServerIsPublic(t *testing.T) {
	inside := newInside(t)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	for name, base := range map[string]http.RoundTripper{
		"none": nil, "a transport": transport,
		"a layer": testenv.RoundTripFunc(http.DefaultTransport.RoundTrip),
	} {
		for host, allowable := range map[string]bool{
			"127.0.0.1": true, "[::1]": true, "localhost": true, "[::ffff:127.0.0.1]": true,
			"10.0.0.1": true, "100.64.0.1": true, "[fd12::1]": true, "mcp.internal": true,
			"0.0.0.0": false, "[::]": false, "169.254.169.254": false, "[fe80::1]": false, "127.1": false,
			"2130706433": false, "0x7f000001": false, "[64:ff9b::7f00:1]": false, "[::7f00:1]": false,
			"[2002:7f00:1::]": false, "[fd00:ec2::254]": false, "100.100.100.200": false,
			"224.0.0.1": false,
		} {
			server := "http://" + host + ":" + inside.port + "/mcp"
			c := &handstamp.Client{
				UntrustedServers: true, InsecureAllowHTTP: true, BaseTransport: base,
				LoginPolicy: handstamp.LoginNever, Store: new(store.Memory),
				Prompt: handstamp.Prompt{Authorize: testenv.Consented},
			}
			_, err := c.BeginLogin(t.Context(), server, handstamp.LoginOptions{})
			wantNotPublic(t, name+" "+host, err, allowable)
			resp, err := c.HTTPClient(server).Post(server, "application/json", strings.NewReader("{}"))
			if err == nil {
				_ = resp.Body.Close()
			}
			wantNotPublic(t, name+" "+host, err, allowable)
		}
	}
	if inside.reached.Load() {
		t.Error("a request came inside")
	}
}

func wantNotPublic(t *testing.T, what string, err error, allowable bool) {
	t.Helper()
	e, ok := errtype.As[*handstamp.Error](err)
	if !ok || !errors.Is(err, handstamp.ErrInvalidConfig) || errors.Is(err, handstamp.ErrUnreachable) ||
		(e.Setting == "InsecureAllowPrivateAddresses") != allowable {
		t.Errorf("%s: %v", what, err)
	}
}

// inside is a server of this machine.
type inside struct {
	*httptest.Server
	port    string
	reached atomic.Bool
}

func newInside(t *testing.T) *inside {
	t.Helper()
	i := new(inside)
	i.Server = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		i.reached.Store(true)
	}))
	t.Cleanup(i.Close)
	_, i.port, _ = net.SplitHostPort(i.Listener.Addr().String())
	return i
}

// A name that was public when the user signed in, and then leads inside, gets no request: neither
// one of MCP, with the token, nor a refresh.
func TestUntrustedServerMovesInside(t *testing.T) {
	in := newInside(t)
	var dialed atomic.Int32
	server := "http://evil.example.com:" + in.port + "/mcp"
	for _, layer := range []bool{false, true} {
		resolver := dnstest.Resolver(t, "8.8.8.8", "127.0.0.1")
		if got, err := resolver.LookupNetIP(t.Context(), "ip4", "evil.example.com"); err != nil ||
			got[0].Unmap().String() != "8.8.8.8" {
			t.Fatal(got, err)
		}
		transport := &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				dialed.Add(1)
				return (&net.Dialer{Resolver: resolver}).DialContext(ctx, network, address)
			},
		}
		t.Cleanup(transport.CloseIdleConnections)
		c, _ := signedIn(t, server)
		c.UntrustedServers, c.BaseTransport = true, transport
		if layer {
			c.BaseTransport = testenv.RoundTripFunc(transport.RoundTrip)
		}
		before := dialed.Load()
		resp, err := c.HTTPClient(server).Post(server, "application/json", strings.NewReader("{}"))
		if err == nil {
			_ = resp.Body.Close()
		}
		wantNotPublic(t, "a request of MCP", err, true)
		if dialed.Load() == before {
			t.Error("the name was not looked up, so nothing was tested")
		}
		if _, err := c.Token(t.Context(), server, handstamp.TokenOptions{Refresh: true}); err == nil {
			t.Error("a refresh worked")
		}
	}
	if in.reached.Load() {
		t.Error("a request came inside")
	}
}

// Clients share the connections of a transport, guarded or not.
func TestUntrustedServersShareConnections(t *testing.T) {
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	base := &http.Transport{}
	for range 5 {
		c, _ := signedIn(t, server.URL+"/mcp")
		c.UntrustedServers, c.InsecureAllowPrivateAddresses, c.BaseTransport = true, true, base
		resp, err := c.HTTPClient(server.URL + "/mcp").Get(server.URL + "/mcp")
		if err != nil {
			t.Fatal(err)
		}
		testenv.Body(t, resp)
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// countedConn is a connection that is counted while it is open.
type countedConn struct {
	net.Conn
	open *atomic.Int32
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

// A Client closes what it has made of the application's AuthTransport, and leaves that alone.
func TestCloseEndsConnectionsOfAGuardedAuthTransport(t *testing.T) {
	for _, untrusted := range []bool{true, false} {
		w := testenv.New(t, lab.NoneFirst())
		var open atomic.Int32
		c := w.Session()
		c.UntrustedServers, c.InsecureAllowPrivateAddresses = untrusted, true
		c.AuthTransport = &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			open.Add(1)
			return &countedConn{Conn: conn, open: &open}, nil
		}}
		w.MustLogin(c)
		if open.Load() == 0 {
			t.Fatal("no connection is kept")
		}
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		closed := func() bool { return open.Load() == 0 }
		if untrusted { // one that was not idle yet is closed when it is
			proctest.Wait(t, testenv.Timeout, "the end of the connections", closed)
		} else if closed() {
			t.Error("the connections of the application's own transport are closed")
		}
	}
}

// company is an MCP server that trusts a company's identity provider, at names that no test has.
type company struct {
	documents
	issuer, token string // of the provider
	reached       atomic.Int32
}

func newCompany(issuer, token string) *company {
	const mcp, as = "https://mcp.example", "https://as.example"
	c := &company{documents: serverAt(mcp, as), issuer: issuer, token: token}
	c.documents[mcp+testenv.AtResource+testenv.AtMCP]["authorization_servers"] = []string{as}
	c.documents[as+testenv.AtServer] = map[string]any{
		"issuer": as, "authorization_endpoint": as + "/authorize", "token_endpoint": as + testenv.AtToken,
		"code_challenge_methods_supported": []string{"S256"},
		"grant_types_supported":            []string{"urn:ietf:params:oauth:grant-type:jwt-bearer"},
	}
	c.documents[as+testenv.AtToken] = map[string]any{"access_token": "access", "token_type": "Bearer"}
	c.documents[issuer+testenv.AtServer] = map[string]any{
		"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": token + "/exchange",
		"code_challenge_methods_supported": []string{"S256"},
	}
	c.documents[token+"/exchange"] = map[string]any{"access_token": "grant", "token_type": "N_A",
		"issued_token_type": "urn:ietf:params:oauth:token-type:id-jag"}
	return c
}

func (c *company) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path == "/exchange" {
		c.reached.Add(1)
	}
	return c.documents.RoundTrip(req)
}

// The rules for addresses are those of a company's identity provider, too: the application has named
// where it is, and not what its metadata names. So it is in a session that knows it from the store.
func TestUntrustedServersOfACompany(t *testing.T) {
	for _, test := range []struct {
		issuer, token string
		trusted       bool
		allowed       bool
	}{
		{"https://idp.example", "https://idp.example", false, true},
		{"https://idp.example", "https://tokens.example", false, true},
		{"https://idp.example", "https://10.0.0.1", false, false},
		{"https://idp.example", "https://sso.corp", false, false},
		{"https://idp.example", "https://169.254.169.254", false, false},
		{"https://idp.corp", "https://idp.corp", false, true},
		{"https://idp.corp", "https://10.0.0.1", false, false},
		{"https://idp.corp", "https://10.0.0.1", true, true},
		{"https://idp.corp", "https://169.254.169.254", true, false},
	} {
		for _, stored := range []bool{false, true} {
			base := newCompany(test.issuer, test.token)
			c := &handstamp.Client{
				UntrustedServers: !test.trusted, BaseTransport: base, AuthTransport: base, Store: new(store.Memory),
				Registration: &handstamp.Registration{ClientID: "at-server", TokenEndpointAuthMethod: "none"},
			}
			grant := handstamp.Enterprise{Issuer: test.issuer}
			if stored {
				storeLoginAt(t, c.Store, test.issuer)
			} else {
				grant.ClientID = "at-company"
				grant.IDToken = func(context.Context, handstamp.GrantTarget) (secret.String, error) { return "subject", nil }
			}
			c.Grant = grant
			_, err := c.Login(t.Context(), "https://mcp.example"+testenv.AtMCP, handstamp.LoginOptions{})
			if reached := base.reached.Load() > 0; (err == nil) != test.allowed || reached != test.allowed {
				t.Errorf("%+v, stored: %t: the provider was reached: %t; %v", test, stored, reached, err)
			}
		}
	}
}

// storeLoginAt stores a login at a company's identity provider.
func storeLoginAt(t *testing.T, s store.Store, issuer string) {
	t.Helper()
	key, err := store.NewKey(issuer, "")
	if err != nil {
		t.Fatal(err)
	}
	err = record.Put(t.Context(), s, &record.Record{
		Key: key, ServerURL: issuer,
		Clients: []*record.Client{{
			Issuer: issuer, ID: "at-company", Source: record.SourceConfigured,
			Method: "none", MethodSource: record.MethodConfigured,
		}},
		Grant: &record.Grant{
			Issuer: issuer, ClientID: "at-company", TokenEndpoint: issuer + testenv.AtToken,
			AccessToken: "a", IDToken: "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2ln", // of {"sub": "ana"}
			Resource: record.Resource{Omit: true},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}
