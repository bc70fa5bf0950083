package handstamp

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/record"
)

// resumable reports whether the stored login may still work, and is one as the
// Client is configured now. A login whose last refresh was rejected is not, even
// while its access token is.
func (s *session) resumable(rec *record.Record) bool {
	if rec.Grant == nil || rec.GrantError != nil {
		return false
	}
	if !s.coversConfiguration(rec) {
		return false
	}
	if r := s.activeRegistration(); r != nil &&
		(rec.Grant.ClientID != r.ClientID || r.Issuer != "" && !sameIssuer(rec.Grant.Issuer, r.Issuer)) {
		return false
	}
	now := time.Now()
	if rejectedEarly(rec) && accessTokenUsable(rec.Grant, "", now) {
		return false
	}
	return s.refreshable(rec, now)
}

// coversConfiguration reports whether the stored login was requested for what the Client
// is configured with: its scopes, but for those that the issuer does not take, and its
// resource.
func (s *session) coversConfiguration(rec *record.Record) bool {
	g := rec.Grant
	wanted := omitScopes(s.c.Scopes, rec.LearnedOf(g.Issuer).OmitScopes)
	if !containsAll(append(strings.Fields(g.ScopeRequested), strings.Fields(g.ScopeGranted)...), wanted) {
		return false
	}
	switch {
	case s.c.Resource != "":
		return resourceParam(g.Resource) == s.c.Resource
	case s.c.OmitResource:
		return g.Resource.Omit
	}
	return true
}

// loggedIn reports whether the stored login serves, as far as the record shows.
func (s *session) loggedIn(rec *record.Record) bool {
	return s.resumable(rec) && statusOf(rec, time.Now()).Usable()
}

// resume makes the stored login work without the user, if it can: it proves the
// access token at the MCP server, and refreshes one that has expired or is
// rejected. It reports whether the server accepts the result. If not, req has what
// the login that must follow has to know. An error means that there is no reason
// for a login: something cannot be reached, or stored.
func (s *session) resume(ctx context.Context, rec *record.Record, req *loginRequest, waits *int) (bool, error) {
	if !s.resumable(rec) {
		return false, nil
	}
	need := tokenNeed{user: true}
	if accessTokenUsable(rec.Grant, "", time.Now()) {
		current := s.useToken(rec)
		accepted, err := s.proveFor(ctx, rec, current, req, waits)
		if err != nil || accepted || req.rejectedToken == "" {
			return accepted, err
		}
		if len(req.needed) > 0 {
			return false, nil // a refresh does not widen the scope
		}
		need.rejected = current.token
	}
	snap, err := s.refresh(ctx, need)
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
	p, err := s.prove(ctx, t, waits)
	if err != nil {
		return false, err
	}
	if p.rejected {
		s.recordRejection(ctx, t)
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
	e, ok := errors.AsType[*Error](err)
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
