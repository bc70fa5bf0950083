package lab

import (
	"cmp"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
)

// methodBoth is the method in the request log where a request has two.
const methodBoth = "both"

// credentials are the client authentication of a request, as sent.
type credentials struct {
	method string
	id     string
	secret string
	// assertion is the JWT in place of a secret.
	assertion *jwt
	repeated  bool // client_id in the body beside Basic
	broken    bool // a header that cannot be read
}

// readCredentials finds the client authentication of a request (RFC 6749
// section 2.3.1). emptySecret: an empty client_secret is as good as none.
func readCredentials(r *http.Request, form url.Values, emptySecret bool) credentials {
	c := credentials{id: form.Get("client_id")}
	header := r.Header.Get("Authorization")
	withSecret := form.Has("client_secret") && !(emptySecret && form.Get("client_secret") == "")
	withAssertion := form.Has("client_assertion")
	switch {
	case header != "" && withSecret, withAssertion && (withSecret || header != ""):
		c.method = methodBoth
	case withAssertion:
		c.readAssertion(form)
	case header != "":
		bodyID := c.id
		c.method, c.repeated = MethodBasic, form.Has("client_id")
		var ok bool
		c.id, c.secret, ok = parseBasic(header)
		c.broken = !ok || (c.repeated && bodyID != c.id)
	case withSecret:
		c.method, c.secret = MethodPost, form.Get("client_secret")
	case c.id != "":
		c.method = MethodNone
	}
	return c
}

// readAssertion reads the JWT of a request (RFC 7521 section 4.2). Its sub is the client where the
// request has no client_id.
func (c *credentials) readAssertion(form url.Values) {
	c.method = MethodPrivateKeyJWT
	t, err := parseJWT(form.Get("client_assertion"))
	if err != nil || form.Get("client_assertion_type") != assertionType {
		c.broken = true
		return
	}
	if strings.HasPrefix(t.header.Alg, "HS") {
		c.method = MethodSecretJWT
	}
	c.assertion, c.id = t, cmp.Or(c.id, t.text("sub"))
}

// parseBasic reads a Basic header whose id and secret are form-encoded. One that
// carries a byte which form-encoding would have replaced is not accepted: a
// client that leaves the encoding out must be seen to.
func parseBasic(header string) (id, secret string, ok bool) {
	scheme, encoded, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", "", false
	}
	encodedID, encodedSecret, ok := strings.Cut(string(raw), ":")
	if !ok {
		return "", "", false
	}
	id, idOK := formDecode(encodedID)
	secret, secretOK := formDecode(encodedSecret)
	return id, secret, idOK && secretOK
}

// formDecode decodes application/x-www-form-urlencoded text, strictly.
func formDecode(s string) (string, bool) {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("-._~*+%", c) >= 0:
		default:
			return "", false
		}
	}
	decoded, err := url.QueryUnescape(s)
	return decoded, err == nil
}

// authenticate finds the client of a token or revocation request and checks its one
// authentication method. The response is an error, or nil. The caller holds s.mu.
func (s *Server) authenticate(x *exchange) (*client, *response) {
	if failed := s.checkCredentials(x); failed != nil {
		return nil, failed
	}
	c := s.state.clients[x.seen.id]
	if c == nil && s.habits.ClientIDMetadata && isMetadataURL(x.seen.id) {
		c = x.client
	}
	var failed response
	switch {
	case c != nil:
		return c, s.checkMethod(x, c)
	case s.habits.UnknownClientBody != "":
		failed = s.literalError(http.StatusUnauthorized, s.habits.UnknownClientBody,
			"invalid_client")
	case s.habits.UnknownClientCode != "":
		failed = s.tokenError(http.StatusBadRequest, s.habits.UnknownClientCode, "no such client")
	default:
		failed = s.invalidClient(x, "no such client")
	}
	return nil, &failed
}

// checkCredentials returns an error response if the authentication of a request is malformed,
// whoever the client is.
func (s *Server) checkCredentials(x *exchange) *response {
	var failed response
	switch {
	case x.seen.method == methodBoth:
		failed = s.tokenError(http.StatusBadRequest, "invalid_request",
			"two client authentication methods in one request")
	case x.seen.broken:
		failed = s.invalidClient(x, "the client authentication cannot be read")
	case x.seen.repeated && s.habits.RejectRepeatedID && x.endpoint != "par":
		failed = s.tokenError(http.StatusBadRequest, "invalid_request",
			"client_id in the body beside Basic")
	case s.habits.FormClientID && !x.form.Has("client_id"):
		failed = s.invalidClient(x, "Missing client_id")
	default:
		return nil
	}
	return &failed
}

// checkMethod returns an error response if a request does not authenticate the client with the
// method that the habits require, or with a wrong or expired secret.
func (s *Server) checkMethod(x *exchange, c *client) *response {
	want := c.Method
	if s.habits.EnforceMethod != "" && c.dynamic {
		want = s.habits.EnforceMethod
	}
	if want == MethodAny && x.seen.method != MethodNone {
		want = x.seen.method
	}
	if x.seen.method == MethodNone && (want == MethodTLS || want == MethodSelfSignedTLS) {
		x.seen.method = want // nothing but the certificate shows it
		x.entry.AuthMethod = want
	}
	why := s.checkAuthentication(x, c, want)
	if why == "" {
		return nil
	}
	failed := s.invalidClient(x, why)
	return &failed
}

// checkAuthentication returns what is wrong with the authentication by a method, or nothing.
func (s *Server) checkAuthentication(x *exchange, c *client, want string) (why string) {
	switch {
	case x.seen.method != want:
		return "not the client's authentication method"
	case want == MethodNone:
		return ""
	case want == MethodTLS, want == MethodSelfSignedTLS:
		return s.checkCertificate(x, c, want)
	case want == MethodPrivateKeyJWT:
		return s.checkAssertion(x, c)
	case want == MethodSecretJWT:
		if why := s.checkAssertion(x, c); why != "" {
			return why
		}
	case c.Secret == "" || subtle.ConstantTimeCompare([]byte(x.seen.secret), []byte(c.Secret)) != 1:
		return "wrong secret"
	}
	if !c.secretEnds.IsZero() && !s.clock.now().Before(c.secretEnds) {
		s.state.audit.EndedSecrets++
		return "the secret has expired"
	}
	return ""
}

// invalidClient returns the response to a failed client authentication, in the shape that the
// habits select.
func (s *Server) invalidClient(x *exchange, why string) response {
	status := s.habits.InvalidClientStatus
	if status == 0 {
		status = http.StatusUnauthorized
	}
	var a response
	switch s.habits.InvalidClientShape {
	case ShapeEmpty:
		a = response{status: status, header: make(http.Header), code: "invalid_client"}
	case ShapeJSON:
		a = jsonResponse(status,
			map[string]any{"message": "client authentication: " + why, "statusCode": status})
		a.code = "invalid_client"
	default:
		a = s.tokenError(status, "invalid_client", why)
	}
	if status == http.StatusUnauthorized && x.r.Header.Get("Authorization") != "" {
		a.header.Set("WWW-Authenticate", `Basic realm="lab"`)
	}
	return a
}
