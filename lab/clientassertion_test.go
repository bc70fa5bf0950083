package lab_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// claims are those of a client assertion, with changes; a nil value takes one out.
func (c *hand) claims(changes map[string]any) map[string]any {
	now := time.Now()
	claims := map[string]any{
		"iss": c.id, "sub": c.id, "aud": c.server.Issuer(), "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}
	for name, value := range changes {
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
	}
	return claims
}

// asserted adds a client assertion to the parameters of a request.
func asserted(form url.Values, assertion string) url.Values {
	out := url.Values{
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {assertion},
	}
	for name, values := range form {
		out[name] = values
	}
	return out
}

// form posts parameters to an endpoint.
func (c *hand) form(target string, form url.Values) reply {
	c.t.Helper()
	r := c.request(http.MethodPost, target, form.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.do(r)
}

func (c *hand) refreshForm() url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.server.Issue(c.id, "", "").Refresh}}
}

// TestPrivateKeyJWT accepts a client by its key, of each kind, and rejects each claim that is wrong.
func TestPrivateKeyJWT(t *testing.T) {
	for _, alg := range []string{"ES256", "RS256", "PS256", "ES384", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			c := start(t, lab.Habits{})
			c.id = "keyed"
			mine, other := newKey(t, alg), newKey(t, alg)
			c.server.RegisterClient(lab.ConfiguredClient{ID: c.id, JWKS: jwks(t, mine)})
			good := mine.sign(t, nil, c.claims(nil))
			c.form(c.endpoint("/token"), asserted(c.refreshForm(), good)).is(t, 200, "")
			if r := c.server.Requests()[0]; r.AuthMethod != lab.MethodPrivateKeyJWT || r.ClientID != c.id || r.Assertion.Alg != alg ||
				!slices.Equal(r.Assertion.Audience, []string{c.server.Issuer()}) || strings.Contains(r.Params.Get("client_assertion"), good[:10]) {
				t.Errorf("noted as %+v %+v", r, r.Assertion)
			}
			r := c.form(c.endpoint("/token"), asserted(c.refreshForm(), good))
			r.is(t, 401, "invalid_client")
			if n := c.server.Audit().AssertionReuses; n != 1 {
				t.Errorf("%d reused assertions", n)
			}
			tampered := good[:len(good)-6] + "AAAAAA"
			bad := map[string]string{
				"another key":   other.sign(t, nil, c.claims(nil)),
				"tampered":      tampered,
				"another iss":   mine.sign(t, nil, c.claims(map[string]any{"iss": "x"})),
				"another sub":   mine.sign(t, nil, c.claims(map[string]any{"sub": "ana"})),
				"endpoint":      mine.sign(t, nil, c.claims(map[string]any{"aud": c.endpoint("/token")})),
				"array":         mine.sign(t, nil, c.claims(map[string]any{"aud": []string{c.server.Issuer()}})),
				"no aud":        mine.sign(t, nil, c.claims(map[string]any{"aud": nil})),
				"no exp":        mine.sign(t, nil, c.claims(map[string]any{"exp": nil})),
				"expired":       mine.sign(t, nil, c.claims(map[string]any{"exp": time.Now().Add(-time.Second).Unix()})),
				"lives long":    mine.sign(t, nil, c.claims(map[string]any{"exp": time.Now().Add(24 * time.Hour).Unix()})),
				"from tomorrow": mine.sign(t, nil, c.claims(map[string]any{"iat": time.Now().Add(5 * time.Minute).Unix()})),
				"no jti":        mine.sign(t, nil, c.claims(map[string]any{"jti": nil})),
				"another typ":   mine.sign(t, map[string]any{"typ": "dpop+jwt"}, c.claims(nil)),
				"another kid":   mine.sign(t, map[string]any{"kid": "k2"}, c.claims(nil)),
				"crit":          mine.sign(t, map[string]any{"crit": []string{"b64"}}, c.claims(nil)),
				"none":          b64([]byte(`{"alg":"none"}`)) + "." + b64([]byte(text(t, c.claims(nil)))) + ".",
				"HS256":         signHS256(t, jwks(t, mine), c.claims(nil)),
				"no JWT":        "x",
			}
			for name, assertion := range bad {
				r := c.form(c.endpoint("/token"), asserted(c.refreshForm(), assertion))
				if r.status != 401 || r.text("error") != "invalid_client" {
					t.Errorf("%s: %d %s", name, r.status, r.raw)
				}
			}
			form := asserted(c.refreshForm(), mine.sign(t, nil, c.claims(nil)))
			form.Set("client_assertion_type", "urn:x")
			c.form(c.endpoint("/token"), form).is(t, 401, "invalid_client")
			form = asserted(c.refreshForm(), mine.sign(t, nil, c.claims(nil)))
			form.Set("client_secret", "x")
			c.form(c.endpoint("/token"), form).is(t, 400, "invalid_request")
			form = c.refreshForm()
			form.Set("client_id", c.id)
			c.form(c.endpoint("/token"), form).is(t, 401, "invalid_client")
		})
	}
}

