package handstamp

import (
	"fmt"
	"slices"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/store"
)

// authMethodInputs is everything that bears on how a client authenticates at the
// token endpoint.
type authMethodInputs struct {
	configured string // what the user said
	learned    string // what worked before, after another method had failed
	registered string // what the registration response said
	requested  string // what the registration asked for, where the response said nothing
	byDefault  string // what an earlier session chose, knowing nothing
	secret     bool   // a client secret is at hand

	// listed is token_endpoint_auth_methods_supported; nil if the metadata
	// omits it, which means client_secret_basic (RFC 8414, section 2).
	listed []string
}

// authMethodChoice is the method, the reason, and what is left to try.
type authMethodChoice struct {
	method string
	source string // store.MethodConfigured, …
	reason string // a clause for people

	// next are the methods to try, each once, if the server answers
	// invalid_client. It is empty where the method is known: there the answer
	// means what it says.
	next []string
}

// chooseAuthMethod decides how a client authenticates at the token endpoint. The
// method is part of the client's registration (RFC 7591, section 2), so what the
// server lists decides only where nobody knows what was registered; and then it
// is never "none" while a secret is at hand.
func chooseAuthMethod(f authMethodInputs) (authMethodChoice, error) {
	candidates := oauth.Candidates(f.listed, f.secret)
	known := authMethodChoice{}
	switch {
	case f.configured != "":
		known.method, known.source = f.configured, store.MethodConfigured
	case f.learned != "":
		known.method, known.source = f.learned, store.MethodLearned
	case f.registered != "":
		known.method, known.source = f.registered, store.MethodRegistered
	case f.requested != "" && (f.requested == oauth.MethodNone) != f.secret:
		// A silent response follows the request, unless its secret, or the lack
		// of one, says otherwise.
		known.method, known.source = f.requested, store.MethodRequested
	case f.byDefault != "" && slices.Contains(candidates, f.byDefault):
		known.method, known.source = f.byDefault, store.MethodDefault
	default:
		known.method, known.source = candidates[0], store.MethodDefault
	}
	known.reason = authMethodReason(known.source)

	switch known.method {
	case oauth.MethodNone:
	case oauth.MethodBasic, oauth.MethodPost:
		if !f.secret {
			return authMethodChoice{}, fmt.Errorf("token endpoint auth method %s needs a client secret, and there is none", known.method)
		}
	default:
		return authMethodChoice{}, fmt.Errorf("token endpoint auth method %q is not supported", known.method)
	}

	// A registered method that the server's own list contradicts may be a
	// mistake of either; a method that no response confirmed is a guess.
	guess := known.source == store.MethodDefault || known.source == store.MethodRequested
	contradicted := f.listed != nil && !slices.Contains(f.listed, known.method)
	if guess || known.source == store.MethodRegistered && contradicted {
		known.next = slices.DeleteFunc(candidates, func(m string) bool { return m == known.method })
	} else if known.source == store.MethodRegistered && known.method == oauth.MethodNone && f.secret {
		// A secret that nothing is said about may be there to be used.
		known.next = []string{oauth.MethodPost, oauth.MethodBasic}
	}
	return known, nil
}

// authMethodReason says why a method is used.
func authMethodReason(source string) string {
	switch source {
	case store.MethodConfigured:
		return "as configured"
	case store.MethodRegistered:
		return "from the registration"
	case store.MethodRequested:
		return "as asked for in the registration, whose response named none"
	case store.MethodLearned:
		return "learned from the server's answers"
	}
	return "by default: no registration is known"
}

func methodReason(c *store.Client) string { return authMethodReason(c.MethodSource) }

// authMethodInputs returns what the stored client says about its method, with the
// user's configuration above it.
func (s *session) authMethodInputs(c *store.Client, listed []string) authMethodInputs {
	f := authMethodInputs{secret: c.Secret != "", listed: listed}
	switch c.MethodSource {
	case store.MethodConfigured:
		f.configured = c.Method
	case store.MethodRegistered:
		f.registered = c.Method
	case store.MethodRequested:
		f.requested = c.Method
	case store.MethodLearned:
		f.learned = c.Method
	default:
		f.byDefault = c.Method
	}
	if r := s.configurationFor(c); r != nil {
		f.configured = r.TokenEndpointAuthMethod
	}
	return f
}

// clientCredentials returns how the client authenticates with method.
func clientCredentials(c *store.Client, method string) oauth.ClientCredentials {
	return oauth.ClientCredentials{ID: c.ID, Secret: c.Secret, Method: method}
}

// storedAuthMethods returns what the stored metadata of the grant's issuer says
// about token endpoint auth methods; nil if it says nothing.
func storedAuthMethods(rec *store.Record) []string {
	as := rec.AuthorizationServer
	if as == nil || rec.Grant == nil || as.Issuer != rec.Grant.Issuer || len(as.Metadata) == 0 {
		return nil
	}
	m, err := oauth.ParseServerMetadata(as.Metadata, "", as.Form)
	if err != nil {
		return nil
	}
	return m.TokenEndpointAuthMethodsSupported
}
