package oauth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

// Token endpoint auth methods (RFC 7591 section 2).
const (
	MethodNone  = "none"
	MethodBasic = "client_secret_basic"
	MethodPost  = "client_secret_post"
)

// Authenticator identifies a client to an authorization server in exactly one
// way. It is the place for methods that need more than a secret: assertions
// signed with a key (RFC 7523), certificates (RFC 8705).
type Authenticator interface {
	// Apply adds the client to a request whose body is going to be form. It is
	// called once for each request, and fails without any effect on the
	// network.
	Apply(h http.Header, form url.Values) error
}

// ClientCredentials are an [Authenticator] with an id and perhaps a secret.
type ClientCredentials struct {
	ID     string
	Secret Secret
	Method string // MethodNone, MethodBasic or MethodPost

	// FormID repeats the client_id in the form beside MethodBasic, for servers
	// that look the client up there. Others reject it, so it is not sent unless
	// the server turned out to need it.
	FormID bool

	// EmptySecret sends an empty client_secret in the form where the method
	// sends none there, for servers whose schema has the member as required.
	EmptySecret bool
}

// Apply authenticates with c.Method and with nothing else (RFC 6749, section
// 2.3: a client uses one method per request). MethodNone never sends the secret,
// MethodBasic sends no secret in the form.
func (c ClientCredentials) Apply(h http.Header, form url.Values) error {
	if c.ID == "" {
		return errors.New("oauth: the client has no id")
	}
	if c.Secret == "" && (c.Method == MethodBasic || c.Method == MethodPost) {
		return fmt.Errorf("oauth: %s needs a client secret, and there is none", c.Method)
	}
	h.Del("Authorization")
	form.Del("client_id")
	form.Del("client_secret")
	if c.EmptySecret {
		form.Set("client_secret", "")
	}
	switch c.Method {
	case MethodNone:
		form.Set("client_id", c.ID)
	case MethodBasic:
		// RFC 6749, section 2.3.1, has both form-encoded before they are joined.
		pair := url.QueryEscape(c.ID) + ":" + url.QueryEscape(c.Secret.Reveal())
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
		if c.FormID {
			form.Set("client_id", c.ID)
		}
	case MethodPost:
		form.Set("client_id", c.ID)
		form.Set("client_secret", c.Secret.Reveal())
	default:
		return fmt.Errorf("oauth: token endpoint auth method %q is not supported", Sanitize(c.Method))
	}
	return nil
}

// Candidates returns the methods to try, best first, for a client of which
// nobody knows with which method it was registered. listed is the server's
// token_endpoint_auth_methods_supported, nil if omitted.
//
// Without a secret it is none, whatever the list says. With one it is the
// methods that send it, never none: basic before post, as RFC 8414 section 2
// makes basic the default, but a listed one before one that is not. The list is
// wrong at some servers, so what it leaves out comes last and is not left out.
func MethodCandidates(listed []string, hasSecret bool) []string {
	if !hasSecret {
		return []string{MethodNone}
	}
	if slices.Contains(listed, MethodPost) && !slices.Contains(listed, MethodBasic) {
		return []string{MethodPost, MethodBasic}
	}
	return []string{MethodBasic, MethodPost}
}

// AskMethod returns the method that a dynamic registration requests: one that
// the server lists, preferably none, since a client on the user's computer keeps
// no secret and PKCE protects its code; then post, since several servers that
// list both look the client up by the form's client_id. A list that is omitted
// means basic (RFC 8414, section 2), and so does one with no method of ours.
func RegistrationMethod(listed []string) string {
	for _, m := range []string{MethodNone, MethodPost, MethodBasic} {
		if slices.Contains(listed, m) {
			return m
		}
	}
	return MethodBasic
}
