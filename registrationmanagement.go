package handstamp

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// manageable reports whether the server lets the client change its registration (RFC 7592).
func manageable(c *record.Client) bool {
	return c.Source == record.SourceDynamic && !c.Rejected &&
		c.RegistrationClientURI != "" && c.RegistrationAccessToken != "" && c.Response != ""
}

// updateClient sends changed metadata of a client to its server and returns the client as it is
// then: with a new secret, if the old one had ended. The caller holds the refresh lock. The change
// is durable when it returns; a client that the server does not let change any more is marked so.
func updateClient(
	ctx context.Context, c *credential, rec *record.Record, client *record.Client,
	changed map[string]json.RawMessage,
) (*record.Record, *record.Client, error) {
	space, err := c.records.reserve(ctx, nil)
	if err != nil {
		return rec, nil, storeError(ctx, c.serverURL, err)
	}
	if space != nil {
		space.Release()
	}
	updated, err := c.fetcher.UpdateRegistration(ctx, &oauth.Registration{
		ClientID: client.ID, ClientSecret: client.Secret, Raw: client.Response,
		RegistrationClientURI:   client.RegistrationClientURI,
		RegistrationAccessToken: client.RegistrationAccessToken,
	}, changed)
	if updated == nil && retryable(err) {
		return rec, nil, err
	}
	issuer, id := client.Issuer, client.ID
	rec, storeErr := c.records.update(ctx, rec, func(rec *record.Record) error {
		if stored := rec.Client(issuer, id); stored != nil {
			applyUpdate(stored, updated, err)
			if err == nil && changed["jwks"] != nil {
				stored.KeyThumbprint = keyThumbprint(c.config.Key, oauth.MethodPrivateKeyJWT)
			}
		}
		return nil
	})
	if storeErr != nil {
		return rec, nil, storeErr
	}
	stored := rec.Client(issuer, id)
	if updated != nil && stored != nil {
		if err := c.config.tellRegistration(ctx, stored); err != nil {
			c.notice("%v", err)
		}
	}
	return rec, stored, err
}

// applyUpdate writes into the client what came of an update: the registration as it is now, if that
// was returned, and no more updates after a rejection.
func applyUpdate(c *record.Client, updated *oauth.Registration, err error) {
	if updated == nil {
		c.RegistrationAccessToken = ""
		return
	}
	if updated.ClientSecret != "" { // a response may leave out what did not change
		c.Secret = updated.ClientSecret
	}
	c.SecretExpiresAt, c.Response = updated.SecretExpiresAt, updated.Raw
	c.RegistrationAccessToken, c.RegistrationClientURI = updated.RegistrationAccessToken, updated.RegistrationClientURI
	if err != nil && !retryable(err) {
		c.RegistrationAccessToken = ""
	}
	if len(updated.RedirectURIs) > 0 {
		c.RedirectURIs = updated.RedirectURIs
	}
}

// refit has a stored client fit the login where its registration does not: its secret has ended, or
// it was registered for another redirect URI. It returns nil if the server does not let it.
func (r *registrar) refit(ctx context.Context, old *record.Client) *record.Client {
	if !manageable(old) || old.ID == r.clients.unknownClientID || r.clients.mayBeGone(old) || !slices.Equal(old.GrantTypes, registeredGrants(r.config.Grant)) {
		return nil
	}
	waiting, cancel := awake.WithTimeout(ctx, lockTimeout, errLockTimeout)
	defer cancel()
	unlock, rec, err := r.records.lockUnless(waiting, store.LockRefresh, func(*record.Record) bool { return false })
	if err != nil {
		r.events.fail(StepRegistration, err, "the registration could not be updated; registering a new client")
		return nil
	}
	defer unlock()
	r.rec = rec
	switch old = rec.Client(old.Issuer, old.ID); {
	case old == nil:
		return nil
	case r.clients.canReuse(old): // a refresh of another process has replaced it
		return old
	}
	changed := map[string]json.RawMessage{}
	if uri := r.clients.callback.redirectURI; uri != "" {
		changed["redirect_uris"], _ = json.Marshal(withRedirectURI(old.RedirectURIs, uri))
	}
	if hasOtherKey(old, r.config.Key) {
		changed["jwks"] = r.config.Key.JWKS()
	}
	rec, client, err := updateClient(ctx, r.credential, r.rec, old, changed)
	r.rec = rec
	if err != nil {
		r.events.fail(StepRegistration, err, "the registration could not be updated; registering a new client")
		return nil
	}
	if client == nil || !r.clients.canReuse(client) {
		return nil
	}
	return client
}

// maxRedirectURIs bounds the redirect URIs of a registration that this Client adds to.
const maxRedirectURIs = 8

// withRedirectURI returns the redirect URIs of a client with another one, and without the oldest of
// too many: processes that wait for the user at the others go on.
func withRedirectURI(registered []string, uri string) []string {
	uris := append(slices.Clone(registered), uri)
	if slices.Contains(registered, uri) {
		uris = registered
	}
	return uris[max(0, len(uris)-maxRedirectURIs):]
}

// replaceSecret has the server issue a new secret where that of the grant's client has ended, so that
// the login can be refreshed.
func (r *refreshAttempt) replaceSecret(ctx context.Context, rec *record.Record) (*record.Record, error) {
	client := rec.GrantClient()
	if !r.config.replaceable(client, rec.Grant, time.Now()) {
		return rec, nil
	}
	if isCopy(client, r.config) {
		return copySecret(ctx, r.credential, rec, client)
	}
	rec, _, err := updateClient(ctx, r.credential, rec, client, nil)
	return rec, err
}

// hasOtherKey reports whether a client was registered with another key than the configured one.
func hasOtherKey(c *record.Client, configured *clientkey.Key) bool {
	return configured != nil && c.KeyThumbprint != "" &&
		c.KeyThumbprint != keyThumbprint(configured, oauth.MethodPrivateKeyJWT)
}

// otherKey returns the error of a refresh with a client that was registered with another key than
// the configured one: the server would end the login.
func otherKey(client *record.Client, c *credential) error {
	if !hasOtherKey(client, c.config.Key) {
		return nil
	}
	return &Error{Kind: ErrClientRejected, Server: c.serverURL,
		Message: fmt.Sprintf("the client was registered with another key than %s", c.config.Key.ID()),
		Hint:    "configure the key that it was registered with, or sign in again"}
}
