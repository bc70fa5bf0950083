package handstamp

import (
	"context"
	"errors"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
)

// restoreLogin puts back the login that one has replaced whose token the MCP server rejects, and
// reports whether there was one.
func (s *session) restoreLogin(ctx context.Context, issued secret.String) bool {
	before := s.history.takeReplaced(issued)
	if before == nil || before.Grant == nil || before.Grant.Rejected || before.GrantError != nil {
		return false
	}
	rec, err := s.records.change(ctx, func(rec *record.Record) error {
		if rec.Grant == nil || rec.Grant.AccessToken != issued {
			return errSuperseded
		}
		restore(rec, before)
		return nil
	})
	if err != nil {
		if !errors.Is(err, errSuperseded) {
			s.notice("the login before this one could not be put back: %v", err)
		}
		return false
	}
	s.tokens.current.Store(nil)
	s.tokens.use(rec)
	return true
}

// restore writes the login of another record into a record.
func restore(rec, before *record.Record) {
	grant := *before.Grant
	rec.Grant, rec.DPoP, rec.AuthorizationServer = &grant, before.DPoP, before.AuthorizationServer
	rec.Account, rec.ACRValues, rec.MaxAge = before.Account, before.ACRValues, before.MaxAge
	rec.Intent = before.Intent
	if client := before.GrantClient(); client != nil {
		rec.AddClient(client) // and so the next login's, too
	}
}
