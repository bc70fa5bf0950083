package handstamp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/jose"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// platform makes out identity tokens for workloads, and a server trusts it.
type platform struct {
	*testenv.Env
	key *clientkey.Key
}

func newPlatform(t *testing.T, habits lab.Habits) *platform {
	t.Helper()
	key, err := clientkey.Generate("ES256")
	if err != nil {
		t.Fatal(err)
	}
	habits.NoRegistration = true
	habits.Grants = append(habits.Grants, lab.GrantJWTBearer)
	p := &platform{Env: testenv.New(t, habits), key: key}
	p.Lab.TrustIssuer("https://platform.example", string(key.JWKS()))
	return p
}

// token makes out a token that is good for a minute from a time on.
func (p *platform) token(audience string, at time.Time) string {
	p.T.Helper()
	token, err := jose.Assertion(p.key, "ES256", jose.AssertionClaims{
		ClientID: "https://platform.example", Audience: audience, Lifetime: time.Minute,
	}, at)
	if err != nil {
		p.T.Fatal(err)
	}
	return token.Reveal()
}

// workload is a session whose identity comes from a source.
func (p *platform) workload(source handstamp.AssertionSource) *handstamp.Client {
	c := p.Session()
	c.Grant = handstamp.JWTBearer{Assertion: source}
	c.LoginPolicy = handstamp.LoginNever
	return c
}

func fixed(token string) handstamp.AssertionSource {
	return func(context.Context, handstamp.GrantTarget) (secret.String, error) { return secret.String(token), nil }
}

// A workload signs itself in without a client, from a file that its platform replaces; later
// sessions use the stored token.
func TestWorkloadFromFile(t *testing.T) {
	p := newPlatform(t, lab.Habits{})
	path := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	source := handstamp.AssertionFromFile(path)
	write(p.token(p.Lab.Issuer(), time.Now()))
	p.MustCall(p.workload(source))
	p.Lab.Reset()
	p.MustCall(p.workload(source))
	p.WantCounts(map[string]int{"mcp": 1, "as": 0, "token:jwt_bearer": 0})
	p.Expire()
	second := p.token(p.Lab.Issuer(), time.Now())
	write(second)
	c := p.workload(source)
	p.MustCall(c)
	for _, r := range p.Lab.Requests() {
		if _, named := r.Params["client_id"]; named && strings.HasPrefix(r.Endpoint, "token") {
			t.Errorf("a client is named: %v", r)
		}
	}
	result, err := c.Login(t.Context(), p.Lab.MCPURL(), handstamp.LoginOptions{})
	if err != nil || !result.Already {
		t.Errorf("login %+v, %v, want the stored one", result, err)
	}
	p.WantTabs(0)
	p.WantCounts(map[string]int{"token:jwt_bearer": 1})
}

// Many sessions make one request with one token.
func TestWorkloadManySessions(t *testing.T) {
	p := newPlatform(t, lab.Habits{})
	source := fixed(p.token(p.Lab.Issuer(), time.Now()))
	p.CallAtOnce(20, func() *handstamp.Client { return p.workload(source) })
	p.WantCounts(map[string]int{"token:jwt_bearer": 1})
}

// A workload may be a client too.
func TestWorkloadWithClient(t *testing.T) {
	p := newPlatform(t, lab.Habits{})
	p.Lab.RegisterClient(lab.ConfiguredClient{ID: "service", Secret: "s"})
	c := p.workload(fixed(p.token(p.Lab.Issuer(), time.Now())))
	c.Registration = &handstamp.Registration{ClientID: "service", ClientSecret: "s"}
	p.MustCall(c)
	p.Expire()
	p.MustCall(c)
	if r := p.Record(); r.Grant.ClientID != "service" || r.Clients[0].Method != lab.MethodBasic {
		t.Errorf("stored %+v", r.Grant)
	}
}

