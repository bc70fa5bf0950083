package handstamp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

const (
	// renewalTimeout bounds a renewal: the wait for its lock, the requests, and
	// what remains to store their result. It runs on a context of its own:
	// callers come and go, but a refresh token that was sent must see its
	// successor stored.
	renewalTimeout = lockTimeout + requestTimeout + 15*time.Second

	// lockTimeout bounds the wait for another process's renewal. It is longer
	// than one may take, so that giving up means a holder that hangs.
	lockTimeout = 40 * time.Second

	// requestTimeout bounds all requests of one renewal together.
	requestTimeout = 35 * time.Second

	// firstLook and lookInterval say when a process that waits for a lock looks whether its
	// holder has stored what is waited for: mostly the holder releases the lock in the same
	// moment, which wakes who waits at once.
	firstLook    = 300 * time.Millisecond
	lookInterval = time.Second

	// refreshPatience is how long a caller with a token that is still valid waits for
	// a renewal ahead of time before it goes on with the token at hand.
	refreshPatience = 2 * time.Second

	// graceWindow is how long an interrupted renewal is repeated at once, even
	// though the access token is still good: servers that forgive a repeated
	// refresh token do so for 30 to 60 seconds.
	graceWindow = time.Minute
)

// tokenNeed describes the token that a caller needs. The zero value is one that
// is not about to expire.
type tokenNeed struct {
	rejected secret.String // the token that the server has rejected
	force    secret.String // the token that does not work, says the caller
	minTTL   time.Duration // how long the token has to be valid
	user     bool          // a user waits for it: no cooldown of a refresh that failed is awaited
}

// disowns reports whether the need is for another token than this one, because it
// does not work. A rejected refresh is final then, whatever the token's expiry.
func (w tokenNeed) disowns(token secret.String) bool {
	return token != "" && (token == w.rejected || token == w.force)
}

// accepts reports whether a token that expires then answers the need.
func (w tokenNeed) accepts(token secret.String, expiresAt, now time.Time) bool {
	return !w.disowns(token) && (expiresAt.IsZero() || !now.Add(w.minTTL).After(expiresAt))
}

// flight is work that one goroutine does for all that ask meanwhile.
type flight struct {
	done   chan struct{}
	cancel context.CancelFunc // ends a login, and a renewal as long as it waits for its turn
	snap   *cachedToken
	err    error

	calledOff bool // a login that was cancelled
}

