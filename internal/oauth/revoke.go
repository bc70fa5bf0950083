package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
)

// Revoke revokes a token (RFC 7009 section 2). hint is "refresh_token", "access_token" or "" for
// none; prover has the key of a bound token, without which some servers revoke nothing and report
// success. A token that the server does not know counts as revoked. It returns a [*SendError], an
// [*Error], a [*TransientError], or the errors of [Fetcher.PostToken] for a request that was not
// made.
func (f *Fetcher) Revoke(ctx context.Context, endpoint string, client Authenticator,
	prover Prover, token Secret, hint string) error {
	if token == "" {
		return errors.New("oauth: no token to revoke")
	}
	form := url.Values{"token": {token.Reveal()}}
	setOrDelete(form, "token_type_hint", hint)
	a, err := f.postProved(ctx, PurposeRevocation, endpoint, client, prover, form, maxToken)
	if err != nil {
		return err
	}
	r := a.reply("revocation")
	if a.status/100 != 2 {
		return r.failure()
	}
	return r.errorMember()
}

// DeleteRegistration deletes a dynamically registered client (RFC 7592 section 2.3). A registration
// that no longer exists counts as deleted. It returns a [*ProtocolError] for a URI that must not be
// used, an [*Error] or a [*TransientError].
func (f *Fetcher) DeleteRegistration(ctx context.Context, uri string, token Secret) error {
	if _, err := parseEndpoint("the registration's URI", uri); err != nil {
		return err
	}
	if token == "" {
		return errors.New("oauth: the registration has no access token")
	}
	a, err := f.managed(ctx, http.MethodDelete, uri, token, nil)
	if err != nil {
		return err
	}
	if a.status/100 == 2 || a.status == http.StatusNotFound || a.status == http.StatusGone {
		return nil
	}
	r := a.reply("registration")
	return r.failure()
}