// What the server rejects is sent once: not again, not as another grant, not by a browser.
func TestWorkloadRejectedIsSentOnce(t *testing.T) {
	for name, test := range map[string]struct {
		token  func(*platform) string
		adjust func(*platform, *handstamp.Client)
		fault  string
		kind   error
		says   []string
	}{
		"expired": {
			token: func(p *platform) string { return p.token(p.Lab.Issuer(), time.Now().Add(-time.Hour)) },
			kind:  handstamp.ErrDenied, says: []string{"invalid_grant", "which expired at", "have a new one issued"},
		},
		"for another server": {
			token: func(p *platform) string { return p.token("https://other.example", time.Now()) },
			adjust: func(p *platform, c *handstamp.Client) {
				c.AuthorizationServer = &handstamp.AuthorizationServer{Issuer: p.Lab.Issuer()}
			},
			kind: handstamp.ErrDenied, says: []string{"made out for https://other.example", "whose audience is http://"},
		},
		"not trusted": {
			token: func(p *platform) string {
				p.Lab.TrustIssuer("https://platform.example", "")
				return p.token(p.Lab.Issuer(), time.Now())
			},
			kind: handstamp.ErrDenied, says: []string{"rejected the assertion", "not trusted"},
		},
		"invalid_client":      {fault: "invalid_client", kind: handstamp.ErrDenied},
		"unauthorized_client": {fault: "unauthorized_client", kind: handstamp.ErrDenied},
		"invalid_scope":       {fault: "invalid_scope", kind: handstamp.ErrDenied, says: []string{"grants no such scope"}},
		"invalid_target":      {fault: "invalid_target", kind: handstamp.ErrDenied, says: []string{"no token for this resource"}},
		"invalid_request":     {fault: "invalid_request", kind: handstamp.ErrDenied},
		"unsupported":         {fault: "unsupported_grant_type", kind: handstamp.ErrDenied},
		"by name": {
			fault: "invalid_client", kind: handstamp.ErrClientRejected,
			adjust: func(p *platform, c *handstamp.Client) {
				c.Registration = &handstamp.Registration{ClientID: "service", ClientSecret: "s"}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlatform(t, lab.Habits{})
			token := p.token(p.Lab.Issuer(), time.Now())
			if test.token != nil {
				token = test.token(p)
			}
			c := p.workload(fixed(token))
			c.Scopes = []string{"mcp"}
			if test.adjust != nil {
				test.adjust(p, c)
			}
			var server rejecting
			if test.fault != "" {
				server.code = test.fault
				c.AuthTransport = &server
			}
			_, err := c.Login(t.Context(), p.Lab.MCPURL(), handstamp.LoginOptions{})
			testenv.WantKind(t, err, test.kind)
			for _, text := range test.says {
				if err != nil && !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
			if err != nil && strings.Contains(err.Error(), token) {
				t.Error("the error has the token")
			}
			sent := 0
			for _, r := range p.Lab.Requests() {
				if strings.HasPrefix(r.Endpoint, "token") {
					sent++
				}
			}
			if sent += server.sent; sent != 1 {
				t.Errorf("%d token requests, want 1\n%s", sent, p.Diary())
			}
			p.WantTabs(0)
		})
	}
}

// rejecting rejects each token request itself.
type rejecting struct {
	code  string
	ahead time.Duration // of the Date header
	sent  int
}

func (a *rejecting) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPost {
		return http.DefaultTransport.RoundTrip(req)
	}
	a.sent++
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Date", time.Now().Add(a.ahead).UTC().Format(http.TimeFormat))
	w.WriteHeader(http.StatusBadRequest)
	w.WriteString(`{"error":"` + a.code + `"}`)
	return w.Result(), nil
}

// A rejection names the difference of the clocks, which is often the reason.
func TestWorkloadRejectedByAnotherClock(t *testing.T) {
	for name, test := range map[string]struct {
		ahead time.Duration
		says  string
	}{
		"behind":      {5*time.Minute + time.Second, "the clock of this machine is 5 minutes behind the server's: set it"},
		"ahead":       {-5*time.Minute + time.Second, "the clock of this machine is 5 minutes ahead of the server's"},
		"hours":       {3*time.Hour + time.Minute, "3 hours behind"},
		"days":        {-72*time.Hour - time.Minute, "3 days ahead of"},
		"in the bond": {50 * time.Second, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlatform(t, lab.Habits{})
			c := p.workload(fixed(p.token(p.Lab.Issuer(), time.Now())))
			c.AuthTransport = &rejecting{code: "invalid_grant", ahead: test.ahead}
			err := p.Call(c)
			if err == nil || !strings.Contains(err.Error(), test.says) || test.says == "" && strings.Contains(err.Error(), "clock") {
				t.Errorf("%v, want %q", err, test.says)
			}
		})
	}
}

