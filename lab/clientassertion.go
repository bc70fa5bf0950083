package lab

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"time"
)

// Assertions is how the JWTs with which clients authenticate are checked (RFC 7523 section 3). The
// zero value takes every algorithm that the lab knows, and only the issuer as audience (RFC 7523bis
// section 4).
type Assertions struct {
	// Algorithms is token_endpoint_auth_signing_alg_values_supported; others are rejected. Empty
	// means ES256, RS256, PS256, ES384 and EdDSA, and HS256 with client_secret_jwt.
	Algorithms []string `json:"algorithms,omitempty"`
	// OmitAlgorithms leaves the member out of the metadata.
	OmitAlgorithms bool `json:"omit_algorithms,omitempty"`
	// Type is the typ that the header must have, such as "JWT". Empty means that, or
	// client-authentication+jwt, or none.
	Type string `json:"type,omitempty"`
	// Audience is what aud may be: [AudienceIssuer] (the zero value), [AudienceEither],
	// [AudienceEndpoint].
	Audience string `json:"audience,omitempty"`
}

// Values of [Assertions.Audience].
const (
	AudienceIssuer   = ""         // the issuer alone, as a string
	AudienceEither   = "either"   // the issuer or the endpoint's URL, in an array too (RFC 7523)
	AudienceEndpoint = "endpoint" // the token endpoint's URL alone, at each endpoint
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// clockSkew is how far ahead of the server's a client's clock may be.
const clockSkew = 30 * time.Second

// maxAssertionLife is how long an assertion may be good for, from now on.
const maxAssertionLife = time.Hour

// Assertion is a JWT with which a client authenticated, or tried to, in the request log.
type Assertion struct {
	Alg      string
	KeyID    string   // kid
	Type     string   // typ
	Audience []string // aud
	ID       string   // jti
}

// seenAssertion is the log's entry for a token.
func seenAssertion(t *jwt) *Assertion {
	if t == nil {
		return nil
	}
	return &Assertion{
		Alg: t.header.Alg, KeyID: t.header.Kid, Type: t.header.Typ,
		Audience: t.audience(), ID: t.text("jti"),
	}
}

// types are the typ headers that are accepted.
func (a Assertions) types() []string {
	if a.Type != "" {
		return []string{a.Type}
	}
	return []string{"", "JWT", "client-authentication+jwt"}
}

// audience is the aud claim, a string or an array of them (RFC 7519 section 4.1.3).
func (t *jwt) audience() []string {
	switch aud := t.claims["aud"].(type) {
	case string:
		return []string{aud}
	case []any:
		var all []string
		for _, one := range aud {
			if s, ok := one.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}

// lookUp finds, before the state is locked, what about a request's client has to be fetched: its
// metadata document and its keys.
func (s *Server) lookUp(x *exchange) {
	ctx := x.r.Context()
	s.mu.Lock()
	c := s.state.clients[x.seen.id]
	if c == nil && x.seen.assertion == nil {
		c = s.state.documents[x.seen.id]
	}
	s.mu.Unlock()
	if c == nil {
		c, _ = s.findClient(ctx, x.seen.id)
	}
	if c == nil {
		return
	}
	x.client = c
	if x.seen.assertion != nil || x.r.TLS != nil {
		x.keys, x.keysErr = s.clientKeys(ctx, c.ConfiguredClient)
	}
}

// clientKeys returns the public keys of a client.
func (s *Server) clientKeys(ctx context.Context, c ConfiguredClient) ([]jwk, error) {
	raw := []byte(c.JWKS)
	if c.JWKS == "" && c.JWKSURI != "" {
		var err error
		if raw, err = s.fetch(ctx, c.JWKSURI); err != nil {
			return nil, errors.New("the jwks_uri cannot be fetched")
		}
	}
	if len(raw) == 0 {
		return nil, errors.New("the client has no keys")
	}
	return parseJWKS(raw)
}

// checkAssertion returns what is wrong with the JWT of a request, or nothing. The caller holds
// s.mu.
func (s *Server) checkAssertion(x *exchange, c *client) (why string) {
	t := x.seen.assertion
	if !slices.Contains(s.assertionAlgorithms(), t.header.Alg) {
		return "the algorithm " + t.header.Alg + " is not supported"
	}
	if !slices.Contains(s.habits.Assertions.types(), t.header.Typ) {
		return "typ is not that of a client assertion"
	}
	if err := verifyAssertion(x, c); err != nil {
		return err.Error()
	}
	if t.text("iss") != c.ID || t.text("sub") != c.ID {
		return "iss and sub must be the client_id"
	}
	if !s.audienceAccepted(x, t) {
		return "aud is not this server"
	}
	if why := s.checkTimes(t, maxAssertionLife); why != "" {
		return why
	}
	if t.text("jti") == "" {
		return "jti is missing"
	}
	if !s.firstUse("assertion", c.ID+" "+t.text("jti")) {
		s.state.audit.AssertionReuses++
		return "jti has been used"
	}
	return ""
}

// verifyAssertion checks the signature with the client's secret or one of its keys.
func verifyAssertion(x *exchange, c *client) error {
	if x.seen.method == MethodSecretJWT {
		return x.seen.assertion.verifySecret(c.Secret)
	}
	if x.keysErr != nil {
		return x.keysErr
	}
	return x.seen.assertion.verifySet(x.keys)
}

func (s *Server) assertionAlgorithms() []string {
	if len(s.habits.Assertions.Algorithms) > 0 {
		return s.habits.Assertions.Algorithms
	}
	return append(slices.Clone(publicAlgorithms), AlgHS256)
}

func (s *Server) audienceAccepted(x *exchange, t *jwt) bool {
	token := s.endpointURL("/token")
	one, _ := t.claims["aud"].(string)
	switch s.habits.Assertions.Audience {
	case AudienceEndpoint:
		return one == token
	case AudienceEither:
		accepted := []string{s.Issuer(), token, s.origin + x.r.URL.Path}
		return slices.ContainsFunc(t.audience(),
			func(aud string) bool { return slices.Contains(accepted, aud) })
	default:
		return one == s.Issuer()
	}
}

// checkTimes returns what is wrong with exp, iat and nbf, or nothing. exp may be at most life from
// now.
func (s *Server) checkTimes(t *jwt, life time.Duration) (why string) {
	now := float64(s.clock.now().UnixNano()) / float64(time.Second)
	ends, ok := t.number("exp")
	switch {
	case !ok:
		return "exp is missing"
	case ends <= now:
		return "the assertion has expired"
	case ends > now+life.Seconds():
		return "exp is too far away"
	}
	for _, name := range []string{"iat", "nbf"} {
		if begins, ok := t.number(name); ok && begins > now+clockSkew.Seconds() {
			return name + " is in the future"
		}
	}
	return ""
}

// firstUse reports whether an id of a kind comes for the first time. The caller holds s.mu.
func (s *Server) firstUse(kind, id string) bool {
	key := sha256.Sum256([]byte(kind + " " + id))
	if s.state.used[key] {
		return false
	}
	s.state.used[key] = true
	return true
}

// assertionMetadata is token_endpoint_auth_signing_alg_values_supported, nil where no listed method
// signs.
func (s *Server) assertionMetadata() []string {
	methods := s.methods()
	private := slices.Contains(methods, MethodPrivateKeyJWT)
	secret := slices.Contains(methods, MethodSecretJWT)
	switch {
	case s.habits.Assertions.OmitAlgorithms || !private && !secret:
		return nil
	case len(s.habits.Assertions.Algorithms) > 0:
		return s.habits.Assertions.Algorithms
	}
	var algorithms []string
	if private {
		algorithms = append(algorithms, publicAlgorithms...)
	}
	if secret {
		algorithms = append(algorithms, AlgHS256)
	}
	return algorithms
}

// clientDocument holds the keys of a client ID metadata document or a registration.
type clientDocument struct {
	JWKS      json.RawMessage `json:"jwks,omitempty"`
	JWKSURI   string          `json:"jwks_uri,omitempty"`
	SubjectDN string          `json:"tls_client_auth_subject_dn,omitempty"`
	DPoPBound bool            `json:"dpop_bound_access_tokens,omitempty"`
}

// describe sets the members of a client that the document has.
func (d clientDocument) describe(c *ConfiguredClient) {
	c.JWKS, c.JWKSURI, c.SubjectDN, c.DPoPBound = string(d.JWKS), d.JWKSURI, d.SubjectDN, d.DPoPBound
}
