// Package mixup has the defence of logins in steps against the mix-up of authorization servers: a
// redirect URI for each issuer (RFC 9700, section 4.4.2.2). An authorization server that sends no iss
// rejects the one of another issuer.
package mixup

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"net/url"
	"strings"
)

type key struct{}

// WithRedirectURIs returns a context in which logins have a redirect URI for each issuer. The caller
// makes sure that a response counts only at the one that was requested: an attacker's authorization
// server may send the user on with that of another issuer.
func WithRedirectURIs(ctx context.Context) context.Context {
	return context.WithValue(ctx, key{}, true)
}

// RedirectURI returns the redirect URI of an issuer, which is below the application's; without
// [WithRedirectURIs] it is the application's own.
func RedirectURI(ctx context.Context, application, issuer string) string {
	u, err := url.Parse(application)
	if ctx.Value(key{}) == nil || err != nil {
		return application
	}
	sum := sha256.Sum256([]byte(issuer))
	return u.JoinPath(strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))).String()
}
