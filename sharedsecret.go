package handstamp

import (
	"context"
	"errors"
	"time"

	"github.com/handstamp/handstamp/internal/record"
)

// The secret of a shared client is replaced in the shared record, once for all users, and their
// copies take it over: or all of them would have to sign in when it ends.

// isCopy reports whether a client is a copy of a shared one that the server may let change.
func isCopy(c *record.Client, cfg *configuration) bool {
	return cfg.ClientStore != nil && c.Source == record.SourceDynamic && !c.Rejected &&
		c.RegistrationClientURI != "" && c.RegistrationAccessToken == ""
}

// secretEnded reports whether the secret of a shared client has ended and may be replaced.
func secretEnded(c *record.Client) bool {
	return c != nil && manageable(c) && secretExpired(c, nil, time.Now())
}

// replaceSharedSecret has the server issue a new secret for a shared client, unless another process
// has done that meanwhile, and returns the shared record.
func replaceSharedSecret(
	ctx context.Context, c *credential, shared *records, client *record.Client,
) (*record.Record, error) {
	issuer, id := client.Issuer, client.ID
	unlock, rec, err := lockShared(ctx, shared, func(rec *record.Record) bool {
		return !secretEnded(rec.Client(issuer, id))
	})
	if err != nil {
		return nil, err
	}
	if unlock != nil {
		defer unlock()
	}
	if client = rec.Client(issuer, id); !secretEnded(client) {
		return rec, nil
	}
	of := *c
	of.records = shared
	rec, _, err = updateClient(ctx, &of, rec, client, nil)
	return rec, err
}

// copySecret gives a user's copy of a shared client the secret that the shared one has, or gets, in
// place of one that has ended. A copy that gets none is no longer one that could.
func copySecret(
	ctx context.Context, c *credential, rec *record.Record, client *record.Client,
) (*record.Record, error) {
	from, err := currentShared(ctx, c, client)
	if err != nil {
		return rec, err
	}
	issuer, id := client.Issuer, client.ID
	return c.records.update(ctx, rec, func(rec *record.Record) error {
		stored := rec.Client(issuer, id)
		switch {
		case stored == nil:
		case from == nil || from.Secret == stored.Secret:
			stored.RegistrationClientURI = ""
		default:
			copied := usersCopy(from)
			stored.Secret, stored.SecretExpiresAt = copied.Secret, copied.SecretExpiresAt
			stored.Response, stored.RegistrationClientURI = copied.Response, copied.RegistrationClientURI
		}
		return nil
	})
}

// currentShared returns the shared client that a user's is a copy of, with a new secret if it can
// have one; nil if there is none any more. A rejection of the server's is no error.
func currentShared(
	ctx context.Context, c *credential, client *record.Client,
) (*record.Client, error) {
	for _, uri := range client.RedirectURIs {
		shared := sharedRecords(c, client.Issuer, uri)
		if shared == nil {
			break
		}
		rec, err := shared.load(ctx)
		if err == nil && secretEnded(rec.Client(client.Issuer, client.ID)) {
			rec, err = replaceSharedSecret(ctx, c, shared, client)
		}
		if err != nil && (rec == nil || retryable(err) || errors.Is(err, ErrStore)) {
			return nil, err
		}
		if found := rec.Client(client.Issuer, client.ID); found != nil {
			return found, nil
		}
	}
	return nil, nil
}