// A server that lists no login with a browser opens none.
func TestNoBrowserWithoutItsGrant(t *testing.T) {
	p := newPlatform(t, lab.Habits{})
	c := p.Session()
	c.AuthTransport = listing{`"urn:ietf:params:oauth:grant-type:jwt-bearer","client_credentials"`}
	err := p.Call(c)
	var e *handstamp.Error
	if !errors.As(err, &e) || e.Kind != handstamp.ErrInvalidConfig || e.Setting != "Grant" ||
		!strings.Contains(e.Hint, "ClientCredentials") || !strings.Contains(e.Hint, "JWTBearer") || !strings.Contains(e.Message, "jwt-bearer") {
		t.Errorf("%v", err)
	}
	p.WantTabs(0)
	p.WantCounts(map[string]int{"register": 0, "token": 0, "token:code": 0})
}

// listing replaces grant_types_supported.
type listing struct{ grants string }

func (l listing) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil && strings.Contains(req.URL.Path, "/.well-known/oauth-authorization-server") {
		return replaceMember(resp, "grant_types_supported", "["+l.grants+"]")
	}
	return resp, err
}

// replaceMember returns a response whose JSON has another value of a member.
func replaceMember(resp *http.Response, name, value string) (*http.Response, error) {
	defer resp.Body.Close()
	members := map[string]json.RawMessage{}
	if err := json.NewDecoder(resp.Body).Decode(&members); err != nil {
		return nil, err
	}
	members[name] = json.RawMessage(value)
	body, err := json.Marshal(members)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Del("Content-Length")
	return resp, err
}

// A server that binds tokens gets a proof with the assertion.
func TestWorkloadWithBoundTokens(t *testing.T) {
	for name, dpop := range map[string]lab.DPoP{
		"by the resource":             {Supported: true, Resource: lab.DPoPRequired, ServerNonce: 1},
		"by the authorization server": {Supported: true, Required: true, Resource: lab.DPoPOffered},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlatform(t, lab.Habits{DPoP: dpop})
			source := fixed(p.token(p.Lab.Issuer(), time.Now()))
			p.MustCall(p.workload(source))
			p.Expire()
			p.MustCall(p.workload(source))
			if audit := p.Lab.Audit(); audit.Proofs == 0 || audit.Downgrades != 0 {
				t.Errorf("%+v", audit)
			}
		})
	}
}

// What takes no code needs no PKCE.
func TestWorkloadWithoutPKCE(t *testing.T) {
	p := newPlatform(t, lab.Habits{OmitPKCE: true})
	p.MustCall(p.workload(fixed(p.token(p.Lab.Issuer(), time.Now()))))
}

// A token for one server is not sent to another, which the MCP server alone names: it could be used
// at the first.
func TestWorkloadTokenGoesWhereItIsFor(t *testing.T) {
	p := newPlatform(t, lab.Habits{})
	for _, audience := range []string{"https://other.example", "api://exchange"} {
		err := p.Call(p.workload(fixed(p.token(audience, time.Now()))))
		var e *handstamp.Error
		if !errors.As(err, &e) || e.Kind != handstamp.ErrInvalidConfig || e.Setting != "AuthorizationServer" {
			t.Errorf("audience %q: %v", audience, err)
		}
	}
	p.WantCounts(map[string]int{"token": 0, "token:jwt_bearer": 0})
	for _, audience := range []string{p.Lab.Issuer(), p.Lab.Issuer() + "/token"} {
		w := newPlatform(t, lab.Habits{})
		p.Lab.TrustIssuer("https://platform.example", string(w.key.JWKS()))
		token := w.token(audience, time.Now())
		c := p.workload(fixed(token))
		c.Store = new(store.Memory)
		p.MustCall(c)
	}
}
