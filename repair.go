package handstamp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// Repair fixes what an Inspection of this server found and what needs no user. It
//
//   - moves a damaged record away, or deletes it where the store cannot move it;
//   - marks a dynamic client as unknown that the token endpoint rejects with an OAuth error, so
//     that the next login registers a new one;
//   - refreshes an access token that the MCP server rejects, or that has expired.
//
// It registers nothing and opens no browser. It returns what was done, a sentence each, also with
// an error. That is of kind [ErrLoginRequired] if the login has ended, as the refresh has shown, and
// [ErrInvalidConfig] if the Inspection is not of this server and profile.
func (c *Client) Repair(ctx context.Context, serverURL string, in *Inspection) (done []string, err error) {
	s, err := c.session(serverURL)
	if err != nil {
		return nil, err
	}
	if in == nil || in.key != s.records.key {
		return nil, &Error{Kind: ErrInvalidConfig, Server: serverURL,
			Message: "the Inspection is not one of this server and profile"}
	}
	switch in.Status.State {
	case StateCorrupt:
		return s.moveDamageAway(ctx)
	case StateUnusable:
		return nil, nil
	}
	rec, err := s.records.load(ctx)
	switch t := in.TokenEndpoint; {
	case err != nil:
		return nil, err
	case t != nil && t.Forgotten && in.Plan != nil:
		return s.forgetClient(ctx, rec, in.Plan)
	}
	return s.refreshFor(ctx, rec, in)
}

// refreshFor refreshes an access token that an inspection found not to work.
func (s *session) refreshFor(ctx context.Context, rec *record.Record, in *Inspection) ([]string, error) {
	rejected := in.MCP != nil && in.MCP.Rejected
	if g := rec.Grant; !in.Refreshable || g == nil || !rejected && g.Usable("", time.Now()) {
		return nil, nil
	}
	need := tokenNeed{user: true}
	if rejected {
		need.rejected = rec.Grant.AccessToken
	}
	snap, err := s.refresher.refresh(ctx, need)
	switch {
	case err != nil:
		return nil, err
	case snap != nil:
		return []string{"the access token was refreshed"}, nil
	}
	if rec, err = s.records.load(ctx); err != nil || s.config.unattended(rec) {
		return nil, err // the next request obtains a token
	}
	return nil, s.errs.loginRequired(rec)
}

// moveDamageAway has the store set a damaged record aside, and returns what became of it.
func (s *session) moveDamageAway(ctx context.Context) ([]string, error) {
	rec, err := getRecord(ctx, s.records.store, s.records.key, s.records.timeout)
	switch {
	case err == nil:
		return []string{"the damaged login was moved away, and the one before it is in its place"}, nil
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case !errors.Is(err, store.ErrCorrupt):
		return nil, storeError(ctx, s.serverURL, err)
	case rec.Revision == "":
		return []string{"the damaged login was moved away: " + unreadable(s.records.key, err).Problem}, nil
	}
	if err := record.Delete(ctx, s.records.store, rec); err != nil {
		return nil, storeError(ctx, s.serverURL, err)
	}
	return []string{"the damaged login was deleted"}, nil
}

// forgetClient marks the client of a plan as unknown to its issuer.
func (s *session) forgetClient(ctx context.Context, rec *record.Record, plan *LoginPlan) ([]string, error) {
	found := false
	_, err := s.records.update(ctx, rec, func(rec *record.Record) error {
		c := rec.NewestClient(plan.issuer)
		if found = c != nil && c.ID == plan.clientID && !c.Rejected; found {
			c.Rejected = true
			return nil
		}
		return errSuperseded
	})
	if err != nil && !errors.Is(err, errSuperseded) {
		return nil, err
	}
	if !found {
		return nil, nil
	}
	return []string{fmt.Sprintf("client %s was marked as unknown to the server, so that the next login registers a new one", plan.ClientID)}, nil
}
