package lab_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// verified is the claims of a token that the server's listed key has signed.
func (c *hand) verified(token, typ string) map[string]any {
	c.t.Helper()
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal([]byte(c.get(c.metadata()["jwks_uri"].(string)).raw), &set); err != nil || len(set.Keys) != 1 {
		c.t.Fatalf("keys: %v %v", err, set)
	}
	k := set.Keys[0]
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(unb64(c.t, k["n"])), E: int(new(big.Int).SetBytes(unb64(c.t, k["e"])).Int64())}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		c.t.Fatal("no JWT")
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], unb64(c.t, parts[2])); err != nil {
		c.t.Fatal(err)
	}
	var header, claims map[string]any
	if json.Unmarshal(unb64(c.t, parts[0]), &header) != nil || json.Unmarshal(unb64(c.t, parts[1]), &claims) != nil {
		c.t.Fatal("not JSON")
	}
	if header["typ"] != typ || header["kid"] != k["kid"] || header["alg"] != "RS256" {
		c.t.Errorf("header %v", header)
	}
	return claims
}

// TestOpenID names the account that signed in, in the ID token and at the userinfo endpoint.
func TestOpenID(t *testing.T) {
	c := start(t, lab.Habits{OpenID: true, IssuerPath: "/tenant", ScopesSupported: []string{"read"}})
	if r := c.get(c.server.URL() + "/tenant/.well-known/openid-configuration"); r.status != 200 || r.text("userinfo_endpoint") != c.endpoint("/userinfo") {
		t.Errorf("openid-configuration: %s", r.raw)
	}
	subjects := make(map[any]bool)
	for account, changes := range map[string]url.Values{
		"user@lab.test":   {"nonce": {"n"}},
		"ana@example.com": {"login_hint": {"ana@example.com"}},
		"bo":              {},
	} {
		if account == "bo" {
			c.server.SetAccount("bo")
		} else {
			c.server.SetAccount("")
		}
		changes.Set("scope", "openid read")
		r := c.login(changes)
		claims := c.verified(r.text("id_token"), "JWT")
		if claims["iss"] != c.server.Issuer() || claims["aud"] != c.id || claims["preferred_username"] != account ||
			claims["exp"].(float64) < float64(time.Now().Unix()) || claims["auth_time"] == nil {
			t.Errorf("%s: %v", account, claims)
		}
		if want := changes.Get("nonce"); want != "" && claims["nonce"] != want || want == "" && claims["nonce"] != nil {
			t.Errorf("nonce %v", claims["nonce"])
		}
		subjects[claims["sub"]] = true
		request := c.request("GET", c.endpoint("/userinfo"), "")
		request.Header.Set("Authorization", "Bearer "+r.text("access_token"))
		info := c.do(request)
		if info.status != 200 || info.text("sub") != claims["sub"] || info.text("preferred_username") != account {
			t.Errorf("userinfo: %d %s", info.status, info.raw)
		}
		again := c.verified(c.refresh(r.text("refresh_token"), nil).text("id_token"), "JWT")
		if again["sub"] != claims["sub"] || again["nonce"] != nil {
			t.Errorf("refreshed: %v", again)
		}
	}
	if len(subjects) != 3 {
		t.Errorf("%d subjects", len(subjects))
	}
	plain := c.login(url.Values{"scope": {"read"}})
	request := c.request("GET", c.endpoint("/userinfo"), "")
	if plain.document["id_token"] != nil || c.do(request).status != 401 {
		t.Error("an ID token without openid, or userinfo without a token")
	}
	request = c.request("GET", c.endpoint("/userinfo"), "")
	request.Header.Set("Authorization", "Bearer "+plain.text("access_token"))
	if r := c.do(request); r.status != 403 {
		t.Errorf("userinfo without openid: %d", r.status)
	}
	c = start(t, lab.Habits{})
	if r := c.login(url.Values{"scope": {"openid"}}); r.document["id_token"] != nil || c.get(c.endpoint("/jwks")).status != 404 {
		t.Errorf("without the habit: %s", r.raw)
	}
}

// workloadServer trusts an issuer.
func workloadServer(t *testing.T, issuer string, k key) *hand {
	t.Helper()
	c := start(t, lab.Habits{Grants: []string{lab.GrantJWTBearer}, ScopesSupported: []string{"read", "write"}})
	c.server.TrustIssuer(issuer, jwks(t, k))
	return c
}

