package lab

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// token serves the token endpoint (RFC 6749 section 3.2).
func (s *Server) token(x *exchange) response {
	s.lookUp(x)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exchange(x).withNonce(x.nonce)
}

// exchange responds to a token request. The caller holds s.mu.
func (s *Server) exchange(x *exchange) response {
	form := x.form
	switch {
	case x.r.Method != http.MethodPost:
		return s.tokenError(http.StatusMethodNotAllowed, "invalid_request",
			"the token endpoint wants POST")
	case x.r.URL.RawQuery != "":
		return s.tokenError(http.StatusBadRequest, "invalid_request",
			"parameters belong in the body")
	case repeated(form) != "":
		return s.tokenError(http.StatusBadRequest, "invalid_request",
			repeated(form)+" is given twice")
	}
	c, failed := s.tokenClient(x)
	if failed != nil {
		if failed.code == "invalid_client" {
			s.useOnBadClient(form)
		}
		return *failed
	}
	if failed := s.proveKey(x, c); failed != nil {
		return *failed
	}
	switch form.Get("grant_type") {
	case "authorization_code":
		return s.exchangeCode(x, c)
	case "refresh_token":
		return s.exchangeRefresh(x, c)
	default:
		return s.exchangeOther(x, c)
	}
}

// useOnBadClient marks the grant of a request as used whose client authentication failed, as some
// servers do.
func (s *Server) useOnBadClient(form url.Values) {
	if c := s.state.codes[form.Get("code")]; c != nil && s.habits.CodeUsedOnBadClient {
		c.used = true
	}
	if t := s.state.refresh[form.Get("refresh_token")]; t != nil &&
		s.habits.RefreshUsedOnBadClient {
		s.markUsed(t)
		t.noGrace = true
	}
}

// exchangeCode serves the authorization code grant (RFC 6749 section 4.1.3).
func (s *Server) exchangeCode(x *exchange, c *client) response {
	form := x.form
	bad := func(why string) response { return s.tokenError(http.StatusBadRequest, "invalid_grant", why) }
	now := s.clock.now()
	granted := s.state.codes[form.Get("code")]
	switch {
	case granted == nil:
		return bad("no such code")
	case granted.used:
		// Section 4.1.2: what it was exchanged for is revoked.
		s.state.audit.CodeReuses++
		if granted.family != nil {
			s.revokeFamily(granted.family)
		}
		return bad("the code has been used")
	case granted.clientID != c.ID:
		return bad("the code is another client's")
	case !now.Before(granted.ends):
		return bad("the code has expired")
	case granted.key != "" && granted.key != x.key:
		return bad("the key is not that of dpop_jkt")
	}
	if rejected := s.checkResource(form, s.boundResource(granted.resource)); rejected != "" {
		return s.tokenError(http.StatusBadRequest, "invalid_target", rejected)
	}
	granted.used = true
	if form.Get("redirect_uri") != granted.redirectURI {
		return bad("redirect_uri is not the one of the authorization request")
	}
	// RFC 7636 section 4.6.
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	challenge := base64.RawURLEncoding.EncodeToString(sum[:])
	if subtle.ConstantTimeCompare([]byte(challenge), []byte(granted.challenge)) != 1 {
		return bad("code_verifier does not match")
	}
	s.state.secrets = append(s.state.secrets, form.Get("code_verifier"))
	if s.habits.Offline == OfflineNotAllowed &&
		slices.Contains(strings.Fields(granted.scope), scopeOffline) {
		return s.tokenError(http.StatusBadRequest, "not_allowed", "Offline tokens not allowed for the user or client")
	}
	f := s.newFamily(c.ID, granted.resource, granted.scope)
	s.bind(f, x, c)
	f.by, f.details, f.nonce = granted.by, granted.details, granted.nonce
	granted.family = f
	s.state.audit.Codes++
	out := s.newAccess(f, f.scope)
	if granted.offline {
		out.refresh = s.newRefresh(f, 0).value
	}
	return s.grantResponse(out)
}

// boundResource is what a later leg may name, if the first one named resource.
func (s *Server) boundResource(resource string) string {
	if resource == "" {
		return s.ResourceURL()
	}
	return resource
}

// issued is what a token request has produced.
type issued struct {
	access  string
	refresh string // "" if the response has none
	scope   string
	bound   bool   // to a key, by DPoP
	details string // authorization_details
	idToken string
	life    time.Duration

	tokenType string // issued_token_type, with token exchange
}

// newFamily begins the grant of one authorization.
func (s *Server) newFamily(clientID, resource, scope string) *family {
	f := &family{id: len(s.state.families) + 1, clientID: clientID, resource: resource, scope: scope}
	s.state.families = append(s.state.families, f)
	return f
}

