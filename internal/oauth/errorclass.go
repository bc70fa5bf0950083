package oauth

import (
	"slices"
	"strings"

	"github.com/handstamp/handstamp/internal/lazyregexp"
)

// Class is the meaning of an error response for the client.
type Class int

const (
	// ClassOther means none of the others: the error names neither the grant nor the client nor a
	// parameter.
	ClassOther Class = iota

	// ClassGrant means that the code or refresh token is not valid, or no longer.
	ClassGrant

	// ClassClient means that the client is unknown, or was not authenticated.
	ClassClient

	// ClassScope means that this client may not request the scope.
	ClassScope

	// ClassTarget means that the resource parameter is not accepted.
	ClassTarget

	// ClassTransient means that the same request can succeed later.
	ClassTransient
)

// Structured reports whether the response has an OAuth error code. Without one, the class is
// derived from the status and the shape of the response: enough to try another way, not enough to
// delete anything.
func (e *Error) Structured() bool { return e.Code != "" }

// Class returns the class of the error. It knows the codes of RFC 6749 section 5.2 and RFC 8707
// section 2, and those that well-known servers use in their place. If the code is unknown, the
// description decides.
func (e *Error) Class() Class {
	if e.Status != 429 && e.Status < 500 {
		return e.classByText()
	}
	// A proxy or an overloaded server also responds with "invalid_client" or "access_denied"; only
	// a code that always means the grant counts more than 429 and 5xx.
	if grantCode(e.Code) {
		return ClassGrant
	}
	return ClassTransient
}

// grantCode reports whether a code is about a code or refresh token, whatever
// the status.
func grantCode(code string) bool {
	switch code {
	case "invalid_grant",
		"bad_refresh_token", "bad_verification_code", // GitHub
		"token_expired", "token_revoked", "invalid_code", "code_already_used": // Slack
		return true
	}
	return strings.Contains(code, "refresh_token") && namesDeadGrant(code)
}

func (e *Error) classByText() Class {
	if containsAny(e.Description, "aadsts9010010", "aadsts901002") {
		return ClassTarget // Entra ID: the resource parameter contradicts the scope
	}
	if grantCode(e.Code) {
		return ClassGrant
	}
	switch e.Code {
	case "access_denied", "expired_token", "not_allowed", "invalid_token",
		// OpenID Connect Core, section 3.1.2.6: only a new login helps
		"interaction_required", "login_required", "consent_required", "account_selection_required":
		if e.Endpoint == "token" && (e.Status == 0 || e.Status/100 == 2 ||
			IsRejectionStatus(e.Status)) {
			return ClassGrant // at the token endpoint they can mean nothing else
		}
	case "unsupported_grant_type", "unsupported_response_type", "unsupported_token_type",
		"invalid_dpop_proof":
		return ClassOther // whatever token the text is about
	case "invalid_client",
		"incorrect_client_credentials",           // GitHub
		"bad_client_secret", "invalid_client_id", // Slack
		"invalid_client_secret", "invalid_client_credentials", "client_not_found", "unknown_client":
		return ClassClient
	case "unauthorized_client":
		if namesDeadGrant(e.Description) {
			return ClassGrant // Atlassian
		}
		return ClassClient
	case "invalid_scope", "insufficient_scope":
		return ClassScope
	case "invalid_target", "invalid_resource":
		return ClassTarget
	case "temporarily_unavailable", "slow_down", "server_error",
		CodeUseDPoPNonce, // with the next nonce
		"rate_limited", "ratelimited", "rate_limit_exceeded", "too_many_requests", "over_request_rate_limit",
		"service_unavailable", "internal_error", "internal_server_error", "fatal_error", "request_timeout":
		return ClassTransient
	}
	switch {
	case e.Endpoint == "token" && (namesLater(e.Code) || namesLater(e.Description)):
		return ClassTransient
	case namesDeadGrant(e.Code), namesDeadGrant(e.Description):
		return ClassGrant
	case namesClient(e.Description):
		return ClassClient // Notion: "must not use multiple authentication methods"
	}
	return ClassOther
}

// Ambiguous reports whether an error of [ClassGrant] has a code with which some servers also reject
// a client, and no description that names the grant.
func (e *Error) Ambiguous() bool {
	switch e.Code {
	case "access_denied", "not_allowed", "invalid_token":
		return !namesDeadGrant(e.Description)
	}
	return false
}