func (c *hand) bearer(assertion string, changes url.Values) reply {
	c.t.Helper()
	form := url.Values{"grant_type": {lab.GrantJWTBearer}, "assertion": {assertion}, "resource": {c.server.ResourceURL()}}
	change(form, changes)
	return c.form(c.endpoint("/token"), form)
}

// TestWorkload takes the token of a platform that it trusts, with and without a client_id.
func TestWorkload(t *testing.T) {
	const issuer = "https://kubernetes.test"
	mine, other := newKey(t, "ES256"), newKey(t, "ES256")
	c := workloadServer(t, issuer, mine)
	workload := func(changes map[string]any) map[string]any {
		full := map[string]any{"iss": issuer, "sub": "system:serviceaccount:a:b", "jti": nil}
		for name, value := range changes {
			full[name] = value
		}
		return c.claims(full)
	}
	good := mine.sign(t, nil, workload(nil))
	for range 2 { // a platform's token is used until it expires
		r := c.bearer(good, nil)
		if r.status != 200 || !c.works(r.text("access_token")) || r.document["refresh_token"] != nil {
			t.Errorf("%d %s", r.status, r.raw)
		}
	}
	if f := c.server.Audit().Families[0]; f.ClientID != "system:serviceaccount:a:b" {
		t.Errorf("%+v", f)
	}
	c.bearer(good, url.Values{"client_id": {c.id}}).is(t, 200, "")
	c.bearer(mine.sign(t, nil, workload(map[string]any{"aud": []string{"x", c.endpoint("/token")}})), nil).is(t, 200, "")
	c.bearer(good, url.Values{"client_id": {"other"}}).is(t, 401, "invalid_client")
	c.bearer(good, url.Values{"resource": {"https://x.test"}}).is(t, 400, "invalid_target")
	for name, assertion := range map[string]string{
		"another key":    other.sign(t, nil, workload(nil)),
		"another issuer": mine.sign(t, nil, workload(map[string]any{"iss": "https://x.test"})),
		"another aud":    mine.sign(t, nil, workload(map[string]any{"aud": "https://x.test"})),
		"expired":        mine.sign(t, nil, workload(map[string]any{"exp": time.Now().Add(-time.Minute).Unix()})),
		"no exp":         mine.sign(t, nil, workload(map[string]any{"exp": nil})),
		"no sub":         mine.sign(t, nil, workload(map[string]any{"sub": nil})),
	} {
		if r := c.bearer(assertion, nil); r.status != 400 || r.text("error") != "invalid_grant" {
			t.Errorf("%s: %d %s", name, r.status, r.raw)
		}
	}
	c.bearer("x", nil).is(t, 401, "invalid_client")
	c.bearer("x", url.Values{"client_id": {c.id}}).is(t, 400, "invalid_grant")
	c.server.TrustIssuer(issuer, "")
	c.bearer(good, nil).is(t, 400, "invalid_grant")
	for _, r := range c.server.Requests() {
		if strings.Contains(r.Params.Get("assertion"), ".") {
			t.Error("an assertion is in the log")
		}
	}
}

// TestIDJAG takes a provider's grant for this client, this server and this resource, once.
func TestIDJAG(t *testing.T) {
	const issuer = "https://company.test"
	mine := newKey(t, "ES256")
	c := workloadServer(t, issuer, mine)
	jag := func(changes map[string]any) string {
		full := map[string]any{"iss": issuer, "sub": "u1", "client_id": c.id, "resource": c.server.ResourceURL(), "scope": "read", "jti": rand.Text()}
		for name, value := range changes {
			full[name] = value
		}
		return mine.sign(t, map[string]any{"typ": "oauth-id-jag+jwt"}, c.claims(full))
	}
	me := url.Values{"client_id": {c.id}}
	used := jag(nil)
	r := c.bearer(used, me)
	if r.status != 200 || r.text("scope") != "read" || r.document["refresh_token"] != nil {
		t.Fatalf("%s", r.raw)
	}
	if got := text(t, c.metadata()["authorization_grant_profiles_supported"]); got != `["urn:ietf:params:oauth:grant-profile:id-jag"]` {
		t.Errorf("lists %s", got)
	}
	for name, assertion := range map[string]string{
		"used":             used,
		"another client":   jag(map[string]any{"client_id": "x"}),
		"no client":        jag(map[string]any{"client_id": nil}),
		"another resource": jag(map[string]any{"resource": "https://x.test"}),
		"token endpoint":   jag(map[string]any{"aud": c.endpoint("/token")}),
		"two audiences":    jag(map[string]any{"aud": []string{c.server.Issuer(), "x"}}),
		"no jti":           jag(map[string]any{"jti": nil}),
	} {
		if r := c.bearer(assertion, me); r.status != 400 || r.text("error") != "invalid_grant" {
			t.Errorf("%s: %d %s", name, r.status, r.raw)
		}
	}
	c.bearer(jag(nil), url.Values{"client_id": {c.id}, "scope": {"write"}}).is(t, 400, "invalid_scope")
	c.bearer(jag(nil), nil).is(t, 401, "invalid_client")
	c.bearer(jag(map[string]any{"resource": nil, "scope": nil}), me).is(t, 200, "")
}

