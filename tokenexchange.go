package handstamp

import (
	"cmp"
	"context"
	"net/url"
)

const grantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"

// Token types of RFC 8693, section 3, for [TokenExchange].
const (
	TokenTypeAccessToken  = "urn:ietf:params:oauth:token-type:access_token"
	TokenTypeRefreshToken = "urn:ietf:params:oauth:token-type:refresh_token"
	TokenTypeIDToken      = "urn:ietf:params:oauth:token-type:id_token"
	TokenTypeJWT          = "urn:ietf:params:oauth:token-type:jwt"
)

// TokenExchange obtains tokens at the MCP server's authorization server in exchange for a token that
// the application has (RFC 8693): a service that calls an MCP server for its own caller. If the
// authorization server rejects the token, nothing is sent again. The application names that server:
// by [Client.AuthorizationServer], or by the Issuer of [Client.Registration]. As with [JWTBearer], a
// client is named only if one is configured.
type TokenExchange struct {
	// SubjectToken returns the token of whom the new one is for. Nil is an error.
	SubjectToken     AssertionSource
	SubjectTokenType string // empty is TokenTypeAccessToken

	// ActorToken returns the token of who acts for the subject. Nil: the client does.
	ActorToken     AssertionSource
	ActorTokenType string // empty is TokenTypeAccessToken

	RequestedTokenType string // empty: an access token, as the server sees fit
	Audience           string // empty: the resource alone says what the token is for
}

func (TokenExchange) grantType() string { return grantTokenExchange }

func (g TokenExchange) params(ctx context.Context, l *loginFlow, t GrantTarget) (url.Values, error) {
	if !l.config.namesServer() {
		return nil, t.untrusted("the token to exchange is valid at other servers, too")
	}
	subject, err := t.assertion(ctx, g.SubjectToken)
	if err != nil {
		return nil, err
	}
	params := url.Values{
		"subject_token":      {subject},
		"subject_token_type": {cmp.Or(g.SubjectTokenType, TokenTypeAccessToken)},
	}
	if g.ActorToken != nil {
		actor, err := t.assertion(ctx, g.ActorToken)
		if err != nil {
			return nil, err
		}
		params.Set("actor_token", actor)
		params.Set("actor_token_type", cmp.Or(g.ActorTokenType, TokenTypeAccessToken))
	}
	if g.RequestedTokenType != "" {
		params.Set("requested_token_type", g.RequestedTokenType)
	}
	if g.Audience != "" {
		params.Set("audience", g.Audience)
	}
	return params, nil
}
