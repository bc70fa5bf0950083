package handstamp

import (
	"context"
	"errors"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
)

// revokeTimeout bounds the requests that end what a server has issued.
const revokeTimeout = 10 * time.Second

// revoker has authorization servers revoke the tokens of a credential (RFC 7009).
type revoker struct{ *credential }

// revokeGrant revokes the refresh token, with which a server also ends the
// access token, or the access token where there is no other (RFC 7009, section
// 2.1).
func (r revoker) revokeGrant(ctx context.Context, last *record.Record) error {
	token, hint := last.Grant.RefreshToken, "refresh_token"
	if token == "" {
		token, hint = last.Grant.AccessToken, "access_token"
	}
	return r.revoke(ctx, last, token, hint)
}

// revoke sends a token of the record's grant to the revocation endpoint that the
// grant is pinned to.
func (r revoker) revoke(ctx context.Context, rec *record.Record, token secret.String, hint string) error {
	client := rec.GrantClient()
	if client == nil || rec.Grant.RevocationEndpoint == "" {
		return errors.New("the authorization server has no revocation endpoint")
	}
	if token == "" {
		return errors.New("there was no token left to revoke")
	}
	if r.config.belongsElsewhere(client) {
		return errors.New("the configured client belongs to " + r.config.configuredIssuer() + ", and its secret goes nowhere else")
	}
	ctx, cancel := awake.WithTimeout(ctx, revokeTimeout, nil)
	defer cancel()
	client = r.config.withConfiguredSecret(client)
	methods, algorithms := storedAuthMethods(rec)
	choice, err := r.config.authMethodFor(client, methods, algorithms)
	if err != nil {
		return err
	}
	var prover oauth.Prover
	if rec.Grant.DPoP {
		prover = r.proofs
	}
	forms := append([]authForm{choice.authForm}, choice.next...)
	for i, form := range forms {
		as := r.config.credentials(form, client, rec.Grant.RevocationEndpoint, rec.Grant.TokenEndpoint, algorithms)
		err = r.revokeAs(ctx, rec.Grant.RevocationEndpoint, as, prover, token, hint)
		if err == nil || i+1 == len(forms) || !mayBlameClient(err) {
			break
		}
	}
	return err
}

// revokeAs sends a token to the revocation endpoint. Some servers have a
// client_secret in the form as required, an empty one where the method sends none
// there; they get it when they say so.
func (r revoker) revokeAs(ctx context.Context, endpoint string, as oauth.ClientCredentials, prover oauth.Prover, token secret.String, hint string) error {
	err := r.fetcher.Revoke(ctx, endpoint, as, prover, token, hint)
	if rejected, ok := errtype.As[*oauth.Error](err); ok && rejected.WantsClientSecret() && as.Method != oauth.MethodPost {
		as.EmptySecret = true
		err = r.fetcher.Revoke(ctx, endpoint, as, prover, token, hint)
	}
	return err
}

// deleteClients deletes the dynamic registrations of the record at their
// servers.
func deleteClients(ctx context.Context, fetcher *oauth.Fetcher, rec *record.Record) (deleted bool, err error) {
	ctx, cancel := awake.WithTimeout(ctx, revokeTimeout, nil)
	defer cancel()
	var failed []error
	for _, client := range rec.Clients {
		uri, token := client.RegistrationClientURI, client.RegistrationAccessToken
		if client.Source != record.SourceDynamic || uri == "" || token == "" {
			continue
		}
		if err := fetcher.DeleteRegistration(ctx, uri, token); err != nil {
			failed = append(failed, err)
			continue
		}
		deleted = true
	}
	if !deleted && failed == nil {
		return false, errors.New("the registration response gave no way to delete the client")
	}
	return deleted, errors.Join(failed...)
}
