package handstamp

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/record"
)

// resume makes the stored login work without the user, if it can: it proves the
// access token at the MCP server, and refreshes one that has expired or is
// rejected. It reports whether the server accepts the result. If not, req has what
// the login that must follow has to know. An error means that there is no reason
// for a login: something cannot be reached, or stored.
func (s *session) resume(ctx context.Context, rec *record.Record, req *loginRequest, waits *int) (bool, error) {
	if !s.config.resumable(rec, time.Now()) {
		return false, nil
	}
	need := tokenNeed{user: true}
	if accessTokenUsable(rec.Grant, "", time.Now()) {
		current := s.tokens.use(rec)
		accepted, err := s.proveFor(ctx, rec, current, req, waits)
		if err != nil || accepted || req.rejectedToken == "" {
			return accepted, err
		}
		if len(req.needed) > 0 {
			return false, nil // a refresh does not widen the scope
		}
		need.rejected = current.token
	}
	snap, err := s.refresher.refresh(ctx, need)
	if err != nil {
		return false, keepsLogin(ctx, err)
	}
	if snap == nil {
		return false, nil
	}
	if rec, err = s.records.load(ctx); err != nil {
		return false, err
	}
	return s.proveFor(ctx, rec, snap, req, waits)
}

// proveFor proves a token. If the MCP server does not accept it, req says why.
func (s *session) proveFor(ctx context.Context, rec *record.Record, t *cachedToken, req *loginRequest, waits *int) (bool, error) {
	p, err := s.prover.prove(ctx, t, waits)
	if err != nil {
		return false, err
	}
	if p.rejected {
		s.tokens.recordRejection(ctx, t)
		req.rejectedToken, req.challenge = t.token, p.challenge
		return false, nil
	}
	if p.status != http.StatusForbidden {
		return true, nil
	}
	if needed := strings.Fields(p.challenge.Scope); p.challenge.Error == "insufficient_scope" && len(needed) > 0 &&
		rec.Grant != nil && !containsAll(strings.Fields(rec.Grant.ScopeRequested), needed) {
		slices.Sort(needed)
		req.rejectedToken, req.challenge, req.needed = t.token, p.challenge, needed
		req.scopes = append(strings.Fields(rec.Grant.ScopeRequested), needed...)
		return false, nil
	}
	s.notice("the MCP server accepts the token and denies access (403)")
	return true, nil
}

// keepsLogin returns the error of a refresh if a login of the user's would not help,
// or not now. It returns nil where the authorization server responded and did not
// refresh: that user then signs in, whatever the response means.
func keepsLogin(ctx context.Context, err error) error {
	e, ok := errtype.As[*Error](err)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !ok || e.Kind == ErrStore:
		return err
	case e.Kind == ErrUnreachable && !e.unrefreshed:
		return err
	}
	return nil
}
