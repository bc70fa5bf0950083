package handstamp

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/oauth2"

	"github.com/handstamp/handstamp/secret"
)

// TokenOptions are the options of [Client.Token]. The zero value is for a token that
// is not about to expire.
type TokenOptions struct {
	// Refresh reports that the current token does not work: it is refreshed whatever
	// its expiry. If the authorization server rejects the refresh for good, the
	// login has ended, and Token returns [ErrLoginRequired] or signs in.
	Refresh bool

	// Rejected is a token that does not work. It is Refresh, unless there is another token by now:
	// of several callers who report the same one, the others get what the first one was issued.
	Rejected secret.String

	// MinTTL is how long the token has to be valid from now on: one that is not is
	// refreshed. The new one may live less long, too, and then each call refreshes; see
	// Token.ExpiresAt.
	MinTTL time.Duration
}

// Token is an access token as a caller gets it. The refresh token never leaves
// the Client.
type Token struct {
	Value     secret.String
	Type      string // as it stands before the value in the Authorization header
	Scope     string
	ExpiresAt time.Time // zero: unknown

	cached *cachedToken
}

// SetHeaders puts the token on a request: the Authorization header and, if the token is bound to a
// key (Type is "DPoP"), a proof of possession in the DPoP header, which is good for this request's
// method and URL only (RFC 9449, section 7.1).
func (t *Token) SetHeaders(req *http.Request) error {
	if t.cached == nil {
		return &Error{Kind: ErrInvalidConfig, Message: "the Token is not one of Client.Token"}
	}
	req.Header["Authorization"] = t.cached.header
	return t.cached.prove(req)
}

// KeepNonce keeps the nonce of a response to a request that the token was on, for the proofs that
// [Token.SetHeaders] makes from then on (RFC 9449, section 8.2). It reads resp.Request and the
// header, and does nothing where there is no nonce or the token is bound to no key.
func (t *Token) KeepNonce(resp *http.Response) {
	if t.cached != nil && resp.Request != nil {
		t.cached.noteNonce(resp.Request, resp)
	}
}

// Format implements fmt.Formatter: the value is not seen, whatever the verb and
// whatever the Token is a part of.
func (t Token) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%+v", plainToken(t)) }

// plainToken is a Token without its methods.
type plainToken Token

// Token returns an access token for a server, refreshed if need be. Without a
// usable credential it signs in, or returns [ErrLoginRequired] if the LoginPolicy
// is [LoginNever]. That error is about what is stored: where there is no login, it
// is returned without contacting the server, and does not mean that the server
// requires one. Callers share the Token and must not change it.
func (c *Client) Token(ctx context.Context, serverURL string, o TokenOptions) (*Token, error) {
	s, err := c.session(serverURL)
	if err != nil {
		return nil, err
	}
	snap, err := s.token(ctx, o)
	if err != nil {
		return nil, err
	}
	return &snap.public, nil
}

// freshToken returns what to send with a request: nil if there is no usable
// token, so that the server's rejection shows how to get one. While the token is
// fresh it takes no lock and does no I/O.
func (s *session) freshToken(ctx context.Context) (*cachedToken, error) {
	if snap := s.tokens.current.Load(); snap.fresh() {
		return snap, nil
	}
	snap, err := s.refresher.refresh(ctx, tokenNeed{})
	if snap != nil || err != nil {
		return snap, err
	}
	// What had a token and needs no user for the next one does not wait for a rejection.
	rec, err := s.records.load(ctx)
	if err != nil || rec.Grant == nil || !s.config.unattended(rec) {
		return nil, err
	}
	return s.logins.login(ctx, loginRequest{})
}

// token returns a token that meets o, never nil without an error.
func (s *session) token(ctx context.Context, o TokenOptions) (*cachedToken, error) {
	need := tokenNeed{minTTL: o.MinTTL}
	current := s.tokens.current.Load()
	switch {
	case o.Rejected != "":
		need.force = o.Rejected
	case o.Refresh && current != nil:
		need.force = current.token
	case o.Refresh:
		rec, err := s.records.load(ctx)
		if err != nil {
			return nil, err
		}
		if rec.Grant != nil {
			need.force = rec.Grant.AccessToken
		}
	case current != nil && current.rejected.Load():
		need.rejected = current.token
	case current.fresh() && current.lasts(o.MinTTL):
		return current, nil
	}
	if snap, err := s.refresher.refresh(ctx, need); err != nil || snap != nil {
		return snap, err
	}
	rec, err := s.records.load(ctx)
	switch {
	case err != nil:
		return nil, err
	case rec.Grant.Usable(need.rejected, time.Now()) && s.config.unattended(rec):
		need.force = rec.Grant.AccessToken // it works, but not for as long as is needed
	case rec.Grant.Usable(need.rejected, time.Now()):
		return nil, s.errs.notRefreshable(rec)
	case !s.config.mayLogin(ctx, rec):
		return nil, s.errs.loginRequired(rec)
	}
	return s.logins.login(ctx, loginRequest{interactive: true, rejectedToken: need.force})
}

// TokenSource returns the server's token as an oauth2.TokenSource. Its Token has
// no context of its own, so ctx bounds each call; a source for the life of a
// program takes context.Background(). What it returns is good now: it must not
// be wrapped in oauth2.ReuseTokenSource, which would use it beyond a refresh.
// Callers share the Token and must not change it, as with x/oauth2's own sources.
// It fails for a token that is bound to a key ([DPoPMode]): each request needs a
// proof of its own, which [Client.HTTPClient] and [Token.SetHeaders] add.
func (c *Client) TokenSource(ctx context.Context, serverURL string) oauth2.TokenSource {
	s, err := c.session(serverURL)
	return &tokenSource{ctx: ctx, session: s, err: err}
}

type tokenSource struct {
	ctx     context.Context
	session *session
	err     error
}

// Format implements fmt.Formatter, as the Handler's does.
func (ts *tokenSource) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[token source]") }

// Token implements oauth2.TokenSource.
func (ts *tokenSource) Token() (*oauth2.Token, error) {
	if ts.err != nil {
		return nil, ts.err
	}
	if snap := ts.session.tokens.current.Load(); snap.fresh() && !snap.rejected.Load() {
		return snap.Token()
	}
	snap, err := ts.session.token(ts.ctx, TokenOptions{})
	if err != nil {
		return nil, err
	}
	return snap.Token()
}
