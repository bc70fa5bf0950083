package lab

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// idTokenLife is how long ID tokens are good.
const idTokenLife = time.Hour

// signs reports whether the server has a key that others verify its tokens with.
func (s *Server) signs() bool {
	return s.habits.OpenID || s.grants(GrantTokenExchange) ||
		s.habits.ServerForm == ServerOIDCInsert || s.habits.ServerForm == ServerOIDCAppend
}

// signingKeys are the keys of the servers of this process, which take turns: to make one takes a
// tenth of a second, and thousands of servers are started in tests.
var signingKeys struct {
	sync.Mutex
	keys [8]*rsa.PrivateKey
	next int
}

// nextSigningKey returns a server's key, another one than that of the server before.
func nextSigningKey() *rsa.PrivateKey {
	signingKeys.Lock()
	defer signingKeys.Unlock()
	key := &signingKeys.keys[signingKeys.next]
	signingKeys.next = (signingKeys.next + 1) % len(signingKeys.keys)
	if *key == nil {
		var err error
		if *key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			panic(err) // rand.Reader does not fail
		}
	}
	return *key
}

// JWKS returns the JWK set of the server's key, as at its jwks_uri, for [Server.TrustIssuer].
func (s *Server) JWKS() string { return string(s.jwks(nil).body) }

func (s *Server) jwks(*exchange) response {
	return jsonResponse(http.StatusOK, map[string][]jwk{"keys": {rsaJWK(s.signingKey())}})
}

// sign makes a token of the server.
func (s *Server) sign(typ string, claims map[string]any) string {
	key := s.signingKey()
	text := signRS256(key, jwtHeader{Typ: typ, Kid: rsaJWK(key).Kid}, claims)
	s.state.secrets = append(s.state.secrets, text)
	return text
}

// idToken makes the ID token of a grant (OpenID Connect Core 1.0 section 2), empty where the scope
// has no openid.
func (s *Server) idToken(f *family) string {
	if !s.habits.OpenID || !slices.Contains(strings.Fields(f.scope), "openid") {
		return ""
	}
	now := s.clock.now()
	claims := f.by.claims()
	claims["iss"], claims["aud"] = s.Issuer(), f.clientID
	claims["iat"], claims["exp"] = now.Unix(), now.Add(idTokenLife).Unix()
	claims["auth_time"] = f.by.at.Unix()
	if f.by.acr != "" {
		claims["acr"] = f.by.acr
	}
	if f.nonce != "" {
		claims["nonce"] = f.nonce
		f.nonce = "" // for the first one only
	}
	return s.sign("JWT", claims)
}

// claims names the account.
func (a authentication) claims() map[string]any {
	claims := map[string]any{"sub": a.subject(), "preferred_username": a.account}
	if strings.Contains(a.account, "@") {
		claims["email"], claims["email_verified"] = a.account, true
	}
	return claims
}

// subject is the sub of the account.
func (a authentication) subject() string {
	return strings.TrimPrefix(Fingerprint(a.account), "sha256:")
}

// userinfo names the account of an access token with the scope openid (OpenID Connect Core 1.0
// section 5.3).
func (s *Server) userinfo(x *exchange) response {
	token, _ := bearer(x.r)
	caller, access, ok := s.checkAccess(token)
	switch {
	case !ok:
		return s.unauthorized(x, http.StatusUnauthorized, "invalid_token", "")
	case !slices.Contains(strings.Fields(caller.Scope), "openid"):
		return s.unauthorized(x, http.StatusForbidden, "insufficient_scope", "openid")
	}
	return jsonResponse(http.StatusOK, access.by.claims())
}

// ownToken verifies a token that this server has made.
func (s *Server) ownToken(text string) (*jwt, bool) {
	t, err := parseJWT(text)
	if err != nil || t.verify(rsaJWK(s.signingKey())) != nil || t.text("iss") != s.Issuer() {
		return nil, false
	}
	return t, s.checkTimes(t, 100*365*day) == ""
}

// list is a claim that is a string or an array of them.
func (t *jwt) list(name string) []string {
	raw, err := json.Marshal(t.claims[name])
	if err != nil {
		return nil
	}
	var one string
	var all []string
	if json.Unmarshal(raw, &one) == nil && one != "" {
		return []string{one}
	}
	if json.Unmarshal(raw, &all) != nil {
		return nil
	}
	return all
}