// TestAssertionAudience accepts the audience that the habits select.
func TestAssertionAudience(t *testing.T) {
	mine := newKey(t, "ES256")
	for habit, accepted := range map[string][]string{
		lab.AudienceIssuer:   {"issuer"},
		lab.AudienceEither:   {"issuer", "endpoint", "issuer in an array", "both in an array"},
		lab.AudienceEndpoint: {"endpoint"},
	} {
		c := start(t, lab.Habits{IssuerPath: "/tenant", Assertions: lab.Assertions{Audience: habit}})
		c.server.RegisterClient(lab.ConfiguredClient{ID: c.id, JWKS: jwks(t, mine)})
		issuer, endpoint := c.server.Issuer(), c.endpoint("/token")
		for name, aud := range map[string]any{
			"issuer": issuer, "endpoint": endpoint, "issuer in an array": []string{issuer},
			"both in an array": []string{issuer, endpoint}, "another": "https://as.elsewhere.test",
		} {
			r := c.form(endpoint, asserted(c.refreshForm(), mine.sign(t, nil, c.claims(map[string]any{"aud": aud}))))
			if got, want := r.status == 200, slices.Contains(accepted, name); got != want {
				t.Errorf("%q: %s: %d %s", habit, name, r.status, r.raw)
			}
		}
	}
}

// TestAssertionType accepts the typ that the habit names, or each that the RFCs know.
func TestAssertionType(t *testing.T) {
	mine := newKey(t, "ES256")
	for habit, accepted := range map[string][]string{
		"": {"", "JWT", "client-authentication+jwt"}, "JWT": {"JWT"}, "client-authentication+jwt": {"client-authentication+jwt"},
	} {
		c := start(t, lab.Habits{Assertions: lab.Assertions{Type: habit}})
		c.server.RegisterClient(lab.ConfiguredClient{ID: c.id, JWKS: jwks(t, mine)})
		for _, typ := range []string{"", "JWT", "client-authentication+jwt", "at+jwt"} {
			r := c.form(c.endpoint("/token"), asserted(c.refreshForm(), mine.sign(t, map[string]any{"typ": typ}, c.claims(nil))))
			if got, want := r.status == 200, slices.Contains(accepted, typ); got != want {
				t.Errorf("%q: %q: %d %s", habit, typ, r.status, r.raw)
			}
		}
	}
}

// TestEd25519 takes the newer name of the algorithm where it is listed, and only there.
func TestEd25519(t *testing.T) {
	mine := newKey(t, "EdDSA")
	for _, listed := range []string{"EdDSA", "Ed25519"} {
		c := start(t, lab.Habits{Assertions: lab.Assertions{Algorithms: []string{listed}}})
		c.server.RegisterClient(lab.ConfiguredClient{ID: c.id, JWKS: jwks(t, mine)})
		for _, alg := range []string{"EdDSA", "Ed25519"} {
			r := c.form(c.endpoint("/token"), asserted(c.refreshForm(), mine.sign(t, map[string]any{"alg": alg}, c.claims(nil))))
			if got := r.status == 200; got != (alg == listed) {
				t.Errorf("%s listed, %s used: %d", listed, alg, r.status)
			}
		}
	}
}

