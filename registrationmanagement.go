package handstamp

import (
	"context"
	"encoding/json"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// manageable reports whether the server lets the client change its registration (RFC 7592).
func manageable(c *record.Client) bool {
	return c.Source == record.SourceDynamic && !c.Rejected &&
		c.RegistrationClientURI != "" && c.RegistrationAccessToken != "" && c.Response != ""
}

// replaceable reports whether the secret of a client has ended and the server may issue a new one.
func (cfg *configuration) replaceable(c *record.Client, g *record.Grant, now time.Time) bool {
	return c != nil && manageable(c) && cfg.configurationFor(c) == nil && secretExpired(c, g, now)
}

// updateClient sends changed metadata of a client to its server and returns the client as it is
// then: with a new secret, if the old one had ended. The change is durable when it returns; a
// client that the server does not let change any more is marked so.
func (c *credential) updateClient(
	ctx context.Context, rec *record.Record, client *record.Client, changed map[string]json.RawMessage,
) (*record.Record, *record.Client, error) {
	updated, err := c.fetcher.UpdateRegistration(ctx, &oauth.Registration{
		ClientID: client.ID, RegistrationClientURI: client.RegistrationClientURI,
		RegistrationAccessToken: client.RegistrationAccessToken, Raw: client.Response,
	}, changed)
	over := *client
	switch {
	case err == nil:
		over.Secret, over.SecretExpiresAt = updated.ClientSecret, updated.SecretExpiresAt
		if updated.ClientSecret == "" && client.Secret != "" {
			over.Secret = client.Secret // a response may leave out what did not change
		}
		over.RegistrationAccessToken, over.RegistrationClientURI = updated.RegistrationAccessToken, updated.RegistrationClientURI
		over.Response = updated.Raw
		if len(updated.RedirectURIs) > 0 {
			over.RedirectURIs = updated.RedirectURIs
		}
	case retryable(err):
		return rec, nil, err
	default:
		over.RegistrationAccessToken = ""
	}
	rec, storeErr := c.records.update(ctx, rec, func(rec *record.Record) error {
		for i, old := range rec.Clients {
			if old.Issuer == over.Issuer && old.ID == over.ID {
				rec.Clients[i] = &over
			}
		}
		return nil
	})
	if storeErr != nil {
		return rec, nil, storeErr
	}
	return rec, &over, err
}

// refit has a stored client fit the login where its registration does not: its secret has ended, or
// it was registered for another redirect URI. It returns nil if the server does not let it.
func (l *loginClients) refit(ctx context.Context, old *record.Client) *record.Client {
	if !manageable(old) || old.ID == l.unknownClientID || l.mayBeGone(old) {
		return nil
	}
	changed := map[string]json.RawMessage{}
	if uri := l.callback.redirectURI; uri != "" {
		changed["redirect_uris"], _ = json.Marshal([]string{uri})
	}
	rec, client, err := l.updateClient(ctx, l.rec, old, changed)
	l.rec = rec
	if err != nil {
		l.log.Info("the registration could not be updated; registering anew", "error", err)
		return nil
	}
	if !l.canReuse(client) {
		return nil
	}
	return client
}

// replaceSecret has the server issue a new secret where that of the grant's client has ended, so that
// the login can be refreshed.
func (r *refreshAttempt) replaceSecret(ctx context.Context, rec *record.Record) (*record.Record, error) {
	client := rec.GrantClient()
	if !r.config.replaceable(client, rec.Grant, time.Now()) {
		return rec, nil
	}
	rec, _, err := r.updateClient(ctx, rec, client, nil)
	return rec, err
}
