package handstamp

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/record"
)

// accessTokens is the access token of a credential: the one that the next request is sent with,
// and what servers have made of it. It is safe for concurrent use.
type accessTokens struct {
	records *records
	proofs  *proofs
	log     *slog.Logger

	// current is nil until the store was read. Loading it is all that the warm path does.
	current atomic.Pointer[cachedToken]
}

// use makes the record's access token what the next request is sent with.
func (a *accessTokens) use(rec *record.Record) *cachedToken {
	if rec.Grant == nil || rec.Grant.AccessToken == "" {
		a.current.Store(nil)
		return nil
	}
	snap := newCachedToken(rec.Grant)
	if snap.tokenType == "DPoP" {
		a.proofs.use(rec.DPoP)
		snap.proofs = a.proofs
	}
	if old := a.current.Load(); old != nil && old.token == snap.token {
		snap.issuedHere.Store(old.issuedHere.Load())
		snap.accepted.Store(snap.accepted.Load() || old.accepted.Load())
		snap.rejected.Store(snap.rejected.Load() || old.rejected.Load())
	}
	a.current.Store(snap)
	return snap
}

// useIssued is useToken for a token that this process was issued.
func (a *accessTokens) useIssued(rec *record.Record) *cachedToken {
	snap := a.use(rec)
	if snap != nil {
		snap.issuedHere.Store(true)
	}
	return snap
}

// recordAcceptance notes that the MCP server has accepted a token. For one that was
// just issued to this process the record shows it too: without that, each process
// would wait before it believes that the token was revoked.
func (a *accessTokens) recordAcceptance(ctx context.Context, t *cachedToken) {
	if t.accepted.Swap(true) || !t.issuedHere.Load() || time.Since(t.obtainedAt).Abs() >= freshTokenAge {
		return
	}
	ctx, cancel := awake.WithTimeout(context.WithoutCancel(ctx), storeTimeout, errStoreBusy)
	defer cancel()
	rec, err := a.records.load(ctx)
	if err == nil {
		_, err = a.records.update(ctx, rec, func(rec *record.Record) error {
			if rec.Grant == nil || rec.Grant.AccessToken != t.token || rec.Grant.Accepted {
				return errSuperseded
			}
			rec.Grant.Accepted = true
			return nil
		})
	}
	if err != nil && !errors.Is(err, errSuperseded) {
		a.log.Debug("the acceptance of the access token could not be recorded", "error", err)
	}
}

// noteRejection notes, for this process, that the MCP server has rejected a token.
func (a *accessTokens) noteRejection(used *cachedToken) {
	used.rejected.Store(true)
	if current := a.current.Load(); current != nil && current.token == used.token {
		current.rejected.Store(true)
	}
}

// recordRejection is noteRejection for all processes: from here on none returns the
// token. A refresh records the rejection that it is for together with its intent, so
// this is for the token that nothing replaces. A store that does not take the note is
// no reason to stop.
func (a *accessTokens) recordRejection(ctx context.Context, used *cachedToken) {
	if used == nil {
		return
	}
	a.noteRejection(used)
	ctx, cancel := awake.WithTimeout(context.WithoutCancel(ctx), storeTimeout, errStoreBusy)
	defer cancel()
	rec, err := a.records.load(ctx)
	if err == nil {
		err = a.markRejected(ctx, rec, tokenNeed{rejected: used.token})
	}
	if err != nil {
		a.log.Warn("the rejection of the access token could not be recorded", "error", err)
	}
}

// markRejected notes in the record that its access token does not work, so that
// other processes and [Client.Status] know.
func (a *accessTokens) markRejected(ctx context.Context, rec *record.Record, need tokenNeed) error {
	if g := rec.Grant; g == nil || g.AccessToken == "" || !need.disowns(g.AccessToken) || g.Rejected {
		return nil
	}
	_, err := a.records.update(ctx, rec, func(rec *record.Record) error {
		if rec.Grant == nil || !need.disowns(rec.Grant.AccessToken) {
			return errSuperseded
		}
		rec.Grant.Rejected = true
		return nil
	})
	if errors.Is(err, errSuperseded) {
		return nil
	}
	return err
}

// errSuperseded ends an update whose reason is gone: another process or goroutine has changed
// the grant it was about.
var errSuperseded = errors.New("handstamp: credential superseded")