// TestClientSecretJWT accepts a client by a signature with its secret, and not by the secret itself.
func TestClientSecretJWT(t *testing.T) {
	c := start(t, lab.Habits{Methods: []string{lab.MethodSecretJWT}, SecretLifetime: time.Hour})
	if got := c.metadata()["token_endpoint_auth_signing_alg_values_supported"]; text(t, got) != `["HS256"]` {
		t.Errorf("lists %v", got)
	}
	if r := c.register(map[string]any{"token_endpoint_auth_method": lab.MethodSecretJWT}); r.status != 201 || c.secret == "" {
		t.Fatalf("registered: %s", r.raw)
	}
	c.form(c.endpoint("/token"), asserted(c.refreshForm(), signHS256(t, c.secret, c.claims(nil)))).is(t, 200, "")
	c.form(c.endpoint("/token"), asserted(c.refreshForm(), signHS256(t, "x", c.claims(nil)))).is(t, 401, "invalid_client")
	c.form(c.endpoint("/token"), asserted(c.refreshForm(), newKey(t, "ES256").sign(t, nil, c.claims(nil)))).is(t, 401, "invalid_client")
	c.method = lab.MethodPost
	c.refresh("x", nil).is(t, 401, "invalid_client")
	c.server.Advance(time.Hour)
	late := map[string]any{"exp": time.Now().Add(61 * time.Minute).Unix()}
	c.form(c.endpoint("/token"), asserted(c.refreshForm(), signHS256(t, c.secret, c.claims(late)))).is(t, 401, "invalid_client")
	if n := c.server.Audit().EndedSecrets; n != 1 {
		t.Errorf("%d requests with a secret past its end", n)
	}
}

// TestAssertionAlgorithms lists the algorithms that it takes, and rejects the others.
func TestAssertionAlgorithms(t *testing.T) {
	c := start(t, lab.Habits{
		Methods: []string{lab.MethodPrivateKeyJWT}, Assertions: lab.Assertions{Algorithms: []string{"ES384"}},
	})
	if got := c.metadata()["token_endpoint_auth_signing_alg_values_supported"]; text(t, got) != `["ES384"]` {
		t.Errorf("lists %v", got)
	}
	small, large := newKey(t, "ES256"), newKey(t, "ES384")
	c.server.RegisterClient(lab.ConfiguredClient{ID: c.id, JWKS: jwks(t, small, large)})
	c.form(c.endpoint("/token"), asserted(c.refreshForm(), small.sign(t, nil, c.claims(nil)))).is(t, 401, "invalid_client")
	c.form(c.endpoint("/token"), asserted(c.refreshForm(), large.sign(t, nil, c.claims(nil)))).is(t, 200, "")

	c = start(t, lab.Habits{Methods: []string{lab.MethodPrivateKeyJWT}})
	if got := c.metadata()["token_endpoint_auth_signing_alg_values_supported"]; text(t, got) != `["ES256","RS256","PS256","ES384","EdDSA"]` {
		t.Errorf("lists %v", got)
	}
	if got := start(t, lab.Habits{}).metadata()["token_endpoint_auth_signing_alg_values_supported"]; got != nil {
		t.Errorf("lists %v without a method that signs", got)
	}
}

