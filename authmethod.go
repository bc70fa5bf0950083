package handstamp

import (
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/jose"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
)

// authForm is one way in which a client authenticates at the token endpoint.
type authForm struct {
	method string

	// formID repeats the client_id in the form beside Basic: several servers
	// look the client up there, whatever the method, and others reject it.
	formID bool

	// forEndpoint makes an assertion out for the token endpoint and as a plain JWT, as RFC 7523 had it
	// before its revision, and not for the issuer.
	forEndpoint bool
}

// authMethodInputs is everything that bears on how a client authenticates at the
// token endpoint.
type authMethodInputs struct {
	configured string // what the user said
	learned    string // what worked before, after another method had failed
	registered string // what the registration response has
	requested  string // what the registration requested, where the response has none
	byDefault  string // what an earlier session chose, knowing nothing
	formID     bool   // learned: the server looks for the client_id in the form
	audience   bool   // learned: the server takes assertions for its token endpoint
	proven     bool   // a grant was obtained in this form
	secret     bool   // a client secret is at hand
	key        bool   // a private key is at hand
	cert       bool   // a client certificate is at hand

	// listed is token_endpoint_auth_methods_supported; nil if the metadata
	// omits it, which means client_secret_basic (RFC 8414, section 2).
	listed []string
}

// authMethodChoice is the form of authentication, the reason, and what is left
// to try.
type authMethodChoice struct {
	authForm
	source string // record.MethodConfigured, …
	reason string // a clause for the user

	// next are the forms to try, each once, if the server rejects the request
	// without naming the grant. It is empty where this form has worked before:
	// there a rejection means what it says.
	next []authForm
}

// chooseAuthMethod decides how a client authenticates at the token endpoint. The
// method is part of the client's registration (RFC 7591, section 2), so what the
// server lists decides only where what was registered is not known; and then it
// is never "none" while a secret is at hand.
func chooseAuthMethod(f authMethodInputs) (authMethodChoice, error) {
	candidates := f.candidates()
	known := authMethodChoice{}
	switch {
	case f.configured != "":
		known.method, known.source = f.configured, record.MethodConfigured
	case f.learned != "":
		known.method, known.source = f.learned, record.MethodLearned
	case f.registered != "":
		known.method, known.source = f.registered, record.MethodRegistered
	case f.requested != "" && oauth.NeedsSecret(f.requested) == f.secret:
		// A silent response follows the request, unless its secret, or the lack
		// of one, says otherwise.
		known.method, known.source = f.requested, record.MethodRequested
	case f.byDefault != "" && slices.Contains(candidates, f.byDefault):
		known.method, known.source = f.byDefault, record.MethodDefault
	default:
		known.method, known.source = candidates[0], record.MethodDefault
	}
	known.reason = authMethodReason(known.source)
	known.formID = f.formID && known.method == oauth.MethodBasic
	known.forEndpoint = f.audience && oauth.UsesAssertion(known.method)
	if err := f.supports(known.method); err != nil {
		return authMethodChoice{}, err
	}
	if !f.proven {
		known.next = formsAfter(known.authForm, known.source, candidates)
	}
	return known, nil
}

// candidates returns the methods to choose from where nothing is known, best first: with a key or
// a certificate none but that proves who the client is.
func (f authMethodInputs) candidates() []string {
	switch {
	case f.key:
		return []string{oauth.MethodPrivateKeyJWT}
	case f.cert && slices.Contains(f.listed, oauth.MethodSelfSignedTLS) && !slices.Contains(f.listed, oauth.MethodTLS):
		return []string{oauth.MethodSelfSignedTLS}
	case f.cert && slices.Contains(f.listed, oauth.MethodTLS):
		return []string{oauth.MethodTLS}
	case f.secret && slices.Contains(f.listed, oauth.MethodSecretJWT) &&
		!slices.Contains(f.listed, oauth.MethodBasic) && !slices.Contains(f.listed, oauth.MethodPost):
		return []string{oauth.MethodSecretJWT}
	}
	return oauth.MethodCandidates(f.listed, f.secret)
}

// supports returns an error if a client cannot authenticate with a method.
func (f authMethodInputs) supports(method string) error {
	switch lacks := func(what string) error {
		return fmt.Errorf("token endpoint auth method %s needs %s, and there is none", method, what)
	}; {
	case oauth.NeedsSecret(method):
		if !f.secret {
			return lacks("a client secret")
		}
	case method == oauth.MethodPrivateKeyJWT:
		if !f.key {
			return lacks("a private key")
		}
	case oauth.UsesCertificate(method):
		if !f.cert {
			return lacks("a client certificate")
		}
	case method != oauth.MethodNone:
		return fmt.Errorf("token endpoint auth method %q is not supported", method)
	}
	return nil
}

