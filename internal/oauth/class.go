package oauth

import "strings"

// Class says what an error means for the one who got it.
type Class int

const (
	// ClassOther is an error that none of the others describes.
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
// 5.2, RFC 8707 section 2, and those that well-known servers use in their place.
func (e *Error) Class() Class {
	class := e.classByText()
	// A proxy or an overloaded server also answers "invalid_client"; only what
	// is said of the grant itself outweighs 429 and 5xx.
	if (e.Status == 429 || e.Status >= 500) && class != ClassGrant {
		return ClassTransient
	}
	return class
}

func (e *Error) classByText() Class {
	if strings.Contains(e.Description, "AADSTS9010010") || strings.Contains(e.Description, "AADSTS901002") {
		return ClassTarget // Entra ID: the resource parameter contradicts the scope
	}
	switch e.Code {
	case "invalid_grant",
		"bad_refresh_token", "bad_verification_code", // GitHub
		"invalid_refresh_token", "token_expired", "token_revoked", "invalid_code", "code_already_used", // Slack
		"refresh_token_not_found", "refresh_token_already_used", "session_not_found", "session_expired": // Supabase Auth
		return ClassGrant
	case "invalid_client",
		"incorrect_client_credentials",           // GitHub
		"bad_client_secret", "invalid_client_id", // Slack
		"invalid_client_secret", "invalid_client_credentials", "client_not_found", "unknown_client":
		return ClassClient
	case "unauthorized_client", "invalid_token":
		if refusesRefreshToken(e.Description) {
			return ClassGrant // Atlassian
		}
		if e.Code == "unauthorized_client" {
			return ClassClient
		}
	case "invalid_scope", "insufficient_scope":
		return ClassScope
	case "invalid_target", "invalid_resource":
		return ClassTarget
	case "temporarily_unavailable", "slow_down", "server_error",
		"rate_limited", "ratelimited", "rate_limit_exceeded", "too_many_requests", "over_request_rate_limit",
		"service_unavailable", "internal_error", "internal_server_error", "fatal_error", "request_timeout":
		return ClassTransient
	case "invalid_request":
		if blamesClient(e.Description) {
			return ClassClient // Notion: "must not use multiple authentication methods"
		}
	case "":
		switch e.Status {
		case 400, 401, 403, 422:
			if e.Description == "" || blamesClient(e.Description) {
				return ClassClient // an empty body, or Supabase's "Required parameter: client_secret"
			}
		}
	}
	return ClassOther
}

// blamesClient reports whether a text is about the client's identity or
// authentication.
func blamesClient(text string) bool {
	return containsAny(text, "client_id", "client_secret", "client id", "client secret", "client authentication",
		"authentication method", "auth_method", "client credentials", "unknown client", "invalid client", "client not found")
}

func refusesRefreshToken(text string) bool {
	return containsAny(text, "refresh_token", "refresh token") &&
		containsAny(text, "invalid", "expired", "revoked", "not found", "unknown", "already used")
}

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
