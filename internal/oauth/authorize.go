package oauth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
)

// PKCE is a code verifier and its S256 code challenge (RFC 7636 section 4).
type PKCE struct {
	Verifier  Secret
	Challenge string
}

// NewPKCE returns a fresh pair, with a verifier of 256 random bits.
func NewPKCE() PKCE {
	verifier := randomText()
	sum := sha256.Sum256([]byte(verifier))
	return PKCE{
		Verifier:  Secret(verifier),
		Challenge: base64.RawURLEncoding.EncodeToString(sum[:]),
	}
}

// NewState returns a fresh state parameter of 256 random bits, 43 characters long: more than the
// minimum that some servers require.
func NewState() Secret { return Secret(randomText()) }

func randomText() string {
	var b [32]byte
	rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// AuthorizationRequest holds the parameters of an authorization request (RFC 6749 section 4.1.1,
// RFC 7636 section 4.3, RFC 8707 section 2).
type AuthorizationRequest struct {
	Endpoint      string // may have a query, which is kept
	ClientID      string
	RedirectURI   string
	Scope         string // "": omitted
	State         Secret
	CodeChallenge string // S256
	Resource      string // "": omitted

	// Extra are further parameters, such as prompt or login_hint. They cannot
	// replace one of the above.
	Extra url.Values

	// RequestURI stands for all parameters that were pushed (RFC 9126 section 4); "": none were.
	RequestURI string
}

// URL returns the URL to open in the browser. It has passed [CheckEndpoint] and is at most 8 KiB
// long.
func (r AuthorizationRequest) URL() (string, error) {
	u, err := parseEndpoint("the authorization endpoint", r.Endpoint)
	if err != nil {
		return "", err
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", badURL("the authorization endpoint", r.Endpoint, "has a malformed query")
	}
	if r.RequestURI != "" {
		q.Set("client_id", r.ClientID)
		q.Set("request_uri", r.RequestURI)
	} else if err := r.params(q); err != nil {
		return "", err
	}
	// Some servers accept a space as "+" only in a form, not in a URL.
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	s := u.String()
	return s, CheckEndpoint(s)
}

// params adds the parameters of the request to q.
func (r AuthorizationRequest) params(q url.Values) error {
	if r.ClientID == "" || r.RedirectURI == "" || r.State == "" || r.CodeChallenge == "" {
		return errors.New("oauth: an authorization request needs a client id, redirect URI, state " +
			"and code challenge")
	}
	for name, values := range r.Extra {
		q[name] = values
	}
	q.Set("response_type", "code")
	q.Set("client_id", r.ClientID)
	q.Set("redirect_uri", r.RedirectURI)
	q.Set("state", r.State.Reveal())
	q.Set("code_challenge", r.CodeChallenge)
	q.Set("code_challenge_method", "S256")
	for name, value := range map[string]string{"scope": r.Scope, "resource": r.Resource} {
		if value != "" {
			q.Set(name, value)
		} else {
			q.Del(name)
		}
	}
	return nil
}

// ExpectedCallback describes the authorization response to expect, for [ParseCallback].
type ExpectedCallback struct {
	State Secret

	// Issuer is the issuer as in its metadata. A placeholder such as {tenantid} in it stands for
	// one segment of its path. IssSupported is whether the metadata announces the iss parameter
	// (RFC 9207 section 3).
	Issuer       string
	IssSupported bool

	// Secrets are further secrets that errors must not contain, in addition to those of the response.
	Secrets []Secret
}

// ParseCallback returns the code of an authorization response. It checks the state first, then the
// issuer (RFC 9207 section 2.4, for error responses too), and only then uses the other parameters.
//
// It returns [ErrStateMismatch] if the response does not belong to the request: another sender may
// have made it up, and the right response may still arrive. It returns an [*Error] for an error
// response, and a [*ProtocolError] if the response must not be used.
func ParseCallback(params url.Values, want ExpectedCallback) (code Secret, err error) {
	state := params["state"]
	if want.State == "" || len(state) != 1 ||
		subtle.ConstantTimeCompare([]byte(state[0]), []byte(want.State.Reveal())) != 1 {
		return "", ErrStateMismatch
	}
	secrets := redactor{want.State.Reveal(), params.Get("code")}.withSecrets(want.Secrets)
	if err := checkIss(params["iss"], want, secrets); err != nil {
		return "", err
	}
	for _, name := range []string{"code", "error", "error_description", "error_uri"} {
		if len(params[name]) > 1 {
			return "", protocolErrorf("RFC 6749 section 3.1",
				"the authorization response has %s twice", name)
		}
	}
	if params.Get("error") != "" {
		return "", newError("authorization", 0, secrets.redact(params.Get("error")),
			secrets.redact(params.Get("error_description")))
	}
	code = Secret(params.Get("code"))
	if code == "" {
		return "", protocolErrorf("RFC 6749 section 4.1.2",
			"the authorization response has neither a code nor an error")
	}
	if !isVisible(code.Reveal()) {
		return "", protocolErrorf("RFC 6749 appendix A.11",
			"the authorization response has a malformed code")
	}
	return code, nil
}

// checkIss checks the iss parameter: it must be there if the metadata announces it, and equal to
// the issuer byte by byte in any case.
func checkIss(iss []string, want ExpectedCallback, secrets redactor) error {
	const spec = "RFC 9207 section 2.4"
	switch {
	case len(iss) > 1:
		return protocolErrorf(spec, "the authorization response names several issuers")
	case len(iss) == 0 && want.IssSupported:
		return protocolErrorf(spec, "the authorization response has no iss parameter, which the metadata of %q announces",
			Sanitize(want.Issuer))
	case len(iss) == 1 && (want.Issuer == "" || !matchesIssuer(iss[0], want.Issuer)):
		return protocolErrorf(spec, "the authorization response comes from %q instead of %q",
			Sanitize(secrets.redact(iss[0])), Sanitize(want.Issuer))
	}
	return nil
}

// isVisible reports whether s consists of the space and the printable ASCII characters (VSCHAR,
// RFC 6749 appendix A).
func isVisible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e })
}

// newError returns an Error with sanitized texts.
func newError(endpoint string, status int, code, description string) *Error {
	return &Error{
		Code:        Sanitize(code),
		Description: Sanitize(description),
		Status:      status,
		Endpoint:    endpoint,
	}
}
