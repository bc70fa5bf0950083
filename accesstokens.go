package handstamp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
	"golang.org/x/oauth2"
)

// accessTokens is the access token of a credential: the one that the next request is sent with,
// and what servers have made of it. It is safe for concurrent use.
type accessTokens struct {
	// current is nil until the store was read. Loading it is all that the warm path does.
	current atomic.Pointer[cachedToken]

	records *records
	proofs  *proofs
	events  *narrator
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
	if rec.Changes != a.records.changes.Load() {
		snap.outdate() // changed since rec was read
	}
	return snap
}

// noteChange notes that another process or replica has written the record: the next request reads
// it first.
func (a *accessTokens) noteChange() {
	a.records.changes.Add(1)
	if current := a.current.Load(); current != nil {
		current.outdate()
	}
}

// forget has no request sent with a token that was read before: it was removed.
func (a *accessTokens) forget() {
	a.records.changes.Add(1)
	a.current.Store(nil)
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
	_, err := a.records.change(ctx, func(rec *record.Record) error {
		if rec.Grant == nil || rec.Grant.AccessToken != t.token || rec.Grant.Accepted {
			return errSuperseded
		}
		rec.Grant.Accepted = true
		return nil
	})
	if err != nil && !errors.Is(err, errSuperseded) {
		a.events.fail(StepStore, err, "the acceptance of the access token could not be recorded")
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
		a.events.fail(StepStore, err, "the rejection of the access token could not be recorded")
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

// Token implements oauth2.TokenSource for a token at hand.
func (s *cachedToken) Token() (*oauth2.Token, error) {
	if s.bound() {
		return nil, &Error{Kind: ErrInvalidConfig, Message: "the access token is bound to a key, so each request needs a proof of its own",
			Hint: "send the requests through Client.HTTPClient or Client.Transport"}
	}
	return s.oauth2, nil
}

// Format implements fmt.Formatter: callers hold a snapshot as a TokenSource, and
// printing it must not show the token.
func (s *cachedToken) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[token source]") }

// cachedToken is an immutable view of a stored access token.
type cachedToken struct {
	// What each request reads, side by side in memory.
	clockReadAt   atomic.Int64 // in Unix nanoseconds; zero: not yet
	checkedLately atomic.Bool  // is set while the clock need not be read
	accepted      atomic.Bool  // the MCP server has accepted it
	rejected      atomic.Bool  // the MCP server has rejected it
	issuedHere    atomic.Bool  // to this process
	outdated      atomic.Bool  // the stored record may have another one, or none
	lookedLately  atomic.Bool  // the store had no other one a moment ago

	// refreshAt is when to refresh, on the wall clock: the monotonic one stands
	// still while a laptop sleeps. Zero: not before the server rejects it.
	refreshAt time.Time
	expiresAt time.Time // zero: unknown

	header []string // the Authorization header's value

	proofs    *proofs // nil: a bearer token
	oauth2    *oauth2.Token
	token     secret.String
	tokenType string
	scope     string
	public    Token // the same, as callers get it

	// obtainedAt is when the token was issued, on the wall clock of the process
	// that received it.
	obtainedAt time.Time
}

// clockCheckInterval is how often the wall clock is read while requests come one after the other,
// within a busyInterval each. It is read at each of them when the token is within twice that of its
// refresh, so that a late timer makes no difference.
const clockCheckInterval = time.Second

// busyInterval is how soon after another a use has to come for a timer in place of the clock: a
// timer costs about as much as the clock costs a hundred times.
const busyInterval = clockCheckInterval / 100

// fresh reports whether the token is to be used without a further check. Each request
// calls it, and reading a clock costs more than everything else that a request needs; so the
// result stands until a timer takes it back. A timer costs more than the clock, though: it is for
// a token that is used again and again, and not for each of a hosted application's many.
func (s *cachedToken) fresh() bool { return s != nil && (s.checkedLately.Load() || s.checkClock()) }

// checkClock is fresh by the clock.
func (s *cachedToken) checkClock() bool {
	if s.outdated.Load() {
		return false
	}
	if s.refreshAt.IsZero() {
		return true
	}
	now := time.Now()
	left := s.refreshAt.Sub(now)
	since := now.UnixNano() - s.clockReadAt.Swap(now.UnixNano())
	often := since >= 0 && since < int64(busyInterval)
	if often && left > 2*clockCheckInterval && s.checkedLately.CompareAndSwap(false, true) {
		time.AfterFunc(clockCheckInterval, func() { s.checkedLately.Store(false) })
		if s.outdated.Load() { // by a call that came before checkedLately was set
			s.checkedLately.Store(false)
			return false
		}
	}
	return left > 0
}

// serveForNow makes the token fresh for a moment: not every request waits for a store that fails.
func (s *cachedToken) serveForNow() {
	if s.valid(time.Now().Add(2*clockCheckInterval)) && s.checkedLately.CompareAndSwap(false, true) {
		time.AfterFunc(clockCheckInterval, func() { s.checkedLately.Store(false) })
	}
}

// outdate has the store read before the token is used again.
func (s *cachedToken) outdate() {
	s.outdated.Store(true)
	s.checkedLately.Store(false)
}

// valid reports whether the token has not expired yet.
func (s *cachedToken) valid(now time.Time) bool {
	return s != nil && (s.expiresAt.IsZero() || now.Before(s.expiresAt))
}

// serves reports whether the need accepts the token.
func (s *cachedToken) serves(need tokenNeed) bool {
	return need.accepts(s.token, s.expiresAt, time.Now())
}

// lasts reports whether the token does not expire sooner than that.
func (s *cachedToken) lasts(minTTL time.Duration) bool {
	return s.expiresAt.IsZero() || !time.Now().Add(minTTL).After(s.expiresAt)
}

// usable reports whether the token can be handed out: it has not expired, and no
// server has rejected it.
func (s *cachedToken) usable(now time.Time) bool {
	return s.valid(now) && !s.rejected.Load()
}

// newCachedToken returns the view of the grant's access token.
func newCachedToken(g *record.Grant) *cachedToken {
	scheme := authScheme(g.TokenType)
	snap := &cachedToken{
		header:     []string{scheme + " " + g.AccessToken.Reveal()},
		oauth2:     &oauth2.Token{AccessToken: g.AccessToken.Reveal(), TokenType: scheme, Expiry: g.ExpiresAt},
		token:      g.AccessToken,
		tokenType:  scheme,
		scope:      g.ScopeGranted,
		expiresAt:  g.ExpiresAt,
		obtainedAt: g.ObtainedAt,
		refreshAt:  refreshTime(g, rand.Float64()),
	}
	snap.public = Token{Value: snap.token, Type: scheme, Scope: snap.scope, ExpiresAt: snap.expiresAt, cached: snap}
	snap.accepted.Store(g.Accepted)
	snap.rejected.Store(g.Rejected)
	return snap
}

// authScheme spells the token type as the Authorization header wants it: some
// servers issue "bearer" and accept only "Bearer" (RFC 6750, section 2.1).
func authScheme(tokenType string) string {
	switch {
	case tokenType == "" || strings.EqualFold(tokenType, "bearer"):
		return "Bearer"
	case strings.EqualFold(tokenType, "dpop"):
		return "DPoP"
	}
	return tokenType
}
