package oauth

import (
	"regexp"
	"strings"
)

// Class says what an error means for the one who got it.
type Class int

const (
	// ClassOther is an error that names nothing that is known: not the grant,
	// not the client, not a parameter.
	ClassOther Class = iota

	// ClassGrant: the code or refresh token is not, or no longer, valid.
	ClassGrant

	// ClassClient: the client is unknown, or was not authenticated.
	ClassClient

	// ClassScope: the scope is not one that this client may ask for.
	ClassScope

	// ClassTarget: the resource parameter is not accepted.
	ClassTarget

	// ClassTransient: the same request can succeed later.
	ClassTransient
)

// String returns the name of the class in one lower-case word.
func (c Class) String() string {
	switch c {
	case ClassGrant:
		return "grant"
	case ClassClient:
		return "client"
	case ClassScope:
		return "scope"
	case ClassTarget:
		return "target"
	case ClassTransient:
		return "transient"
	}
	return "other"
}

// Structured reports whether the server gave an OAuth error code. Without one,
// the class is read from the status and the shape of the answer; that is enough
// to try another way, and not enough to give anything up.
func (e *Error) Structured() bool { return e.Code != "" }

// Class returns what the error means. It knows the codes of RFC 6749 section
// 5.2, RFC 8707 section 2, and those that well-known servers use in their place;
// where the code says nothing, the description decides.
func (e *Error) Class() Class {
	if e.Status != 429 && e.Status < 500 {
		return e.classByText()
	}
	// A proxy or an overloaded server also answers "invalid_client"; only a code
	// that is about the grant outweighs 429 and 5xx.
	if codeOnly := (&Error{Code: e.Code, Endpoint: e.Endpoint}); codeOnly.classByText() == ClassGrant {
		return ClassGrant
	}
	return ClassTransient
}

func (e *Error) classByText() Class {
	if containsAny(e.Description, "aadsts9010010", "aadsts901002") {
		return ClassTarget // Entra ID: the resource parameter contradicts the scope
	}
	switch e.Code {
	case "invalid_grant",
		"bad_refresh_token", "bad_verification_code", // GitHub
		"token_expired", "token_revoked", "invalid_code", "code_already_used": // Slack
		return ClassGrant
	case "access_denied", "expired_token", "not_allowed", "invalid_token":
		if e.Endpoint == "token" {
			return ClassGrant // there is nothing else that they could be about
		}
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
		"rate_limited", "ratelimited", "rate_limit_exceeded", "too_many_requests", "over_request_rate_limit",
		"service_unavailable", "internal_error", "internal_server_error", "fatal_error", "request_timeout":
		return ClassTransient
	}
	switch {
	case namesDeadGrant(strings.ReplaceAll(e.Code, "_", " ")), namesDeadGrant(e.Description):
		return ClassGrant
	case blamesClient(e.Description):
		return ClassClient // Notion: "must not use multiple authentication methods"
	}
	return ClassOther
}

// WantsScope reports whether the server rejects a refresh because it names no
// scope, which RFC 6749, section 6, allows it to leave out.
func (e *Error) WantsScope() bool {
	if containsAny(e.Description, "aadsts90009", "aadsts900144") { // Entra ID
		return true
	}
	return e.Code == "invalid_scope" ||
		containsAny(e.Description, "scope") && containsAny(e.Description, "missing", "required", "must contain", "must be", "no scope")
}

// WantsClientSecret reports whether the server rejects a request because its form
// has no client_secret, not because of a wrong one or because the client_id is
// not there either.
func (e *Error) WantsClientSecret() bool {
	return containsAny(e.Description, "client_secret", "client secret") && !containsAny(e.Description, "client_id", "client id") &&
		containsAny(e.Description, "missing", "required", "must contain", "must be provided")
}

// blamesClient reports whether a text is about the client's identity or
// authentication.
func blamesClient(text string) bool {
	return containsAny(text, "client_id", "client_secret", "client id", "client secret", "client authentication",
		"authentication method", "auth_method", "client credentials", "unknown client", "invalid client", "client not found")
}

// namesDeadGrant reports whether a text says that what was to be redeemed, a
// refresh token, a code or the session behind them, is not or no longer valid.
// That it is missing is another matter.
func namesDeadGrant(text string) bool {
	text = otherNouns.Replace(strings.ToLower(text))
	return !containsAny(text, "missing", "required") && (deadThenNoun.MatchString(text) || nounThenDead.MatchString(text))
}

// otherNouns removes what looks like a grant and is none.
var otherNouns = strings.NewReplacer(
	"grant type", "", "token type", "", "token endpoint", "", "access token", "", "code verifier", "",
	"code challenge", "", "status code", "", "error code", "",
)

var (
	deadThenNoun = regexp.MustCompile(dead + `(?: [\w-]+){0,2} ` + grantNoun + `\b`)
	nounThenDead = regexp.MustCompile(`\b` + grantNoun + `["')]*(?: [\w'"()-]+){0,4}[ :]+` + dead)
)

const (
	grantNoun = `(?:refresh[ _-]?token|session|grant|authorization code|auth code|code|token|consent)`
	dead      = `(?:invalid|not valid|expired|revoked|not found|no such|unknown|already used|been used|reused|replayed|not exist|` +
		`n't exist|no longer|not active|inactive|terminated|ended|consumed|recogni[sz]ed|unrecogni[sz]ed|blacklisted|deleted|malformed)`
)

// containsAny reports whether text contains one of the lower-case words, in any
// case.
func containsAny(text string, words ...string) bool {
	text = strings.ToLower(text)
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}
