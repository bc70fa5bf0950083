package handstamp

import (
	"context"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// A stored login is used only where it is one as the Client is configured now.
func TestResumable(t *testing.T) {
	now := time.Now().UTC()
	expired := now.Add(-time.Hour)
	for name, test := range map[string]struct {
		config *configuration
		change func(*record.Record)
		want   bool
	}{
		"as it was made":                    {&configuration{}, nil, true},
		"nothing stored":                    {&configuration{}, func(r *record.Record) { r.Grant = nil }, false},
		"ended":                             {&configuration{}, func(r *record.Record) { r.GrantError = &record.GrantError{} }, false},
		"the client was rejected":           {&configuration{}, func(r *record.Record) { r.Clients[0].Rejected = true }, false},
		"a refresh was rejected early":      {&configuration{}, func(r *record.Record) { r.Retry = &record.Retry{} }, false},
		"the server failed for a moment":    {&configuration{}, func(r *record.Record) { r.Retry = &record.Retry{Failures: 1} }, true},
		"the scope is granted":              {&configuration{Scopes: []string{"a"}}, nil, true},
		"another scope":                     {&configuration{Scopes: []string{"b"}}, nil, false},
		"a scope that the issuer rejects":   {&configuration{Scopes: []string{"b"}}, func(r *record.Record) { r.Learn(record.Learned{Issuer: "https://as", OmitScopes: []string{"b"}}) }, true},
		"the resource":                      {&configuration{Resource: "https://r"}, nil, true},
		"another resource":                  {&configuration{Resource: "https://other"}, nil, false},
		"no resource":                       {&configuration{OmitResource: true}, nil, false},
		"the client":                        {&configuration{Registration: &Registration{ClientID: "c"}}, nil, true},
		"the client at its issuer":          {&configuration{Registration: &Registration{ClientID: "c", Issuer: "https://as/"}}, nil, true},
		"the client at another issuer":      {&configuration{Registration: &Registration{ClientID: "c", Issuer: "https://other"}}, nil, false},
		"another client":                    {&configuration{Registration: &Registration{ClientID: "d"}}, nil, false},
		"its secret has ended":              {&configuration{Registration: &Registration{ClientID: "c", ClientSecret: "s", SecretExpiresAt: expired}}, nil, false},
		"another client, to be replaced":    {&configuration{Registration: &Registration{ClientID: "d", ClientSecret: "s", SecretExpiresAt: expired}, OnRegister: keepNothing}, nil, true},
		"another client, not to be replace": {&configuration{Registration: &Registration{ClientID: "d", ClientSecret: "s"}, OnRegister: keepNothing}, nil, false},
	} {
		rec := &record.Record{
			Clients: []*record.Client{{Issuer: "https://as", ID: "c", Source: record.SourceConfigured}},
			Grant: &record.Grant{
				Issuer: "https://as", ClientID: "c", AccessToken: "a", RefreshToken: "r", ExpiresAt: now.Add(time.Hour),
				ScopeRequested: "a", ScopeGranted: "a", Resource: record.Resource{Value: "https://r"},
			},
		}
		if test.change != nil {
			test.change(rec)
		}
		if got := test.config.resumable(rec, now); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

func keepNothing(context.Context, Registration) error { return nil }

// The configured secret takes the place of the stored one, at the issuer of the configuration only.
func TestConfiguredSecretWins(t *testing.T) {
	stored := &record.Client{Issuer: "https://as", ID: "c", Secret: "old", Proven: true}
	for name, test := range map[string]struct {
		configured *Registration
		want       string
		proven     bool
	}{
		"none configured":  {nil, "old", true},
		"the same":         {&Registration{ClientID: "c", ClientSecret: "old"}, "old", true},
		"a new one":        {&Registration{ClientID: "c", ClientSecret: "new"}, "new", false},
		"without a secret": {&Registration{ClientID: "c"}, "old", true},
		"another client":   {&Registration{ClientID: "d", ClientSecret: "new"}, "old", true},
		"another issuer":   {&Registration{ClientID: "c", ClientSecret: "new", Issuer: "https://other"}, "old", true},
	} {
		cfg := configuration{Registration: test.configured}
		if c := cfg.withConfiguredSecret(stored); c.Secret.Reveal() != test.want || c.Proven != test.proven {
			t.Errorf("%s: secret %s, proven %v", name, c.Secret.Reveal(), c.Proven)
		}
	}
	if stored.Secret != "old" || !stored.Proven {
		t.Error("the stored client was changed")
	}
}

func TestHostsNamedByTheUser(t *testing.T) {
	cfg := configuration{
		Registration:        &Registration{Issuer: "https://issuer.example"},
		AuthorizationServer: &AuthorizationServer{TokenEndpoint: "https://Tokens.example:8443/token"},
	}
	for host, want := range map[string]bool{"issuer.example": true, "tokens.example": true, "other.example": false, "": false} {
		if got := cfg.namedByUser(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
	if (&configuration{}).namedByUser("") {
		t.Error("nothing is named")
	}
}

// A URL is looked at once: later calls find its session without reading it again.
func TestSessionIsFoundWithoutParsing(t *testing.T) {
	c := &Client{}
	const server, other = "https://mcp.example.com/mcp", "https://mcp.example.org/mcp"
	first, err := c.session(server)
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.session(other)
	if err != nil || second == first {
		t.Fatal("another server has no session of its own", err)
	}
	allocations := proctest.Allocations(100, func() {
		for range 2 {
			if s, err := c.session(server); s != first || err != nil {
				t.Error("another session", err)
			}
		}
		if s, err := c.session(other); s != second || err != nil {
			t.Error("another session", err)
		}
	})
	if allocations > 0 {
		t.Errorf("%.0f allocations", allocations)
	}
	if s, err := c.session("https://MCP.example.com:443/mcp/"); s != first || err != nil {
		t.Error("the same server has another session", err)
	}
}

// A session whose stored token serves makes no transport for authorization servers, and Close makes none.
func TestStoredTokenMakesNoTransport(t *testing.T) {
	const server = "https://mcp.example/mcp"
	memory := new(store.Memory)
	key, err := store.NewKey(server, "")
	if err != nil {
		t.Fatal(err)
	}
	rec := &record.Record{Key: key, ServerURL: server,
		Grant: &record.Grant{AccessToken: "token", TokenType: "Bearer", ExpiresAt: time.Now().Add(time.Hour)}}
	if err := record.Put(t.Context(), memory, rec); err != nil {
		t.Fatal(err)
	}
	c := &Client{Store: memory}
	if token, err := c.Token(t.Context(), server, TokenOptions{}); err != nil || token.Value != "token" {
		t.Fatalf("%v, %v", token, err)
	}
	s, err := c.session(server)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(t.Context()); err != nil || s.server.auth != nil {
		t.Errorf("transport %T, %v", s.server.auth, err)
	}
	if first := s.fetcher.HTTP(); first == nil || s.fetcher.HTTP() != first {
		t.Error("each request has a transport of its own")
	}
}