// refresh returns a token newer than the one that why complains of: from the
// store, if another process was faster, or from the authorization server. It
// returns nil if only a person can help. Callers share one renewal; each waits
// with its own context, whose end does not end the renewal.
func (s *session) refresh(ctx context.Context, why tokenNeed) (*cachedToken, error) {
	var fallback <-chan time.Time
	if why == (tokenNeed{}) {
		timer := time.NewTimer(refreshPatience)
		defer timer.Stop()
		fallback = timer.C
	}
	for {
		f, joined, err := s.refreshFlight(ctx, why)
		if err != nil {
			return nil, err
		}
		for waiting := true; waiting; {
			select {
			case <-f.done:
				waiting = false
			case <-fallback:
				fallback = nil
				if current := s.cached.Load(); current.usable(time.Now()) {
					return current, nil
				}
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if f.err != nil || !joined || f.snap == nil || why.accepts(f.snap.token, f.snap.expiresAt, time.Now()) {
			return f.snap, f.err
		}
		// The flight under way was somebody else's, who wanted less.
	}
}

// refreshFlight returns the renewal under way, or starts one.
func (s *session) refreshFlight(ctx context.Context, why tokenNeed) (f *flight, joined bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.activeRefresh != nil {
		return s.activeRefresh, true, nil
	}
	if !s.c.start() {
		return nil, false, errClosed
	}
	ctx, cancel := awake.WithTimeout(context.WithoutCancel(ctx), renewalTimeout, errStoreBusy)
	wait, stop := context.WithCancel(ctx)
	f = &flight{done: make(chan struct{}), cancel: stop}
	s.activeRefresh = f
	go func() {
		defer s.c.running.Done()
		defer cancel()
		defer stop()
		defer func() {
			// A panic must not leave callers waiting; what was received is
			// stored by then, and the next renewal finds it.
			if p := recover(); p != nil {
				f.err = fmt.Errorf("handstamp: renewal failed: %T", p)
			}
			s.mu.Lock()
			s.activeRefresh = nil
			s.mu.Unlock()
			close(f.done)
		}()
		f.snap, f.err = s.refreshNow(ctx, wait, why)
	}()
	return f, false, nil
}

// refreshNow is a renewal's work: look, lock, look again, and only then ask. The
// end of wait, a part of ctx, ends it while nothing has been asked.
func (s *session) refreshNow(ctx, wait context.Context, why tokenNeed) (*cachedToken, error) {
	rec, err := s.records.load(ctx)
	if err != nil {
		if current := s.cached.Load(); current.usable(time.Now()) && why.accepts(current.token, current.expiresAt, time.Now()) {
			s.log.Warn("credential store unavailable, going on with the token at hand", "error", err)
			return current, nil
		}
		return nil, err
	}
	verdict := s.decide(rec, why, time.Now())
	if !verdict.done {
		stored := rec
		g, good := stored.Grant, false
		if accessTokenUsable(g, why.rejected, time.Now()) {
			s.useToken(stored) // for callers who lose patience
			good = why.accepts(g.AccessToken, g.ExpiresAt, time.Now())
		}
		if s.c.RefreshHelper != nil {
			if snap, done, err := s.refreshByHelper(ctx, wait, why); done {
				return snap, err
			}
		}
		var unlock func()
		unlock, rec, verdict, err = s.lockRefresh(wait, why)
		if err != nil && good && accessTokenUsable(g, why.rejected, time.Now()) {
			s.log.Warn("renewal could not be begun, going on with the token at hand", "error", err)
			return s.useToken(stored), nil
		}
		if err != nil && wait.Err() != nil && ctx.Err() == nil {
			return nil, errClosed
		}
		if err != nil {
			return nil, err
		}
		defer unlock()
		if s.c.locked != nil && !verdict.done {
			s.c.locked()
		}
	}
	for range maxTries {
		if verdict.done {
			break
		}
		snap, err := s.refreshLocked(ctx, rec, why)
		if !errors.Is(err, errSuperseded) {
			return snap, err
		}
		if rec, err = s.records.load(ctx); err != nil {
			return nil, err
		}
		verdict = s.decide(rec, why, time.Now())
	}
	if verdict.err != nil {
		return nil, verdict.err
	}
	if !verdict.useStored {
		s.cached.Store(nil)
		return nil, s.markRejected(ctx, rec, why)
	}
	return s.useToken(rec), nil
}

// noteRejection notes, for this process, that the MCP server has rejected a token.
func (s *session) noteRejection(used *cachedToken) {
	used.rejected.Store(true)
	if current := s.cached.Load(); current != nil && current.token == used.token {
		current.rejected.Store(true)
	}
}

// recordRejection is noteRejection for all processes: from here on none returns the
// token. A refresh records the rejection that it is for together with its intent, so
// this is for the token that nothing replaces. A store that does not take the note is
// no reason to stop.
func (s *session) recordRejection(ctx context.Context, used *cachedToken) {
	if used == nil {
		return
	}
	s.noteRejection(used)
	ctx, cancel := awake.WithTimeout(context.WithoutCancel(ctx), storeTimeout, errStoreBusy)
	defer cancel()
	rec, err := s.records.load(ctx)
	if err == nil {
		err = s.markRejected(ctx, rec, tokenNeed{rejected: used.token})
	}
	if err != nil {
		s.log.Warn("the rejection of the access token could not be recorded", "error", err)
	}
}

// markRejected notes in the record that its access token does not work, so that
// other processes and [Client.Status] know.
func (s *session) markRejected(ctx context.Context, rec *record.Record, need tokenNeed) error {
	if g := rec.Grant; g == nil || g.AccessToken == "" || !need.disowns(g.AccessToken) || g.Rejected {
		return nil
	}
	_, err := s.records.update(ctx, rec, func(rec *record.Record) error {
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

// errSuperseded ends an update whose reason is gone: somebody else has changed
// the grant it was about.
var errSuperseded = errors.New("handstamp: credential superseded")

// refreshDecision is what a record, as it is, means for a need.
type refreshDecision struct {
	done      bool  // nothing to ask the authorization server for
	useStored bool  // settled: the record's token is to be used
	err       error // settled: why it cannot be asked now
}

// decide decides whether the record answers the need, whether the authorization
// server is to be asked, or whether neither helps. It is pure but for the time.
func (s *session) decide(rec *record.Record, why tokenNeed, now time.Time) refreshDecision {
	g := rec.Grant
	if g == nil {
		return refreshDecision{done: true}
	}
	good := accessTokenUsable(g, why.rejected, now) && why.accepts(g.AccessToken, g.ExpiresAt, now)
	ahead := refreshTime(g, 1) // as early as jitter may have it, or renewals would be asked for and not done
	fresh := good && (ahead.IsZero() || now.Before(ahead))
	renewable := g.RefreshToken != "" && s.refreshable(rec, now)

	if renewable && refreshInterrupted(rec) && (rec.Intent.Response != nil || !rec.Intent.Sent && now.Sub(rec.Intent.At) < graceWindow) {
		return refreshDecision{} // whoever began it did not live to end it
	}
	switch {
	case fresh, good && !renewable:
		return refreshDecision{done: true, useStored: true}
	case !renewable:
		return refreshDecision{done: true}
	case backoffActive(rec.Retry, now) && !why.user && !earlyRefusalMoot(rec, why, now):
		if good {
			return refreshDecision{done: true, useStored: true}
		}
		return refreshDecision{done: true, err: s.unreachableError(rec, nil)}
	}
	if err := s.refreshCooldown(rec, now); err != nil {
		if good {
			return refreshDecision{done: true, useStored: true}
		}
		return refreshDecision{done: true, err: err}
	}
	return refreshDecision{}
}

// backoffActive reports whether the authorization server is to be left alone. A time so
// far off that nobody can have named it was noted under a clock that ran ahead.
func backoffActive(r *record.Retry, now time.Time) bool {
	return r != nil && now.Before(r.NotBefore) && (r.Failures == 0 || r.NotBefore.Sub(now) <= oauth.MaxRetryAfter)
}

// rejectedEarly reports whether the last refresh was rejected while the access
// token was good, so that the record waits with the next one.
func rejectedEarly(rec *record.Record) bool { return rec.Retry != nil && rec.Retry.Failures == 0 }

// earlyRefusalMoot reports whether the record waits with the refresh only because
// one was rejected while the access token was good, and now that token does not
// work either: it was not too early, then.
func earlyRefusalMoot(rec *record.Record, need tokenNeed, now time.Time) bool {
	return rejectedEarly(rec) && (need.disowns(rec.Grant.AccessToken) || !accessTokenUsable(rec.Grant, "", now))
}

// refreshable reports whether the client that the grant is bound to is still
// believed to be known to its issuer, and can authenticate there.
func (s *session) refreshable(rec *record.Record, now time.Time) bool {
	c := rec.GrantClient()
	if f := rec.GrantError; f != nil && f.Guessed {
		return false // the refresh token is only kept
	}
	return c != nil && !c.Rejected && !s.belongsElsewhere(c) && !secretExpired(s.withConfiguredSecret(c), rec.Grant, now)
}

// refreshInterrupted reports whether a renewal of the stored refresh token was begun
// and its end not recorded.
func refreshInterrupted(rec *record.Record) bool {
	return rec.Intent != nil && rec.Grant != nil &&
		rec.Intent.Fingerprint == fingerprint(rec.Intent.ID, rec.Grant.RefreshToken)
}

// lockRefresh waits for the renewal lock and reads the record again under it. If
// another process stores what is needed meanwhile, it stops waiting: then the
// verdict is settled.
func (s *session) lockRefresh(ctx context.Context, why tokenNeed) (unlock func(), rec *record.Record, v refreshDecision, err error) {
	ctx, cancel := awake.WithTimeout(ctx, s.refreshLockTimeout(), errLockTimeout)
	defer cancel()
	unlock, rec, err = s.lockUnless(ctx, store.LockRefresh, func(rec *record.Record) bool {
		v := s.decide(rec, why, time.Now())
		return v.done && v.useStored
	})
	if errors.Is(context.Cause(ctx), errLockTimeout) && err != nil {
		return nil, nil, v, lockTimeoutError(s.serverURL, err)
	}
	if err != nil {
		return nil, nil, v, err
	}
	if unlock == nil {
		return func() {}, rec, refreshDecision{done: true, useStored: true}, nil
	}
	return unlock, rec, s.decide(rec, why, time.Now()), nil
}

var errLockTimeout = errors.New("handstamp: lock timeout")

// refreshLockTimeout returns how long another process's refresh is waited for.
func (s *session) refreshLockTimeout() time.Duration {
	switch limit := min(s.c.LockTimeout, lockTimeout); {
	case limit <= 0:
		return lockTimeout
	case s.c.RefreshHelper != nil:
		return limit - helperLockTimeout(limit) // which is over
	default:
		return limit
	}
}

// lockTimeoutError reports that another process is refreshing the credential, and does not
// come to an end.
func lockTimeoutError(server string, err error) error {
	e := &Error{Kind: ErrUnreachable, Server: server,
		Message: "another process has been refreshing this credential for too long",
		Hint:    "end it if it hangs, then try again"}
	if busy := store.Busy(err); busy != nil {
		e.Err, e.Hint = busy, busy.Hint()
	}
	return e
}

// lockUnless waits until it holds the named lock or until the stored record
// satisfies enough, whichever comes first, and returns the record as it is
// then. unlock is nil if the lock was not needed.
func (s *session) lockUnless(ctx context.Context, name store.LockName, enough func(*record.Record) bool) (unlock func(), rec *record.Record, err error) {
	type locked struct {
		unlock func()
		err    error
	}
	wait, stop := context.WithCancel(ctx)
	defer stop()
	got := make(chan locked, 1)
	go func() {
		unlock, err := s.c.Store.Lock(wait, s.key, name)
		got <- locked{unlock, err}
	}()
	release := func() {
		if l := <-got; l.err == nil {
			l.unlock()
		}
	}
	look := time.NewTimer(firstLook)
	defer look.Stop()
	for {
		select {
		case l := <-got:
			if l.err != nil {
				if ctx.Err() != nil && store.Busy(l.err) == nil {
					return nil, nil, ctx.Err()
				}
				return nil, nil, storeError(ctx, s.serverURL, l.err)
			}
			rec, err := s.records.load(ctx)
			if err != nil {
				l.unlock()
				return nil, nil, err
			}
			return l.unlock, rec, nil
		case <-look.C:
			look.Reset(lookInterval)
			rec, err := s.records.load(ctx)
			if err == nil && enough(rec) {
				stop()
				go release()
				return nil, rec, nil
			}
		}
	}
}

// refreshTime returns when the grant is to be renewed: ahead of its expiry by a
// tenth of its life, at most a minute, give or take a fifth of that by jitter in
// [0,1), so that processes with one credential do not wake together.
func refreshTime(g *record.Grant, jitter float64) time.Time {
	if g.ExpiresAt.IsZero() {
		return time.Time{}
	}
	if g.RefreshToken == "" {
		return g.ExpiresAt.Round(0)
	}
	ahead := min(time.Minute, g.ExpiresAt.Sub(g.ObtainedAt)/10)
	ahead += time.Duration((jitter - 0.5) * 0.4 * float64(ahead))
	return g.ExpiresAt.Add(-ahead).Round(0)
}

// accessTokenUsable reports whether the grant's access token can be sent: it is there, has
// not expired, and is not the one that was refused.
func accessTokenUsable(g *record.Grant, refused secret.String, now time.Time) bool {
	return g != nil && g.AccessToken != "" && !g.Rejected && g.AccessToken != refused &&
		(g.ExpiresAt.IsZero() || now.Before(g.ExpiresAt))
}
