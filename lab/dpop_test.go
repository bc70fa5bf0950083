package lab_test

import (
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// proof makes a DPoP proof, with claims changed; a nil value takes one out.
func (k key) proof(t testing.TB, method, target string, changes map[string]any) string {
	t.Helper()
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": target, "iat": time.Now().Unix()}
	for name, value := range changes {
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
	}
	return k.sign(t, map[string]any{"typ": "dpop+jwt", "jwk": k.public}, claims)
}

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return b64(sum[:])
}

// proven sends a token request with a proof; an empty one is none.
func (c *hand) proven(form url.Values, proofs ...string) reply {
	c.t.Helper()
	r := c.tokenRequest(form)
	r.Header["Dpop"] = proofs
	return c.do(r)
}

// possess calls a method of the MCP server with a token, by a scheme, with proofs.
func (c *hand) possess(scheme, token string, proofs ...string) reply {
	c.t.Helper()
	r := c.request(http.MethodPost, c.server.MCPURL(), `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	r.Header.Set("Authorization", scheme+" "+token)
	r.Header["Dpop"] = proofs
	return c.do(r)
}

// boundLogin logs in with a key.
func (c *hand) boundLogin(k key, changes map[string]any) reply {
	c.t.Helper()
	code := c.authorize(nil).Get("code")
	return c.proven(c.codeForm(code, nil), k.proof(c.t, "POST", c.endpoint("/token"), changes))
}

// wantPossession uses a bound token with its key; it does not work as Bearer.
func (c *hand) wantPossession() {
	c.t.Helper()
	mine := newKey(c.t, "ES256")
	token := c.boundLogin(mine, nil).text("access_token")
	if r := c.possess("DPoP", token, mine.proof(c.t, "POST", c.server.MCPURL(), map[string]any{"ath": hashOf(token)})); r.status != 200 {
		c.t.Errorf("with the key: %d", r.status)
	}
	if c.works(token) {
		c.t.Error("a bound token works as Bearer")
	}
}

// TestDPoPTokenEndpoint binds tokens to the key of a proof, and rejects each proof that is wrong.
func TestDPoPTokenEndpoint(t *testing.T) {
	c := start(t, lab.Habits{DPoP: lab.DPoP{Supported: true}, IssuerPath: "/tenant", AccessTokenJWT: true})
	if got := text(t, c.metadata()["dpop_signing_alg_values_supported"]); got != `["ES256","RS256","PS256","ES384","EdDSA"]` {
		t.Errorf("lists %s", got)
	}
	mine, other, target := newKey(t, "ES256"), newKey(t, "ES256"), c.endpoint("/token")
	r := c.boundLogin(mine, nil)
	r.is(t, 200, "")
	if r.text("token_type") != "DPoP" || r.text("refresh_token") == "" {
		t.Fatalf("token_type %q", r.text("token_type"))
	}
	if !strings.Contains(decoded(t, r.text("access_token")), mine.thumbprint()) {
		t.Error("the JWT has no cnf")
	}
	private := map[string]any{"typ": "dpop+jwt", "jwk": map[string]string{"kty": "EC", "crv": "P-256", "x": mine.public["x"], "y": mine.public["y"], "d": "AQ"}}
	claims := map[string]any{"jti": rand.Text(), "htm": "POST", "htu": target, "iat": time.Now().Unix()}
	used := mine.proof(t, "POST", target, nil)
	c.proven(c.refreshForm(), used).is(t, 200, "")
	for name, proofs := range map[string][]string{
		"reused":       {used},
		"two":          {mine.proof(t, "POST", target, nil), mine.proof(t, "POST", target, nil)},
		"no JWT":       {"x"},
		"htm":          {mine.proof(t, "GET", target, nil)},
		"htu":          {mine.proof(t, "POST", c.server.URL()+"/token", nil)},
		"htu query":    {mine.proof(t, "POST", target+"?a=b", nil)},
		"no htu":       {mine.proof(t, "POST", target, map[string]any{"htu": nil})},
		"no jti":       {mine.proof(t, "POST", target, map[string]any{"jti": nil})},
		"no iat":       {mine.proof(t, "POST", target, map[string]any{"iat": nil})},
		"old":          {mine.proof(t, "POST", target, map[string]any{"iat": time.Now().Add(-5 * time.Minute).Unix()})},
		"future":       {mine.proof(t, "POST", target, map[string]any{"iat": time.Now().Add(5 * time.Minute).Unix()})},
		"typ":          {mine.sign(t, map[string]any{"typ": "JWT", "jwk": mine.public}, claims)},
		"private key":  {mine.sign(t, private, claims)},
		"no key":       {mine.sign(t, map[string]any{"typ": "dpop+jwt"}, claims)},
		"another key":  {other.sign(t, map[string]any{"typ": "dpop+jwt", "jwk": mine.public}, claims)},
		"with secret":  {signHS256(t, "s", claims)},
		"no algorithm": {b64([]byte(`{"alg":"none","typ":"dpop+jwt"}`)) + "." + b64([]byte(`{}`)) + "."},
	} {
		if r := c.proven(c.refreshForm(), proofs...); r.status != 400 || r.text("error") != "invalid_dpop_proof" {
			t.Errorf("%s: %d %s", name, r.status, r.raw)
		}
	}
	if n := c.server.Audit().ProofReuses; n < 1 {
		t.Errorf("%d reused proofs", n)
	}
	// htu is compared as a URL.
	c.proven(c.refreshForm(), mine.proof(t, "POST", strings.Replace(target, "http://", "HTTP://", 1), nil)).is(t, 200, "")

	// The refresh token of a public client is its key's.
	token := r.text("refresh_token")
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	c.proven(form).is(t, 400, "invalid_grant")
	c.proven(form, other.proof(t, "POST", target, nil)).is(t, 400, "invalid_grant")
	next := c.proven(form, mine.proof(t, "POST", target, nil))
	if next.status != 200 || next.text("token_type") != "DPoP" {
		t.Errorf("refreshed: %s", next.raw)
	}
	requests := c.server.Requests()
	last := requests[len(requests)-1]
	if last.Proof == nil || last.Proof.Key != mine.thumbprint() || last.Proof.Method != "POST" || last.Proof.URL != target || last.Proof.Reused ||
		strings.Contains(last.Header.Get("DPoP"), ".") {
		t.Errorf("noted as %+v %+v", last, last.Proof)
	}
	// Without a proof it is a bearer token.
	if r := c.login(nil); r.text("token_type") != "Bearer" {
		t.Errorf("without a proof: %s", r.raw)
	}
}

// decoded is a JWT's claims.
func decoded(t testing.TB, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("no JWT")
	}
	return string(unb64(t, parts[1]))
}

// TestDPoPKeyOfCode takes a code only with the key that the authorization request named.
func TestDPoPKeyOfCode(t *testing.T) {
	c := start(t, lab.Habits{DPoP: lab.DPoP{Supported: true}})
	mine, other := newKey(t, "ES256"), newKey(t, "ES256")
	code := c.authorize(url.Values{"dpop_jkt": {mine.thumbprint()}}).Get("code")
	c.proven(c.codeForm(code, nil)).is(t, 400, "invalid_grant")
	c.proven(c.codeForm(code, nil), other.proof(t, "POST", c.endpoint("/token"), nil)).is(t, 400, "invalid_grant")
	c.proven(c.codeForm(code, nil), mine.proof(t, "POST", c.endpoint("/token"), nil)).is(t, 200, "")
}

// TestDPoPRequired rejects token requests without a proof, of every client or of one.
func TestDPoPRequired(t *testing.T) {
	c := start(t, lab.Habits{DPoP: lab.DPoP{Supported: true}})
	c.login(nil)
	if r := c.register(map[string]any{"dpop_bound_access_tokens": true, "token_endpoint_auth_method": "none"}); r.document["dpop_bound_access_tokens"] != true {
		t.Errorf("registered %s", r.raw)
	}
	c.proven(c.codeForm(c.authorize(nil).Get("code"), nil)).is(t, 400, "invalid_request")
	c.boundLogin(newKey(t, "ES256"), nil).is(t, 200, "")
	c = start(t, lab.Habits{DPoP: lab.DPoP{Supported: true, RegisterBound: true}})
	if r := c.register(nil); r.document["dpop_bound_access_tokens"] != true {
		t.Errorf("registered %s", r.raw)
	}
	c.refresh(c.server.Issue(c.id, "", "").Refresh, nil).is(t, 400, "invalid_request")
	c = start(t, lab.Habits{DPoP: lab.DPoP{Supported: true, Required: true, Algorithms: []string{"ES384"}}})
	c.proven(c.codeForm(c.authorize(nil).Get("code"), nil)).is(t, 400, "invalid_request")
	c.boundLogin(newKey(t, "ES256"), nil).is(t, 400, "invalid_dpop_proof")
	c.boundLogin(newKey(t, "ES384"), nil).is(t, 200, "")
}

// TestDPoPConfidential lets a confidential client change its key with a refresh.
func TestDPoPConfidential(t *testing.T) {
	c := start(t, lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired}, RegisterMethod: lab.MethodBasic})
	c.register(nil)
	first, second := newKey(t, "ES256"), newKey(t, "ES256")
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.boundLogin(first, nil).text("refresh_token")}}
	token := c.proven(form, second.proof(t, "POST", c.endpoint("/token"), nil)).text("access_token")
	ath := map[string]any{"ath": hashOf(token)}
	if r := c.possess("DPoP", token, first.proof(t, "POST", c.server.MCPURL(), ath)); r.status != 401 {
		t.Errorf("the first key: %d", r.status)
	}
	if r := c.possess("DPoP", token, second.proof(t, "POST", c.server.MCPURL(), ath)); r.status != 200 {
		t.Errorf("the second key: %d", r.status)
	}
}

// TestDPoPResource checks at the MCP server that a request has the token's key.
func TestDPoPResource(t *testing.T) {
	for _, habit := range []string{lab.DPoPOffered, lab.DPoPRequired, lab.DPoPChallenged} {
		t.Run(habit, func(t *testing.T) {
			c := start(t, lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: habit}})
			document := c.get(strings.TrimSuffix(c.server.MCPURL(), "/mcp") + "/.well-known/oauth-protected-resource/mcp").document
			if listed, required := document["dpop_signing_alg_values_supported"] != nil, document["dpop_bound_access_tokens_required"] == true; listed != (habit != lab.DPoPChallenged) || required != (habit == lab.DPoPRequired) {
				t.Errorf("metadata %v", document)
			}
			challenges := strings.Join(c.call("", "ping", "").header.Values("WWW-Authenticate"), "\n")
			if !strings.Contains(challenges, `DPoP algs="ES256 RS256 PS256 ES384 EdDSA"`) {
				t.Errorf("challenge %s", challenges)
			}
			if got := strings.Contains(challenges, "Bearer"); got != (habit == lab.DPoPOffered) {
				t.Errorf("challenge %s", challenges)
			}
			mine, other, target := newKey(t, "ES256"), newKey(t, "ES256"), c.server.MCPURL()
			token := c.boundLogin(mine, nil).text("access_token")
			ath := map[string]any{"ath": hashOf(token)}
			used := mine.proof(t, "POST", target, ath)
			if r := c.possess("DPoP", token, used); r.status != 200 {
				t.Errorf("good: %d %v", r.status, r.header)
			}
			for name, test := range map[string]struct {
				scheme, token string
				proof         []string
				code          string
			}{
				"reused":      {"DPoP", token, []string{used}, "invalid_dpop_proof"},
				"no proof":    {"DPoP", token, nil, "invalid_dpop_proof"},
				"two":         {"DPoP", token, []string{mine.proof(t, "POST", target, ath), mine.proof(t, "POST", target, ath)}, "invalid_dpop_proof"},
				"no ath":      {"DPoP", token, []string{mine.proof(t, "POST", target, nil)}, "invalid_dpop_proof"},
				"another ath": {"DPoP", token, []string{mine.proof(t, "POST", target, map[string]any{"ath": hashOf("x")})}, "invalid_dpop_proof"},
				"htm":         {"DPoP", token, []string{mine.proof(t, "GET", target, ath)}, "invalid_dpop_proof"},
				"htu":         {"DPoP", token, []string{mine.proof(t, "POST", c.server.URL()+"/mcp", ath)}, "invalid_dpop_proof"},
				"another key": {"DPoP", token, []string{other.proof(t, "POST", target, ath)}, "invalid_token"},
				"Bearer":      {"Bearer", token, []string{mine.proof(t, "POST", target, ath)}, "invalid_token"},
				"no token":    {"DPoP", "x", []string{mine.proof(t, "POST", target, map[string]any{"ath": hashOf("x")})}, "invalid_token"},
			} {
				r := c.possess(test.scheme, test.token, test.proof...)
				challenge := strings.Join(r.header.Values("WWW-Authenticate"), "\n")
				if r.status != 401 || !strings.Contains(challenge, `error="`+test.code+`"`) {
					t.Errorf("%s: %d %s", name, r.status, challenge)
				}
			}
			audit := c.server.Audit()
			if audit.Downgrades != 1 || audit.ProofReuses != 1 || audit.Proofs != 10 {
				t.Errorf("%+v", audit)
			}
			unbound := c.login(nil).text("access_token")
			if got := c.works(unbound); got != (habit == lab.DPoPOffered) {
				t.Errorf("an unbound token works: %v", got)
			}
			if r := c.possess("DPoP", unbound, mine.proof(t, "POST", target, map[string]any{"ath": hashOf(unbound)})); r.status != 401 {
				t.Errorf("an unbound token as DPoP: %d", r.status)
			}
		})
	}
}

// TestDPoPSilent takes both kinds of token at an MCP server that does not tell.
func TestDPoPSilent(t *testing.T) {
	c := start(t, lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPSilent}})
	if got := c.call("", "ping", "").header.Values("WWW-Authenticate"); len(got) != 1 || !strings.HasPrefix(got[0], "Bearer ") {
		t.Errorf("challenges %q", got)
	}
	document := c.get(strings.TrimSuffix(c.server.MCPURL(), "/mcp") + "/.well-known/oauth-protected-resource/mcp").document
	if document["dpop_signing_alg_values_supported"] != nil {
		t.Errorf("metadata %v", document)
	}
	c.wantPossession()
	c.wantLogin()
	token := c.boundLogin(newKey(t, "ES256"), nil).text("access_token")
	if got := c.possess("DPoP", token).header.Get("WWW-Authenticate"); !strings.HasPrefix(got, `DPoP error="invalid_dpop_proof"`) {
		t.Errorf("challenge %s", got)
	}
}

// TestDPoPUnknownToResource takes a bound token as Bearer, as an MCP server that knows nothing else
// does.
func TestDPoPUnknownToResource(t *testing.T) {
	c := start(t, lab.Habits{DPoP: lab.DPoP{Supported: true}})
	mine := newKey(t, "ES256")
	token := c.boundLogin(mine, nil).text("access_token")
	r := c.possess("DPoP", token, mine.proof(t, "POST", c.server.MCPURL(), map[string]any{"ath": hashOf(token)}))
	if r.status != 401 || !strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Bearer ") {
		t.Errorf("as DPoP: %d %v", r.status, r.header)
	}
	if !c.works(token) {
		t.Error("as Bearer it does not work")
	}
}

// TestDPoPRevocation revokes a bound token only with its key, where the habit says so.
func TestDPoPRevocation(t *testing.T) {
	for _, habit := range []bool{false, true} {
		c := start(t, lab.Habits{DPoP: lab.DPoP{Supported: true, ProveRevocation: habit}})
		mine := newKey(t, "ES256")
		token := c.boundLogin(mine, nil).text("refresh_token")
		revoke := func(proofs ...string) bool {
			r := c.request("POST", c.endpoint("/revoke"), url.Values{"client_id": {c.id}, "token": {token}}.Encode())
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header["Dpop"] = proofs
			c.do(r).is(t, 200, "")
			return c.server.Audit().Families[0].Revoked
		}
		if got := revoke(); got == habit {
			t.Errorf("%v: revoked without a proof: %v", habit, got)
		}
		if !revoke(mine.proof(t, "POST", c.endpoint("/revoke"), nil)) {
			t.Errorf("%v: not revoked with a proof", habit)
		}
	}
}

// TestDPoPNonce wants nonces at both servers, which change after some requests.
func TestDPoPNonce(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		c := start(t, lab.Habits{DPoP: lab.DPoP{
			Supported: true, Resource: lab.DPoPRequired, ServerNonce: 1, ResourceNonce: 2, QuietNonce: quiet, Window: time.Hour,
		}})
		mine, target := newKey(t, "ES256"), c.endpoint("/token")
		code := c.authorize(nil).Get("code")
		first := c.proven(c.codeForm(code, nil), mine.proof(t, "POST", target, nil))
		first.is(t, 400, "use_dpop_nonce")
		nonce := first.header.Get("DPoP-Nonce")
		login := c.proven(c.codeForm(code, nil), mine.proof(t, "POST", target, map[string]any{"nonce": nonce}))
		login.is(t, 200, "")
		if next := login.header.Get("DPoP-Nonce"); (next != "") == quiet || next == nonce {
			t.Errorf("the next nonce is %q", next)
		}
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {login.text("refresh_token")}}
		c.proven(form, mine.proof(t, "POST", target, map[string]any{"nonce": nonce})).is(t, 400, "use_dpop_nonce")

		token := login.text("access_token")
		send := func(nonce string) reply {
			claims := map[string]any{"ath": hashOf(token), "nonce": nonce, "iat": time.Now().Add(-50 * time.Minute).Unix()}
			return c.possess("DPoP", token, mine.proof(t, "POST", c.server.MCPURL(), claims))
		}
		r := send(nonce)
		if r.status != 401 || !strings.Contains(r.header.Get("WWW-Authenticate"), `DPoP error="use_dpop_nonce"`) {
			t.Fatalf("without a nonce: %d %v", r.status, r.header)
		}
		nonce = r.header.Get("DPoP-Nonce")
		if nonce == first.header.Get("DPoP-Nonce") {
			t.Error("one nonce for both servers")
		}
		for i, want := range []int{200, 200, 401} {
			if r := send(nonce); r.status != want || (i == 1 && r.header.Get("DPoP-Nonce") == nonce) {
				t.Errorf("request %d: %d %v", i, r.status, r.header)
			}
		}
		if n := c.server.Audit().ProofReuses; n != 0 {
			t.Errorf("%d reused proofs", n)
		}
	}
}

// TestDPoPStream opens the MCP server's stream with a proof.
func TestDPoPStream(t *testing.T) {
	c := start(t, lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired, ResourceNonce: 9}})
	mine := newKey(t, "ES256")
	token := c.boundLogin(mine, nil).text("access_token")
	nonce := c.possess("DPoP", token, mine.proof(t, "POST", c.server.MCPURL(), map[string]any{"ath": hashOf(token)})).header.Get("DPoP-Nonce")
	r := c.request(http.MethodGet, c.server.MCPURL(), "")
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", mine.proof(t, "GET", c.server.MCPURL(), map[string]any{"ath": hashOf(token), "nonce": nonce}))
	response, err := c.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 200 || response.Header.Get("DPoP-Nonce") != nonce {
		t.Errorf("%d %v", response.StatusCode, response.Header)
	}
	if !strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("no stream: %v", response.Header)
	}
}