// WantsScope reports whether the server rejects a refresh because it has no scope parameter, which
// is optional by RFC 6749 section 6.
func (e *Error) WantsScope() bool {
	if containsAny(e.Description, "aadsts90009", "aadsts900144") { // Entra ID
		return true
	}
	return e.Code == "invalid_scope" ||
		containsAny(e.Description, "scope") && containsAny(e.Description, "missing", "required",
			"must contain", "must be", "no scope")
}

// WantsClientSecret reports whether the server rejects a request because its form has no
// client_secret, and not because the secret is wrong or the client_id is missing too.
func (e *Error) WantsClientSecret() bool {
	return containsAny(e.Description, "client_secret", "client secret") &&
		!containsAny(e.Description, "client_id", "client id") &&
		containsAny(e.Description, "missing", "required", "must contain", "must be provided")
}

// namesClient reports whether a text is about the client's identity or authentication.
func namesClient(text string) bool {
	return containsAny(text, "client_id", "client_secret", "client id", "client secret", "client authentication",
		"authentication method", "auth_method", "client credentials", "unknown client", "invalid client", "client not found")
}

// namesLater reports whether a text is about too many requests, or a server that is temporarily
// out of service.
func namesLater(text string) bool {
	return later.Get().MatchString(strings.ReplaceAll(text, "_", " "))
}

var later = lazyregexp.New(`(?i)\b(?:rate[ -]?limit|too many (?:\w+ ){0,3}(?:requests|attempts|calls|logins)|` +
	`throttl|quota|maintenance|overload|temporar|(?:service|server|currently|is) unavailable|unavailable$|` +
	`slow down|(?:connection|request|gateway|upstream) timeout)`)

// namesDeadGrant reports whether a text, or a code, states that the refresh token, the code or the
// session behind them is not valid, or no longer. A text that calls it missing does not count.
func namesDeadGrant(text string) bool {
	text = strings.ToLower(text)
	if !strings.Contains(text, " ") {
		text = strings.ReplaceAll(text, "_", " ") // a code
	}
	if strings.Contains(text, "invalid_grant") && !strings.Contains(text, "invalid_grant_") {
		return true
	}
	text = otherNouns.Get().ReplaceAllString(text, "#")
	return !containsAny(text, "missing", "required", "parameter not found") &&
		(deadThenNoun.Get().MatchString(text) || nounThenDead.Get().MatchString(text))
}

// otherNouns match what looks like a grant and is not: a grant followed by another noun, and a
// path.
var otherNouns = lazyregexp.New(`\b(?:grant|token|session|code)[ _-](?:types?|endpoint|service|server|store|` +
	`requests?|format|route|url|uri|limit|size|verifier|challenge|binding|storage|database|manager|audience|` +
	`management)\b|/\S*`)

// A token or a code is a grant only without another word before it: CSRF tokens and country codes
// are not grants.
var (
	deadThenNoun = lazyregexp.New(dead + `(?: ` + plainWord + `){0,2} ["'(]*(?:` + grantNoun + `|code|token)\b`)
	nounThenDead = lazyregexp.New(`(?:\b` + grantNoun + `|(?:^|[.:;,] |\b` + plainWord + ` )["'(]*(?:code|token))\b` +
		`["')]*(?: [\w'"()-]+){0,4}[ :,]+` + dead)
)

const (
	grantNoun = `(?:refresh[ _-]?token|session|grant|authorization[ _]code|auth code|consent)`
	plainWord = `(?:a|an|the|your|this|that|or|and|provided|supplied|given|presented|oauth|oauth2|user|offline|` + dead + `)`
	dead      = `(?:invalid|not valid|expired|revoked|not found|no such|unknown|already (?:been )?used|been used|` +
		`reused?|replayed|not exist|\w*n.?t exist|no longer|not active|no active|inactive|terminated|ended|closed|` +
		`consumed|redeemed|rotated|recogni[sz]ed|unrecogni[sz]ed|blacklisted|deleted|malformed|bad|wrong|incorrect|` +
		`mismatch|stale|out of date|(?:could not|cannot|can't|couldn't) (?:find|be found|be verified))`
)

// containsAny reports whether text contains one of the lower-case words, in any
// case.
func containsAny(text string, words ...string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(text, word) })
}
