package handstamp

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/jose"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// maxAccount bounds the name of an account that is kept, in bytes.
const maxAccount = 128

// identity is who signs in with a login, as far as an authorization server or a company's identity
// provider shows it.
type identity struct {
	*loginState

	enterprise string // the issuer of the company's identity provider that the user signs in with
	employee   string // the account there
	nonce      string // of the authorization request for an id token
}

// account returns the name of the account that the user has signed in with: from the id token, or
// from the userinfo endpoint where the login has the scope for it. It is for users to tell their
// logins apart; no decision depends on it. Empty means that the server does not tell. The prover
// has the key of a bound token.
func (i *identity) account(t *oauth.TokenResponse) string {
	if i.enterprise != "" {
		return i.employee
	}
	return accountOf(t.IDToken)
}

// accountOf returns the name of the account in an id token, or "".
func accountOf(idToken oauth.Secret) string {
	claims, err := jose.UnverifiedClaims(idToken.Reveal())
	if err != nil {
		return ""
	}
	return accountName(claims.Email, claims.PreferredUsername, claims.Name, claims.Subject)
}

// read reads the account of a login that is stored from userinfo, where its token response has not
// named it.
func (i *identity) read(
	ctx context.Context, t *oauth.TokenResponse, prover oauth.Prover, before string,
) {
	account := i.userinfo(ctx, t, prover)
	if account == "" {
		return
	}
	i.report(before, account)
	rec, err := i.records.update(ctx, i.rec.Clone(), func(rec *record.Record) error {
		if rec.Grant == nil || rec.Grant.AccessToken != t.AccessToken {
			return errSuperseded
		}
		rec.Account = account
		return nil
	})
	switch {
	case err == nil:
		i.rec = rec
	case errors.Is(err, errSuperseded): // by a logout, perhaps, which stands
		i.tokens.noteChange()
	default:
		i.events.fail(StepStore, err, "the account could not be stored")
	}
}

// report reports a login as another user than the one before.
func (i *identity) report(before, account string) {
	if before != "" && account != "" && before != account {
		i.notice("signed in as %s; the login before was that of %s", account, before)
	}
}

// userinfo returns the account of a token from userinfo (OpenID Connect Core, section 5.3), or "".
func (i *identity) userinfo(ctx context.Context, t *oauth.TokenResponse, prover oauth.Prover) string {
	endpoint := i.plan.server.UserinfoEndpoint
	scopes := strings.Fields(cmp.Or(t.Scope, i.scope))
	if endpoint == "" || !slices.Contains(scopes, "openid") || t.AccessToken == "" {
		return ""
	}
	if authScheme(t.TokenType) != "DPoP" {
		prover = nil
	}
	claims, err := i.fetcher.Userinfo(ctx, endpoint, t.AccessToken, prover)
	if err != nil {
		i.events.fail(StepUser, err, "the account could not be read")
		return ""
	}
	text := func(name string) (s string) {
		_ = json.Unmarshal(claims[name], &s)
		return s
	}
	return accountName(text("email"), text("preferred_username"), text("name"), text("sub"))
}

// accountName returns the first name that can be shown.
func accountName(names ...string) string {
	for _, name := range names {
		if shown := oauth.Sanitize(name); shown != "" && len(name) <= maxAccount {
			return shown
		}
	}
	return ""
}

// before returns the account of the login before, if this one is for the same account as far as is
// known: at the same server, and not with another account perhaps; "" for none.
func (i *identity) before(rec *record.Record) string {
	as := rec.AuthorizationServer
	if i.forced || as == nil || !oauth.SameButSlash(as.Issuer, i.plan.server.Issuer) {
		return ""
	}
	return rec.Account
}

// hint returns the account that the user signed in with before, for the same server to preselect
// (OpenID Connect Core, section 3.1.2.1); "" for none.
func (i *identity) hint() string { return i.before(i.rec) }

// withNonce adds the nonce of an authorization request for an id token (OpenID Connect Core,
// section 3.1.2.1).
func (i *identity) withNonce(params url.Values) url.Values {
	if i.config.identityProvider {
		i.nonce = rand.Text()
		params.Set("nonce", i.nonce)
	}
	return params
}

// checkIDToken verifies the id token that a code was exchanged for at an identity provider. Without
// its keys the connection that the token came through stands for the signature (OpenID Connect
// Core, section 3.1.3.7).
func (i *identity) checkIDToken(
	ctx context.Context, request *tokenRequest, t *oauth.TokenResponse,
) error {
	if !i.config.identityProvider {
		return nil
	}
	expected := jose.Expected{
		Issuer: i.plan.server.ExpectedIss(), ClientID: request.client.ID, Nonce: i.nonce,
		Now: time.Now().Add(request.clock),
	}
	token := t.IDToken.Reveal()
	if token == "" {
		return &Error{Kind: ErrProtocol, Server: i.serverURL,
			Message: "the identity provider issued no id token",
			Hint:    "allow the client there the scope openid"}
	}
	keys, err := i.fetcher.KeySet(ctx, i.plan.server.JWKSURI)
	if err == nil {
		_, err = jose.VerifyIDToken(token, keys, expected)
	} else {
		i.events.fail(StepIdentity, err, "the identity provider's keys could not be fetched")
		err = jose.CheckIDToken(token, expected)
	}
	if err != nil {
		return protocolError(i.serverURL, err)
	}
	return nil
}
