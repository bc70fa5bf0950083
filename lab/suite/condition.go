package suite

import (
	"time"

	"github.com/handstamp/handstamp/lab"
)

// Condition is what has happened since the login.
type Condition string

// The conditions.
const (
	// Warm: nothing. The access token is good.
	Warm Condition = "warm"
	// Expired: the access token has expired, at the time that the client knows.
	Expired Condition = "expired"
	// RejectedEarly: the MCP server rejects the access token before that.
	RejectedEarly Condition = "rejected early"
	// GrantRevoked: the grant is revoked, access and refresh token alike.
	GrantRevoked Condition = "grant revoked"
	// ClientForgotten: the authorization server does not know the client any
	// more, and its access tokens are rejected.
	ClientForgotten Condition = "client forgotten"
	// TwoDays: the server's clock is two days on.
	TwoDays Condition = "clock + 2 days"
)

// Conditions returns all of them.
func Conditions() []Condition {
	return []Condition{Warm, Expired, RejectedEarly, GrantRevoked, ClientForgotten, TwoDays}
}

// twoDays is how far TwoDays moves the clock, and lifetime is longer than an
// access token lives.
const (
	twoDays  = 48 * time.Hour
	lifetime = 61 * time.Minute
)

// notFresh is how old an access token is that is rejected and not waited for: a
// client may repeat a token that was issued just now.
const notFresh = time.Minute

// apply applies the condition to the server.
func (c Condition) apply(s *lab.Server, aged bool) {
	switch c {
	case Expired:
		if aged {
			s.Advance(lifetime)
		} else {
			s.ExpireAccessTokens()
		}
	case RejectedEarly:
		s.RevokeAccessTokens()
	case GrantRevoked:
		s.RevokeFamilies()
	case ClientForgotten:
		s.ForgetClients()
		s.RevokeAccessTokens()
	case TwoDays:
		s.Advance(twoDays)
	}
}

// age is how much older the client's credentials get with the condition, by the
// client's own clock.
func (c Condition) age() time.Duration {
	switch c {
	case Expired:
		return lifetime
	case TwoDays:
		return twoDays
	case RejectedEarly, GrantRevoked, ClientForgotten:
		return notFresh
	}
	return 0
}
