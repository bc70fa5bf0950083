package handstamp

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/internal/jose"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// maxAccount bounds the name of an account that is kept, in bytes.
const maxAccount = 128

// account returns the name of the account that the user has signed in with: from the id token, or
// from the userinfo endpoint where the login has the scope for it. It is for users to tell their
// logins apart; no decision depends on it. Empty means that the server does not tell. The prover has
// the key of a bound token.
func (l *loginFlow) account(t *oauth.TokenResponse) string {
	if l.enterprise != "" {
		return l.employee
	}
	if claims, err := jose.UnverifiedClaims(t.IDToken.Reveal()); err == nil {
		return accountName(claims.Email, claims.PreferredUsername, claims.Name, claims.Subject)
	}
	return ""
}

// readAccount reads the account of a login that is stored from userinfo, where its token response
// has not named it.
func (l *loginFlow) readAccount(
	ctx context.Context, t *oauth.TokenResponse, prover oauth.Prover, before string,
) {
	account := l.userinfoAccount(ctx, t, prover)
	if account == "" {
		return
	}
	l.reportAccount(before, account)
	l.remember(ctx, "the account", func(rec *record.Record) {
		if rec.Grant != nil && rec.Grant.AccessToken == t.AccessToken {
			rec.Account = account
		}
	})
}

// reportAccount reports a login as another user than the one before.
func (l *loginFlow) reportAccount(before, account string) {
	if before != "" && account != "" && before != account {
		l.notice("signed in as %s; the login before was that of %s", account, before)
	}
}

// userinfoAccount returns the account of a token from userinfo (OpenID Connect Core, section 5.3),
// or "".
func (l *loginFlow) userinfoAccount(
	ctx context.Context, t *oauth.TokenResponse, prover oauth.Prover,
) string {
	endpoint := l.plan.server.UserinfoEndpoint
	scopes := strings.Fields(cmp.Or(t.Scope, l.scope))
	if endpoint == "" || !slices.Contains(scopes, "openid") || t.AccessToken == "" {
		return ""
	}
	if authScheme(t.TokenType) != "DPoP" {
		prover = nil
	}
	claims, err := l.fetcher.Userinfo(ctx, endpoint, t.AccessToken, prover)
	if err != nil {
		l.events.fail(StepUser, err, "the account could not be read")
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

// accountBefore returns the account of the login before, if this one is for the same account as far
// as is known: at the same server, and not with another account perhaps; "" for none.
func (l *loginFlow) accountBefore(rec *record.Record) string {
	as := rec.AuthorizationServer
	if l.forced || as == nil || !oauth.SameButSlash(as.Issuer, l.plan.server.Issuer) {
		return ""
	}
	return rec.Account
}

// loginHint returns the account that the user signed in with before, for the same server to preselect
// (OpenID Connect Core, section 3.1.2.1); "" for none.
func (l *loginFlow) loginHint() string { return l.accountBefore(l.rec) }
