package handstamp

import (
	"fmt"
	"slices"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// authForm is one way in which a client authenticates at the token endpoint.
type authForm struct {
	method string

	// formID repeats the client_id in the form beside Basic: several servers
	// look the client up there, whatever the method, and others reject it.
	formID bool
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
	proven     bool   // a grant was obtained in this form
	secret     bool   // a client secret is at hand

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
	candidates := oauth.MethodCandidates(f.listed, f.secret)
	known := authMethodChoice{}
	switch {
	case f.configured != "":
		known.method, known.source = f.configured, record.MethodConfigured
	case f.learned != "":
		known.method, known.source = f.learned, record.MethodLearned
	case f.registered != "":
		known.method, known.source = f.registered, record.MethodRegistered
	case f.requested != "" && (f.requested == oauth.MethodNone) != f.secret:
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

	switch known.method {
	case oauth.MethodNone:
	case oauth.MethodBasic, oauth.MethodPost:
		if !f.secret {
			return authMethodChoice{}, fmt.Errorf("token endpoint auth method %s needs a client secret, and there is none", known.method)
		}
	default:
		return authMethodChoice{}, fmt.Errorf("token endpoint auth method %q is not supported", known.method)
	}
	if !f.proven {
		known.next = formsAfter(known.authForm, known.source, candidates)
	}
	return known, nil
}

// formsAfter returns what to try after a form that has never worked: first the
// same method with the client_id in the form, then the other candidates. A
// method that the user configured stays.
func formsAfter(first authForm, source string, candidates []string) []authForm {
	var next []authForm
	if first.method == oauth.MethodBasic && !first.formID {
		next = append(next, authForm{method: oauth.MethodBasic, formID: true})
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

func methodReason(c *record.Client) string { return authMethodReason(c.MethodSource) }

// credentials returns how the client authenticates in this form.
func (f authForm) credentials(c *record.Client) oauth.ClientCredentials {
	return oauth.ClientCredentials{ID: c.ID, Secret: c.Secret, Method: f.method, FormID: f.formID}
}

// learn notes in the client that a grant was obtained in this form.
func (f authForm) learn(c *record.Client) {
	if f.method != c.Method || f.formID != c.FormID || c.MethodSource == record.MethodDefault {
		c.Method, c.FormID, c.MethodSource = f.method, f.formID, record.MethodLearned
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
// of token endpoint auth methods; nil if it has none.
func storedAuthMethods(rec *record.Record) []string {
	if m := storedMetadata(rec); m != nil {
		return m.TokenEndpointAuthMethodsSupported
	}
	return nil
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