// newAccess issues an access token.
func (s *Server) newAccess(f *family, scope string) issued {
	life := s.state.lifetime
	if life == 0 {
		life = s.habits.AccessTokenLifetime
	}
	if life == 0 {
		life = time.Hour
	}
	ends := s.clock.now().Add(life)
	var value string
	if s.habits.AccessTokenJWT {
		value = s.signJWT(f, scope, ends)
		s.state.secrets = append(s.state.secrets, value)
	} else {
		value = s.secret("access-", "")
	}
	s.state.access[value] = &accessToken{family: f, scope: scope, key: f.key, certificate: f.certificate, by: f.by, begins: s.clock.now().Add(s.habits.TokenDelay), ends: ends}
	return issued{access: value, scope: scope, bound: f.key != "", details: f.details, idToken: s.idToken(f), life: life}
}

// signJWT makes an access token that tells when it ends.
func (s *Server) signJWT(f *family, scope string, ends time.Time) string {
	claims := map[string]any{
		"iss": s.Issuer(), "sub": "lab", "client_id": f.clientID, "aud": s.ResourceURL(),
		"scope": scope, "jti": newID(""), "iat": s.clock.now().Unix(), "exp": ends.Unix(),
	}
	bound := make(map[string]string)
	for name, to := range map[string]string{"jkt": f.key, "x5t#S256": f.certificate} {
		if to != "" {
			bound[name] = to
			claims["cnf"] = bound
		}
	}
	text := encodeJSON(jwtHeader{Alg: AlgHS256, Typ: "at+jwt"}) + "." + encodeJSON(claims)
	mac := hmac.New(sha256.New, s.state.jwtKey)
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// grantResponse returns a successful response (RFC 6749 section 5.1).
func (s *Server) grantResponse(out issued) response {
	// Rounded up: a life of 50 ms is not expires_in 0, which is a habit.
	seconds := int64((out.life + time.Second - 1) / time.Second)
	document := map[string]any{"access_token": out.access, "token_type": "Bearer"}
	if out.bound {
		document["token_type"] = "DPoP"
	}
	switch s.habits.ExpiresIn {
	case "", ExpiresNumber:
		document["expires_in"] = seconds
	case ExpiresString:
		document["expires_in"] = strconv.FormatInt(seconds, 10)
	case ExpiresZero:
		document["expires_in"] = 0
	}
	if out.refresh != "" {
		document["refresh_token"] = out.refresh
	}
	if out.idToken != "" {
		document["id_token"] = out.idToken
	}
	if out.tokenType != "" {
		document["issued_token_type"] = out.tokenType
	}
	if out.details != "" {
		document["authorization_details"] = json.RawMessage(out.details)
	}
	if out.scope != "" {
		document["scope"] = out.scope
	}
	return s.tokenResponse(http.StatusOK, document)
}

// tokenError returns an error response of the token endpoint (RFC 6749 section 5.2), in the form
// that the habits select.
func (s *Server) tokenError(status int, code, description string) response {
	if s.habits.ErrorsIn200 {
		status = http.StatusOK
	}
	document := map[string]any{"error": code, "error_description": description}
	if s.habits.ErrorMember == ErrorCode {
		document = map[string]any{"code": status, ErrorCode: code, "msg": description}
	}
	a := s.tokenResponse(status, document)
	a.code = code
	return a
}

// literalError returns an error response of the token endpoint with a body from the habits; code is
// for the request log.
func (s *Server) literalError(status int, body, code string) response {
	if body == ShapeEmpty {
		return response{status: status, header: make(http.Header), code: code}
	}
	a := jsonResponse(status, json.RawMessage(body))
	a.code = code
	return a
}

func (s *Server) tokenResponse(status int, document map[string]any) response {
	if !s.habits.FormResponses {
		return jsonResponse(status, document)
	}
	form := make(url.Values)
	for name, value := range document {
		switch value := value.(type) {
		case string:
			form.Set(name, value)
		case int:
			form.Set(name, strconv.Itoa(value))
		case int64:
			form.Set(name, strconv.FormatInt(value, 10))
		}
	}
	header := contentType("application/x-www-form-urlencoded; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	return response{status: status, header: header, body: []byte(form.Encode())}
}

// narrower reports whether every scope of part is in whole.
func narrower(part, whole string) bool {
	all := strings.Fields(whole)
	return !slices.ContainsFunc(strings.Fields(part),
		func(scope string) bool { return !slices.Contains(all, scope) })
}