// formsAfter returns what to try after a form that has never worked: first the
// same method with the client_id in the form, then the other candidates. A
// method that the user configured stays.
func formsAfter(first authForm, source string, candidates []string) []authForm {
	var next []authForm
	if first.method == oauth.MethodBasic && !first.formID {
		next = append(next, authForm{method: oauth.MethodBasic, formID: true})
	}
	if oauth.UsesAssertion(first.method) && !first.forEndpoint {
		next = append(next, authForm{method: first.method, forEndpoint: true})
	}
	if source == record.MethodConfigured {
		return next
	}
	if first.method == oauth.MethodNone && len(candidates) > 1 {
		// Servers that register none and issue a secret want it in the form.
		candidates = []string{oauth.MethodPost, oauth.MethodBasic}
	}
	for _, method := range candidates {
		if method == first.method {
			continue
		}
		next = append(next, authForm{method: method})
		if method == oauth.MethodBasic {
			next = append(next, authForm{method: method, formID: true})
		}
	}
	return next
}

// authMethodReason says why a method is used.
func authMethodReason(source string) string {
	switch source {
	case record.MethodConfigured:
		return "as configured"
	case record.MethodRegistered:
		return "from the registration"
	case record.MethodRequested:
		return "as requested in the registration, whose response named none"
	case record.MethodLearned:
		return "learned from the server's responses"
	}
	return "by default: no registration is known"
}

// credentials returns how a client authenticates in a form at an endpoint: the one way for every
// endpoint and every grant. The server lists the algorithms that it takes; it may list none.
func (cfg *configuration) credentials(
	f authForm, c *record.Client, endpoint, tokenEndpoint string, algorithms []string,
) oauth.ClientCredentials {
	credentials := oauth.ClientCredentials{ID: c.ID, Secret: c.Secret, Method: f.method, FormID: f.formID}
	if !oauth.UsesAssertion(f.method) {
		return credentials
	}
	claims := jose.AssertionClaims{ClientID: c.ID, Audience: c.Issuer}
	if f.forEndpoint {
		claims.Audience, claims.Type = audienceAt(endpoint, tokenEndpoint), jose.TypeJWT
	}
	credentials.Assert = func() (secret.String, error) {
		if f.method == oauth.MethodSecretJWT {
			algorithm, err := jose.SecretAlgorithm(algorithms)
			if err != nil {
				return "", &Error{Kind: ErrInvalidConfig, Message: err.Error()}
			}
			return jose.SecretAssertion(c.Secret, algorithm, claims, time.Now())
		}
		algorithm, err := cfg.Key.AlgorithmFor(algorithms)
		if err != nil {
			return "", &Error{Kind: ErrInvalidConfig, Message: err.Error()}
		}
		return jose.Assertion(cfg.Key, algorithm, claims, time.Now())
	}
	return credentials
}

// audienceAt returns whom an assertion for the token endpoint is for at an endpoint. Servers from before
// the revision want the token endpoint's URL at all of them. Where that is of another origin, it may be
// another server's, which would accept the assertion from whoever receives it.
func audienceAt(endpoint, tokenEndpoint string) string {
	at, err := url.Parse(endpoint)
	if err != nil {
		return endpoint
	}
	if token, err := url.Parse(tokenEndpoint); err == nil && oauth.SameOrigin(at, token) {
		return tokenEndpoint
	}
	return endpoint
}

// learn notes in the client, if there is one, that a grant was obtained in this form.
func (f authForm) learn(c *record.Client) {
	if c == nil {
		return
	}
	if f.method != c.Method || f.formID != c.FormID || c.MethodSource == record.MethodDefault {
		c.Method, c.FormID, c.MethodSource = f.method, f.formID, record.MethodLearned
	}
	c.Audience = ""
	if f.forEndpoint {
		c.Audience = record.AudienceEndpoint
	}
	c.Proven = true
}

// mayBlameClient reports whether an error response may be about how the client
// authenticates: it says so, or it names nothing at all, or it is a page or a text
// of the framework in front of the endpoint.
func mayBlameClient(err error) bool {
	if rejected, ok := errtype.As[*oauth.Error](err); ok {
		class := rejected.Class()
		return class == oauth.ClassClient || class == oauth.ClassOther || class == oauth.ClassGrant && rejected.Ambiguous()
	}
	passing, ok := errtype.As[*oauth.TransientError](err)
	return ok && oauth.IsRejectionStatus(passing.Status)
}

// storedAuthMethods returns what the stored metadata of the grant's issuer has
// of token endpoint auth methods, and of algorithms for assertions; nil if it has none.
func storedAuthMethods(rec *record.Record) (methods, algorithms []string) {
	if m := storedMetadata(rec); m != nil {
		return m.TokenEndpointAuthMethodsSupported, m.TokenEndpointAuthSigningAlgValuesSupported
	}
	return nil, nil
}

// serverRecord returns the metadata of an authorization server as it is stored.
func serverRecord(m *oauth.ServerMetadata, privateNetwork bool) *record.AuthorizationServer {
	return &record.AuthorizationServer{
		Issuer: m.Issuer, Form: m.Form, Metadata: m.Raw, PrivateNetwork: privateNetwork,
		FetchedAt: time.Now().UTC().Truncate(time.Second),
	}
}

// storedMetadata returns the stored metadata of the grant's issuer, or nil.
func storedMetadata(rec *record.Record) *oauth.ServerMetadata {
	as := rec.AuthorizationServer
	if as == nil || rec.Grant == nil || as.Issuer != rec.Grant.Issuer || len(as.Metadata) == 0 {
		return nil
	}
	m, err := oauth.ParseServerMetadata(as.Metadata, "", as.Form)
	if err != nil {
		return nil
	}
	return m
}