// TestRegisteredKeys takes the key of a dynamic registration, and of a document that is fetched.
func TestRegisteredKeys(t *testing.T) {
	mine, next := newKey(t, "ES256"), newKey(t, "ES256")
	mine.public["kid"], next.public["kid"] = "one", "two"
	keys := jwks(t, mine)
	const id = "https://client.test/client.json"
	fetch := func(_ context.Context, u string) ([]byte, error) {
		switch u {
		case "https://client.test/jwks":
			return []byte(keys), nil
		case id:
			return []byte(`{"client_id":"` + id + `","redirect_uris":["` + redirectURI +
				`"],"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://client.test/jwks"}`), nil
		}
		return nil, errors.New("no such page")
	}
	c := startWith(t, lab.Habits{Methods: []string{"private_key_jwt", "none"}, ClientIDMetadata: true}, lab.Options{Fetch: fetch})
	c.register(map[string]any{"token_endpoint_auth_method": "private_key_jwt"}).is(t, 400, "invalid_client_metadata")
	set := map[string]any{"keys": []any{mine.public}}
	if r := c.register(map[string]any{"token_endpoint_auth_method": "private_key_jwt", "jwks": set}); r.status != 201 || c.secret != "" || r.document["jwks"] == nil {
		t.Fatalf("registered: %s", r.raw)
	}
	sign := func(k key) url.Values {
		return asserted(c.refreshForm(), k.sign(t, map[string]any{"kid": k.public["kid"]}, c.claims(nil)))
	}
	c.form(c.endpoint("/token"), sign(mine)).is(t, 200, "")
	c.form(c.endpoint("/token"), sign(next)).is(t, 401, "invalid_client")

	// The client of the document logs in, authenticates at revocation too, and replaces its key.
	c.id = id
	code := c.authorize(nil).Get("code")
	c.do(c.tokenRequest(c.codeForm(code, nil))).is(t, 401, "invalid_client")
	form := asserted(c.codeForm(code, nil), mine.sign(t, nil, c.claims(nil)))
	token := c.form(c.endpoint("/token"), form).text("refresh_token")
	keys = jwks(t, next)
	c.form(c.endpoint("/token"), sign(mine)).is(t, 401, "invalid_client")
	c.form(c.endpoint("/token"), sign(next)).is(t, 200, "")
	c.form(c.endpoint("/revoke"), url.Values{"client_id": {id}, "token": {token}}).is(t, 401, "invalid_client")
	c.form(c.endpoint("/revoke"), asserted(url.Values{"token": {token}}, next.sign(t, nil, c.claims(nil)))).is(t, 200, "")
	if f := c.server.Audit().Families[2]; !f.Revoked && f.ClientID == id {
		t.Errorf("not revoked: %+v", f)
	}
}

// TestClientCredentials gives a confidential client a token of its own, and no refresh token.
func TestClientCredentials(t *testing.T) {
	c := start(t, lab.Habits{Grants: []string{lab.GrantClientCredentials}, ScopesSupported: []string{"read"}})
	if got := text(t, c.metadata()["grant_types_supported"]); got != `["authorization_code","refresh_token","client_credentials"]` {
		t.Errorf("lists %v", got)
	}
	request := url.Values{"grant_type": {"client_credentials"}, "resource": {c.server.ResourceURL()}, "scope": {"read"}}
	c.do(c.tokenRequest(request)).is(t, 400, "unauthorized_client") // a public client
	mine := newKey(t, "ES256")
	for _, client := range []lab.ConfiguredClient{
		{ID: "m", Secret: "s", Method: lab.MethodBasic}, {ID: "m", Secret: "s", Method: lab.MethodPost}, {ID: "m", JWKS: jwks(t, mine)},
	} {
		c.server.RegisterClient(client)
		c.id, c.secret, c.method = client.ID, client.Secret, client.Method
		send := func(form url.Values) reply {
			if client.JWKS != "" {
				return c.form(c.endpoint("/token"), asserted(form, mine.sign(t, nil, c.claims(nil))))
			}
			return c.do(c.tokenRequest(form))
		}
		r := send(request)
		if r.status != 200 || r.document["refresh_token"] != nil || r.text("scope") != "read" || !c.works(r.text("access_token")) {
			t.Errorf("%s: %s", client.Method, r.raw)
		}
		for name, code := range map[string]string{"resource": "invalid_target", "scope": "invalid_scope"} {
			form := url.Values{"grant_type": {"client_credentials"}, name: {"https://x.test"}}
			send(form).is(t, 400, code)
		}
	}
	if n := c.server.Counts()["token:client_credentials"]; n != 10 {
		t.Errorf("%d requests", n)
	}
	c.server.RegisterClient(lab.ConfiguredClient{ID: "m", Secret: "s", Method: lab.MethodPost, GrantTypes: []string{"authorization_code"}})
	c.id, c.secret, c.method = "m", "s", lab.MethodPost
	c.do(c.tokenRequest(request)).is(t, 400, "unauthorized_client")
	c = start(t, lab.Habits{})
	c.do(c.tokenRequest(request)).is(t, 400, "unsupported_grant_type")
}
