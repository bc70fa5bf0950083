package oauth

import (
	"errors"
	"math"
	"slices"
	"strings"
	"time"
)

// TokenResponse is a successful answer of the token endpoint (RFC 6749 section
// 5.1).
type TokenResponse struct {
	AccessToken  Secret
	TokenType    string        // "Bearer", also if the server wrote it otherwise or not at all
	ExpiresIn    time.Duration // 0: unknown, which is not "for ever"; at most a year
	RefreshToken Secret        // "": the answer has none, and the old one stays
	IDToken      Secret
	Scope        string // one space between scopes
	ScopePresent bool   // false: the scope is the one that was asked for

	// Partial says that the body ended early. What is in the response is whole,
	// but a member that is missing may have been in the rest.
	Partial bool
}

const (
	maxTokenBytes = 32 << 10 // of one token
	maxLife       = 365 * 24 * time.Hour
)

// ParseToken interprets a token endpoint's answer: any 2xx, JSON or a form by
// content and whatever its type, tolerant of what surrounds the first value, of
// numbers in strings and single values in arrays. It takes member names byte by
// byte, and of a repeated one the last that says something.
//
// The errors: an *Error if the server refuses, whatever the status; a
// *TransientError if the answer is not an authorization server's or not its last
// word; a *SendError with Sent set if a success ended before anything in it
// could be used, which leaves the request in doubt; a *ProtocolError if a
// success cannot be used.
//
// A response and an error can come together. The response then holds what must
// be kept all the same, a refresh token beside an access token that is missing
// or unusable, or tokens of another type than Bearer; the error says why the
// access token must not be used.
func ParseTokenResponse(a *RawResponse) (*TokenResponse, error) {
	r := newReply("token", a.Status, a.ContentType, a.Header, []byte(a.Body), a.Truncated, a.ReceivedAt)
	r.redactor = a.redactor
	if a.Status/100 != 2 {
		return nil, r.failure()
	}
	t, flaw := r.tokens()
	if t.AccessToken == "" {
		if err := r.errorMember(); err != nil {
			return nil, err
		}
	}
	switch {
	case t.AccessToken == "" && t.RefreshToken == "" && flaw == nil:
		if !r.html && (a.Truncated || r.parsed && !r.members.complete) {
			return nil, &SendError{Sent: true, Err: errors.New("the answer ended early")}
		}
		return nil, r.failure()
	case t.AccessToken == "" && t.RefreshToken == "":
		return nil, flaw
	case t.AccessToken == "" && flaw == nil && t.Partial:
		flaw = r.transient("an answer that ended early")
	case t.AccessToken == "" && flaw == nil:
		flaw = protocolErrorf("RFC 6749 section 5.1", "the token endpoint's answer has no access token")
	case t.AccessToken != "" && t.TokenType != "Bearer":
		flaw = protocolErrorf("RFC 6749 section 7.1", "the access token is of type %q, not Bearer",
			Sanitize(r.redactor.withResponse(r.members).redact(t.TokenType)))
	}
	return t, flaw
}

// tokens reads the members of a success. The error is about a token that is
// there and cannot be used.
func (r reply) tokens() (*TokenResponse, error) {
	o := tokenMembers(r.members)
	t := &TokenResponse{
		TokenType: strings.TrimSpace(o.text("token_type")),
		ExpiresIn: lifetime(o),
		Partial:   r.parsed && !o.complete,
	}
	switch strings.ToLower(t.TokenType) {
	case "", "bearer",
		"user", "bot": // Slack, whose types say whose token it is; all are sent as Bearer
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
		if s := textOf(v); s != "" && v[0] != '[' && len(s) <= maxTokenBytes && m.valid(s) && !Secret(s).IsPlaceholder() {
			*m.field = Secret(s)
		} else if m.name != "id_token" {
			flaw = protocolErrorf("RFC 6749 appendix A", "the token endpoint's answer has a malformed %s", m.name)
		}
	}
	return t, flaw
}

// tokenMembers returns the members that describe the grant: those of the response, or
// of an object in it where the response itself has no access token. Slack has the
// user's token in authed_user, and that is the grant also where an empty scope beside
// it says that the token at the top may do nothing.
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

// isHeaderSafe reports whether s can stand in an Authorization header: RFC 6750
// section 2.1 allows fewer characters, but tokens in use have "|" or "!" too.
func isHeaderSafe(s string) bool { return isVisible(s) && !strings.Contains(s, " ") }

// lifetime reads expires_in. What is no positive number of seconds says nothing
// about the token, least of all that it never expires.
func lifetime(o object) time.Duration {
	seconds, ok := o.number("expires_in")
	if !ok || seconds <= 0 {
		return 0
	}
	return time.Duration(math.Min(seconds, maxLife.Seconds()) * float64(time.Second))
}
