package oauth

import (
	"errors"
	"math"
	"slices"
	"strings"
	"time"
)

// TokenResponse is a successful response of the token endpoint (RFC 6749 section 5.1).
type TokenResponse struct {
	AccessToken  Secret
	TokenType    string        // "Bearer", also if the response has another spelling or none
	ExpiresIn    time.Duration // 0: unknown, not "no expiry"; at most a year
	RefreshToken Secret        // "": the response has none, and the old one stays
	IDToken      Secret

	IssuedTokenType string // RFC 8693 section 2.2.1; "" without a token exchange

	Scope        string // one space between scopes
	ScopePresent bool   // false: the scope is the requested one

	// Partial reports that the body ended early. The values here are complete, but a missing
	// member may have been in the rest.
	Partial bool
}

const (
	maxTokenBytes = 32 << 10 // of one token
	maxLife       = 365 * 24 * time.Hour
)

// ParseTokenResponse parses a response of the token endpoint (RFC 6749 section 5). It accepts any
// 2xx, JSON or a form, by content whatever the content type, text around the first JSON value,
// numbers in strings and single values in arrays. It compares member names byte by byte, and uses
// the last value of a repeated member that is not empty.
//
// It returns an [*Error] for an error response, whatever the status; a [*TransientError] if the
// response is not that of an authorization server, or the failure may pass; a [*SendError] with
// Sent set if a success ended before any value in it, so that the server may have acted on the
// request; and a [*ProtocolError] if a success cannot be used.
//
// It can return a response and an error together. The response then holds what must be kept
// anyway: a refresh token beside an access token that is missing or unusable, or tokens of
// another type than Bearer. The error states why the access token must not be used.
func ParseTokenResponse(a *RawResponse) (*TokenResponse, error) {
	r := newReply("token", a.Status, a.ContentType, []byte(a.Body), a.Truncated)
	r.header, r.at, r.redactor = a.Header, a.ReceivedAt, a.redactor
	if a.Status/100 != 2 {
		return nil, r.failure()
	}
	t, flaw := r.tokens()
	if t.AccessToken == "" {
		if err := r.errorMember(); err != nil {
			return nil, err
		}
		if t.RefreshToken == "" {
			return nil, r.withoutTokens(flaw)
		}
	}
	switch usable := t.TokenType == "Bearer" || a.Proved && strings.EqualFold(t.TokenType, "DPoP"); {
	case t.AccessToken != "" && !usable:
		flaw = protocolErrorf("RFC 6749 section 7.1", "the access token is of type %q, not Bearer",
			Sanitize(r.redactor.withResponse(r.members).redact(t.TokenType)))
	case t.AccessToken != "" || flaw != nil:
	case t.Partial:
		flaw = r.transient("a response that ended early")
	default:
		flaw = protocolErrorf("RFC 6749 section 5.1", "the token endpoint's response has no access token")
	}
	return t, flaw
}

// withoutTokens returns the error of a success without a token, or with what is wrong with it.
func (r reply) withoutTokens(flaw error) error {
	switch {
	case flaw != nil:
		return flaw
	case !r.html && (r.truncated || r.parsed && !r.members.complete):
		return &SendError{Sent: true, Err: errors.New("the response ended early")}
	}
	return r.failure()
}

// tokens reads the members of a success. The error is about a token that is there and not valid.
func (r reply) tokens() (*TokenResponse, error) {
	o := tokenMembers(r.members)
	t := &TokenResponse{
		TokenType: strings.TrimSpace(o.text("token_type")),
		ExpiresIn: lifetime(o),

		IssuedTokenType: o.text("issued_token_type"),

		Partial: r.parsed && !o.complete,
	}
	switch strings.ToLower(t.TokenType) {
	case "", "bearer",
		"bearertoken", "bearer_token", "bearer token", // Apigee, and its kin
		"user", "bot": // Slack, whose types name the owner of the token; all are sent as Bearer
		t.TokenType = "Bearer"
	}
	if v := o.raw("scope"); len(v) > 0 && (v[0] == '"' || v[0] == '[') {
		t.Scope, t.ScopePresent = cleanScope(strings.Join(listOf(v), " ")), true
	}
	var flaw error
	for _, m := range []struct {
		name  string
		field *Secret
		valid func(string) bool
	}{
		{"id_token", &t.IDToken, isHeaderSafe},
		{"refresh_token", &t.RefreshToken, isVisible},
		{"access_token", &t.AccessToken, isHeaderSafe},
	} {
		v := o.raw(m.name)
		if len(v) == 0 {
			continue
		}
		s := textOf(v)
		if s == "" && v[0] != '"' && m.name == "refresh_token" {
			continue // false, {} and [] are what some languages write for none
		}
		if s != "" && v[0] != '[' && len(s) <= maxTokenBytes && m.valid(s) &&
			!Secret(s).IsPlaceholder() {
			*m.field = Secret(s)
		} else if m.name != "id_token" {
			flaw = protocolErrorf("RFC 6749 appendix A",
				"the token endpoint's response has a malformed %s", m.name)
		}
	}
	t.Scope = t.scopeWithoutTokens()
	return t, flaw
}

// scopeWithoutTokens returns the scope, which may be shown and logged, without what repeats a token of
// the response.
func (t *TokenResponse) scopeWithoutTokens() string {
	repeats := func(text string) bool {
		return slices.ContainsFunc([]Secret{t.AccessToken, t.RefreshToken, t.IDToken}, func(token Secret) bool {
			return len(token) >= 8 && strings.Contains(text, token.Reveal()) // a shorter one may be a word
		})
	}
	if !repeats(t.Scope) {
		return t.Scope
	}
	return strings.Join(slices.DeleteFunc(strings.Fields(t.Scope), repeats), " ")
}

// tokenMembers returns the members that describe the grant: those of the response, or of an
// object in it where the response itself has no access token. Slack has the user's token in
// authed_user; that object is the grant also where the token at the top has an empty scope.
func tokenMembers(o object) object {
	top := o.raw("access_token")
	if top != nil && !(o.has("scope") && o.raw("scope") == nil) {
		return o
	}
	for i := range o.members {
		m := o.members[len(o.members)-1-i]
		if len(m.value) == 0 || m.value[0] != '{' || top != nil && m.name != "authed_user" {
			continue
		}
		nested, err := readObject(m.value)
		if err != nil || nested.raw("access_token") == nil {
			continue
		}
		if top == nil { // what is beside it belongs to the same grant
			nested.members = slices.Concat(o.members, nested.members)
		}
		nested.complete = o.complete
		return nested
	}
	return o
}

// isHeaderSafe reports whether s can be sent in an Authorization header. RFC 6750 section 2.1
// allows fewer characters, but real tokens also contain "|" or "!".
func isHeaderSafe(s string) bool { return isVisible(s) && !strings.Contains(s, " ") }

// lifetime returns expires_in. A value that is not a positive number of seconds means unknown, not
// "no expiry".
func lifetime(o object) time.Duration {
	seconds, ok := o.number("expires_in")
	if !ok || seconds <= 0 {
		return 0
	}
	return time.Duration(math.Min(seconds, maxLife.Seconds()) * float64(time.Second))
}
