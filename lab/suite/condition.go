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

// about returns in one sentence what the condition does to a server, and what a client is then
// expected to do.
func (c Condition) about() string {
	return map[Condition]string{
		Warm: "Nothing has happened since the login: the stored access token is good and is used.",
		Expired: "Every access token has expired, as the client knows: " +
			"it refreshes, without a browser.",
		RejectedEarly: "The MCP server rejects every access token before its expiry: " +
			"the client finds out by a 401, and refreshes.",
		GrantRevoked: "Every grant is revoked, with its access and refresh tokens: " +
			"the user has to sign in again, once.",
		ClientForgotten: "The authorization server has deleted all clients: " +
			"the client registers again, and the user signs in once.",
		TwoDays: "The server's clock is set two days ahead: " +
			"what has a lifetime has expired, refresh tokens too where they have one.",
	}[c]
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
