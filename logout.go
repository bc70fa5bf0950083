package handstamp

import (
	"context"
	"errors"
	"log/slog"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// LogoutOptions are the options of [Client.Logout]. The zero value revokes the tokens
// at the server, forgets them here, and forgets the client with them.
type LogoutOptions struct {
	// NoRevoke leaves the server alone: there the tokens work until they expire.
	NoRevoke bool

	// KeepClient keeps the registration for the next login.
	KeepClient bool

	// DeleteClient also deletes a dynamic registration at the server (RFC 7592). It is not for use
	// with NoRevoke or KeepClient, which it contradicts ([ErrInvalidConfig]).
	DeleteClient bool
}

// LogoutResult reports what happened here and at the server. The credential is gone
// here whenever Logout returned no error; the server may not have heard of it.
type LogoutResult struct {
	WasSignedIn bool

	// Damaged: what was stored could not be read. All copies of it are deleted,
	// and nothing could be revoked at the server.
	Damaged bool

	Revoked     bool  // the server confirmed the revocation (RFC 7009)
	RevokeError error // why it did not; nil if there was no request

	ClientDeleted     bool
	DeleteClientError error
}

// Logout forgets the credential of a server, and has the server forget it.
//
// The record is put out of use first, durably, so that no process refreshes it any
// more; then the token is revoked at the server; then the record is deleted, with all copies
// that the store has of it. A server that cannot be reached does not keep the
// credential alive here, and neither does the end of ctx once the record is out
// of use: that ends the wait for the server, which RevokeError then reports. With the error of a
// store that may have removed the record, or not, the token is revoked, too, whether or not ctx has
// ended.
func (c *Client) Logout(ctx context.Context, serverURL string, o LogoutOptions) (*LogoutResult, error) {
	s, err := c.session(serverURL)
	if err != nil {
		return nil, err
	}
	if o.DeleteClient && (o.NoRevoke || o.KeepClient) {
		return nil, &Error{Kind: ErrInvalidConfig, Server: serverURL,
			Message: "DeleteClient contradicts NoRevoke and KeepClient"}
	}
	rec, damage, err := s.records.read(ctx)
	if err != nil {
		return nil, err
	}
	result := &LogoutResult{WasSignedIn: rec.Grant != nil, Damaged: damage != nil}
	if rec.Revision == "" && rec.Grant == nil { // or else it is a login that is not stored yet
		s.tokens.forget()
		return result, s.forget(ctx, rec, false)
	}
	if importIncomplete(rec) && !o.NoRevoke {
		if completed, err := s.imports.complete(ctx, rec); err == nil {
			rec = completed
		}
	}
	last, rec, forgotten, err := s.disable(ctx, rec, o.KeepClient)
	s.endUse(ctx, last, o, result, err)
	if err != nil {
		s.outcomes.audit(AuditLogout, kindOf(err), slog.Bool(AuditRevoked, result.Revoked))
		return nil, err
	}
	defer func() { s.outcomes.loggedOut(last, result) }()
	if o.DeleteClient {
		result.ClientDeleted, result.DeleteClientError = deleteClients(ctx, s.fetcher, rec)
	}
	if forgotten {
		return result, nil
	}
	return result, s.forget(ctx, rec, o.KeepClient)
}

// disable puts the record out of use, and returns the grant that it had, in a record of its
// own, or nil. On a full disk, which takes no record, it deletes the record at once: forgotten
// is true then.
func (s *session) disable(ctx context.Context, rec *record.Record, keepClients bool) (
	last, disabled *record.Record, forgotten bool, err error,
) {
	strip := func(rec *record.Record) error {
		if rec.Grant != nil {
			last = rec.Clone()
			applySavedResponse(last)
		}
		rec.Grant, rec.Intent, rec.Retry, rec.GrantError = nil, nil, nil, nil
		return nil
	}
	disabled, err = s.records.update(ctx, rec, strip)
	if err == nil || !errors.Is(err, store.ErrUnusable) {
		return last, disabled, false, err
	}
	for range maxConflicts {
		deleted := s.records.delete(ctx, disabled)
		if errors.Is(deleted, store.ErrConflict) {
			if disabled, deleted = s.records.load(ctx); deleted == nil {
				_ = strip(disabled)
				continue
			}
		}
		if deleted != nil {
			return last, disabled, false, err // of the write, which says more
		}
		break
	}
	if disabled.Revision = ""; keepClients {
		if err := s.records.put(ctx, disabled, nil); err != nil {
			s.notice("the client registration could not be kept: %v", err)
		}
	}
	return last, disabled, true, nil
}

// endUse ends the use of the token of a record that is out of use. Where err is that of a write which
// was carried out all the same, last is all that still has the token, whether or not ctx has ended.
func (s *session) endUse(ctx context.Context, last *record.Record, o LogoutOptions, result *LogoutResult, err error) {
	if err != nil {
		ctx = context.WithoutCancel(ctx)
		// A store that cannot be read may have lost the grant.
		if stored, unreadable := s.records.load(ctx); unreadable == nil && stored.Grant != nil {
			return
		}
	}
	s.records.dropUnsaved()
	s.tokens.forget()
	if last != nil && !o.NoRevoke {
		result.RevokeError = revoker{&s.credential}.revokeGrant(ctx, last)
		result.Revoked = result.RevokeError == nil
	}
}

// applySavedResponse takes over the response to a refresh that a process saved and did not live
// to read: the tokens in it are the ones to revoke.
func applySavedResponse(rec *record.Record) {
	if !refreshInterrupted(rec) || rec.Intent.Response == nil {
		return
	}
	if token, _ := savedToken(rec); token != nil {
		applyToken(rec.Grant, token, rec.Intent.Response.ReceivedAt)
	}
}

// forget deletes a record that is out of use, whether or not ctx has ended. The
// store's copies of it still have the tokens, so that one whose clients are to be
// kept is deleted, too, and stored again.
func (s *session) forget(ctx context.Context, rec *record.Record, keepClients bool) error {
	ctx = context.WithoutCancel(ctx) // each access to the store is bounded
	for range maxConflicts {
		err := s.records.delete(ctx, rec)
		if err == nil && keepClients {
			rec.Revision = ""
			err = s.records.put(ctx, rec, nil)
		}
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, store.ErrConflict):
			return storeError(ctx, s.serverURL, err)
		}
		if rec, err = s.records.load(ctx); err != nil {
			return err
		}
		if rec.Grant != nil {
			return nil // a user has signed in again meanwhile; that login stays
		}
	}
	return storeError(ctx, s.serverURL, store.ErrConflict)
}