// TestEnterprise signs in at a company's provider once and gets to two MCP servers through it.
func TestEnterprise(t *testing.T) {
	company := start(t, lab.Habits{OpenID: true, Grants: []string{lab.GrantTokenExchange}})
	company.server.RegisterClient(lab.ConfiguredClient{ID: "at-company", Secret: "s", Method: lab.MethodPost})
	company.id, company.secret, company.method = "at-company", "s", lab.MethodPost
	if got := text(t, company.metadata()["identity_chaining_requested_token_types_supported"]); got != `["urn:ietf:params:oauth:token-type:id-jag"]` {
		t.Errorf("lists %s", got)
	}
	login := company.login(url.Values{"scope": {"openid"}, "resource": {""}})
	exchange := func(changes url.Values) reply {
		form := url.Values{
			"grant_type":           {lab.GrantTokenExchange},
			"requested_token_type": {"urn:ietf:params:oauth:token-type:id-jag"},
			"subject_token":        {login.text("id_token")},
			"subject_token_type":   {"urn:ietf:params:oauth:token-type:id_token"},
			"scope":                {"read"},
		}
		change(form, changes)
		return company.do(company.tokenRequest(form))
	}
	var last *hand
	for range 2 {
		c := start(t, lab.Habits{Grants: []string{lab.GrantJWTBearer}})
		c.server.TrustIssuer(company.server.Issuer(), company.server.JWKS())
		company.server.AllowExchange(c.server.Issuer(), c.id)
		r := exchange(url.Values{"audience": {c.server.Issuer()}, "resource": {c.server.ResourceURL()}})
		if r.status != 200 || r.text("token_type") != "N_A" || r.text("issued_token_type") != "urn:ietf:params:oauth:token-type:id-jag" {
			t.Fatalf("%d %s", r.status, r.raw)
		}
		claims := company.verified(r.text("access_token"), "oauth-id-jag+jwt")
		if claims["client_id"] != c.id || claims["aud"] != c.server.Issuer() || claims["resource"] != c.server.ResourceURL() {
			t.Errorf("%v", claims)
		}
		granted := c.bearer(r.text("access_token"), url.Values{"client_id": {c.id}})
		if granted.status != 200 || !c.works(granted.text("access_token")) {
			t.Errorf("%s", granted.raw)
		}
		last = c
	}
	audience := url.Values{"audience": {last.server.Issuer()}}
	with := func(name, value string) url.Values {
		return url.Values{"audience": audience["audience"], name: {value}}
	}
	exchange(url.Values{"audience": {"https://x.test"}}).is(t, 400, "invalid_target")
	exchange(nil).is(t, 400, "invalid_target")
	exchange(with("subject_token", "x")).is(t, 400, "invalid_request")
	exchange(with("subject_token_type", "x")).is(t, 400, "invalid_request")
	exchange(with("requested_token_type", "x")).is(t, 400, "invalid_request")
	refresh := with("subject_token_type", "urn:ietf:params:oauth:token-type:refresh_token")
	refresh.Set("subject_token", login.text("refresh_token"))
	exchange(refresh).is(t, 200, "")
	company.server.RegisterClient(lab.ConfiguredClient{ID: "b", Secret: "s", Method: lab.MethodPost})
	company.id = "b"
	exchange(audience).is(t, 400, "invalid_request") // another client's ID token
	company.id = "at-company"
	company.server.Advance(time.Hour)
	exchange(audience).is(t, 400, "invalid_request") // expired
	if r := last.bearer("", nil); r.status != 401 {
		t.Errorf("no assertion: %d", r.status)
	}
}
