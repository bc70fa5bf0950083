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

	MethodSecretJWT     = "client_secret_jwt"           // RFC 7523 section 2.2, with the secret as the key
	MethodPrivateKeyJWT = "private_key_jwt"             // RFC 7523 section 2.2
	MethodTLS           = "tls_client_auth"             // RFC 8705 section 2.1
	MethodSelfSignedTLS = "self_signed_tls_client_auth" // RFC 8705 section 2.2
)

// UsesAssertion reports whether a client authenticates with a signed assertion.
func UsesAssertion(method string) bool {
	return method == MethodPrivateKeyJWT || method == MethodSecretJWT
}

// UsesCertificate reports whether a client authenticates with the certificate of its connection.
func UsesCertificate(method string) bool {
	return method == MethodTLS || method == MethodSelfSignedTLS
}

// NeedsSecret reports whether a client authenticates with its secret.
func NeedsSecret(method string) bool {
	return method == MethodBasic || method == MethodPost || method == MethodSecretJWT
}

// Authenticator authenticates a client to an authorization server with exactly one method. Methods
// that need more than a secret implement it too: assertions signed with a key (RFC 7523),
// certificates (RFC 8705).
type Authenticator interface {
	// Apply adds the client authentication to the header and the form of a request. It is called
	// once for each request, before anything is sent.
	Apply(h http.Header, form url.Values) error
}

// ClientCredentials are an [Authenticator] with an id and perhaps a secret.
type ClientCredentials struct {
	ID     string
	Secret Secret
	Method string

	// Assert returns a new assertion (RFC 7523 section 3), for the methods that send one.
	Assert func() (Secret, error)

	// FormID repeats the client_id in the form beside [MethodBasic], for servers that find the
	// client there. Others reject it, so set it only for a server that is known to need it.
	FormID bool

	// EmptySecret sends an empty client_secret in the form where the method sends none there, for
	// servers that require the parameter.
	EmptySecret bool
}

// Anonymous is an [Authenticator] that names no client, for an assertion that needs none: its issuer
// names the client, or its subject is the client (RFC 7521 section 4.1).
type Anonymous struct{}

// Apply implements [Authenticator].
func (Anonymous) Apply(http.Header, url.Values) error { return nil }

// Apply authenticates with c.Method and no other method (RFC 6749 section 2.3: one method per
// request). [MethodNone] never sends the secret, [MethodBasic] sends no secret in the form.
func (c ClientCredentials) Apply(h http.Header, form url.Values) error {
	if c.ID == "" {
		return errors.New("oauth: the client has no id")
	}
	if c.Secret == "" && NeedsSecret(c.Method) {
		return fmt.Errorf("oauth: %s needs a client secret, and there is none", c.Method)
	}
	h.Del("Authorization")
	form.Del("client_id")
	form.Del("client_secret")
	if c.EmptySecret {
		form.Set("client_secret", "")
	}
	switch c.Method {
	case MethodNone, MethodTLS, MethodSelfSignedTLS:
		form.Set("client_id", c.ID)
	case MethodPrivateKeyJWT, MethodSecretJWT:
		if c.Assert == nil {
			return fmt.Errorf("oauth: %s needs a key, and there is none", c.Method)
		}
		assertion, err := c.Assert()
		if err != nil {
			return err
		}
		form.Set("client_id", c.ID) // RFC 7521 section 4.2 makes it optional; servers look it up there
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", assertion.Reveal())
	case MethodBasic:
		// RFC 6749 section 2.3.1: both are form-encoded before they are joined.
		pair := url.QueryEscape(c.ID) + ":" + url.QueryEscape(c.Secret.Reveal())
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
		if c.FormID {
			form.Set("client_id", c.ID)
		}
	case MethodPost:
		form.Set("client_id", c.ID)
		form.Set("client_secret", c.Secret.Reveal())
	default:
		return fmt.Errorf("oauth: token endpoint auth method %q is not supported",
			Sanitize(c.Method))
	}
	return nil
}

// assertionType is the client_assertion_type of a JWT (RFC 7523 section 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// MethodCandidates returns the authentication methods to try, best first, for a client whose
// registered method is unknown. listed is the server's token_endpoint_auth_methods_supported, nil
// if omitted.
//
// Without a secret the only candidate is none, whatever the list contains. With a secret the
// candidates are the methods that send it: basic before post, as RFC 8414 section 2 makes basic
// the default, but a listed method before one that is not. The list is wrong at some servers, so
// a method that is not listed comes last.
func MethodCandidates(listed []string, hasSecret bool) []string {
	if !hasSecret {
		return []string{MethodNone}
	}
	if slices.Contains(listed, MethodPost) && !slices.Contains(listed, MethodBasic) {
		return []string{MethodPost, MethodBasic}
	}
	return []string{MethodBasic, MethodPost}
}

// RegistrationMethod returns the authentication method to request in a dynamic registration: one
// that the server lists, preferably none, since a client on the user's computer cannot keep a
// secret and PKCE protects its code; then post, since several servers that list both find the
// client by the form's client_id. An omitted list means basic (RFC 8414 section 2), and so does a
// list without a supported method.
func RegistrationMethod(listed []string) string {
	for _, m := range []string{MethodNone, MethodPost, MethodBasic} {
		if slices.Contains(listed, m) {
			return m
		}
	}
	return MethodBasic
}
