package service

import (
	"cmp"
	"context"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store"
)

// loginsBody are the logins of a user.
type loginsBody struct {
	Logins []loginBody `json:"logins"`
}

// loginBody is one login, without secrets.
type loginBody struct {
	Server      string     `json:"server"`
	State       string     `json:"state"`
	Usable      bool       `json:"usable"`      // a request could be made without the user
	Refreshable bool       `json:"refreshable"` // the next access token needs no user
	DPoP        bool       `json:"dpop"`
	Account     string     `json:"account,omitempty"`
	Issuer      string     `json:"issuer,omitempty"`
	Scope       string     `json:"scope,omitempty"`
	ObtainedAt  *time.Time `json:"obtained_at,omitempty"`
	ExpiresAt   *time.Time `json:"expires_at,omitempty"`
}

// logins is GET /v1/logins.
func (s *service) logins(ctx context.Context, r *request) (any, error) {
	body := &loginsBody{Logins: []loginBody{}}
	// A user whom a caller makes up must not take the place of another's Client.
	values, err := s.Database.Store(r.owner)
	if err != nil {
		return nil, err
	}
	if keys, err := values.List(ctx); err != nil || len(keys) == 0 {
		return body, err
	}
	client, err := s.App.Client(r.owner)
	if err != nil {
		return nil, err
	}
	all, err := client.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range all {
		if l.Profile != cmp.Or(s.Profile, store.DefaultProfile) || l.State == handstamp.StateNone {
			continue
		}
		body.Logins = append(body.Logins, loginBody{
			Server: l.Server, State: string(l.State), Usable: l.Usable(), Refreshable: l.Refreshable,
			DPoP: l.DPoP, Account: l.Account, Issuer: l.Issuer, Scope: l.Scope,
			ObtainedAt: shown(l.ObtainedAt), ExpiresAt: shown(l.ExpiresAt),
		})
	}
	return body, nil
}

// shown returns a time as it is written, nil for none.
func shown(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC().Truncate(time.Second))
}

// signOutBody is what became of a login that was signed out.
type signOutBody struct {
	Server  string `json:"server"`
	Revoked bool   `json:"revoked"` // the server confirmed the revocation (RFC 7009)
}

// signOut is DELETE /v1/logins.
func (s *service) signOut(ctx context.Context, r *request) (any, error) {
	if _, err := s.client(ctx, r); err != nil {
		return nil, err
	}
	result, err := s.App.Disconnect(ctx, r.owner, r.server())
	switch {
	case err != nil:
		return nil, err
	case !result.WasSignedIn && !result.Damaged:
		return nil, errNoLogin
	}
	return &signOutBody{r.server(), result.Revoked}, nil
}
