package handstamp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/stack"
	"github.com/handstamp/handstamp/store"
)

const (
	// refreshTimeout bounds a refresh: the wait for its lock, the requests, and
	// what remains to store their result. It runs on a context of its own:
	// callers come and go, but a refresh token that was sent must see its
	// successor stored.
	refreshTimeout = lockTimeout + requestTimeout + 15*time.Second

	// lockTimeout bounds the wait for another process's refresh. It is longer
	// than one may take, so that giving up means a holder that hangs.
	lockTimeout = 40 * time.Second

	// requestTimeout bounds all requests of one refresh together.
	requestTimeout = 35 * time.Second

	// refreshGrace is how long a caller with a token that is valid for as long as it is needed waits
	// for a refresh ahead of time before it goes on with the token at hand.
	refreshGrace = 2 * time.Second
)

// refresher replaces the access token: by one that another process has stored, or by a refresh.
type refresher struct {
	*credential
	discovery *discovery
	imports   *importer
	flights   flights
}

// flight is work that one goroutine does for all callers that need it meanwhile.
type flight struct {
	done   chan struct{}
	cancel context.CancelFunc // ends a login, and a refresh that has sent no request yet
	snap   *cachedToken
	err    error

	byUser    bool // a login of [Client.Login]
	prompts   bool // a login that may open a browser
	calledOff bool // a login that was cancelled
}

// flights are pieces of work of which one at a time is under way.
type flights struct {
	mu     sync.Mutex
	active *flight // guarded by mu
}

// join returns the flight under way, or starts one with the work that begin returns. Close waits
// for it.
func (fs *flights) join(config *configuration, begin func(*flight) (work func(), err error)) (f *flight, joined bool, err error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.active != nil {
		return fs.active, true, nil
	}
	if !config.start() {
		return nil, false, closedError()
	}
	f = &flight{done: make(chan struct{})}
	work, err := begin(f)
	if err != nil {
		config.running.end()
		return nil, false, err
	}
	fs.active = f
	go func() {
		defer config.running.end()
		work()
		fs.mu.Lock()
		fs.active = nil
		fs.mu.Unlock()
		close(f.done)
	}()
	return f, false, nil
}

// cancel cancels the flight under way.
func (fs *flights) cancel() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.active != nil {
		fs.active.cancel()
	}
}

// refresh returns a token newer than the one that why rejects: from the
// store, if another process was faster, or from the authorization server. It
// returns nil if only a user can help. Callers share one refresh; each waits
// with its own context, whose end does not end the refresh.
func (r *refresher) refresh(ctx context.Context, why tokenNeed) (*cachedToken, error) {
	var fallback <-chan time.Time
	if why == (tokenNeed{minTTL: why.minTTL}) {
		timer := time.NewTimer(refreshGrace)
		defer timer.Stop()
		fallback = timer.C
	}
	for again := false; ; again = true {
		f, joined, err := r.flight(ctx, why)
		if err != nil {
			return nil, err
		}
		if current, err := r.await(ctx, f, why, fallback); current != nil || err != nil {
			return current, err
		}
		if f.err != nil || !joined || f.snap == nil || f.snap.serves(why) && (again || !f.snap.outdated.Load()) {
			return f.snap, f.err
		}
		// The flight under way was for another need, which is met by less, or had read before a change.
	}
}

// await waits until the flight has ended and returns nil, or the token at hand if that serves once
// fallback has fired.
func (r *refresher) await(ctx context.Context, f *flight, why tokenNeed, fallback <-chan time.Time) (*cachedToken, error) {
	for {
		select {
		case <-f.done:
			return nil, nil
		case <-fallback:
			if current := r.atHand(why); current != nil {
				return current, nil
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// atHand returns the token at hand if it serves the need, else nil.
func (r *refresher) atHand(need tokenNeed) *cachedToken {
	if current := r.tokens.current.Load(); current.usable(time.Now()) && current.serves(need) {
		return current
	}
	return nil
}

// flight returns the refresh under way, or starts one.
func (r *refresher) flight(ctx context.Context, why tokenNeed) (f *flight, joined bool, err error) {
	return r.flights.join(r.config, func(f *flight) (func(), error) {
		ctx, cancel := awake.WithTimeout(context.WithoutCancel(ctx), refreshTimeout, errStoreBusy)
		wait, stop := context.WithCancel(ctx)
		f.cancel = stop
		return func() {
			stack.Grow8K()
			defer cancel()
			defer stop()
			defer func() {
				// A panic must not leave callers waiting; what was received is
				// stored by then, and the next refresh finds it.
				if p := recover(); p != nil {
					f.err = fmt.Errorf("handstamp: refresh failed: %T", p)
				}
			}()
			f.snap, f.err = r.refreshNow(ctx, wait, why)
		}, nil
	})
}

// refreshNow is the work of a refresh: read, decide, lock, decide again, and only then request. The
// end of wait, a part of ctx, ends it before the token request.
func (r *refresher) refreshNow(ctx, wait context.Context, need tokenNeed) (*cachedToken, error) {
	rec, err := r.records.load(ctx)
	if err != nil {
		if current := r.atHand(need); current != nil {
			r.events.fail(StepStore, err, "the store cannot be read; going on with the token at hand")
			current.serveForNow()
			return current, nil
		}
		return nil, err
	}
	if d := decide(rec, need, r.config, time.Now()); d.action != requestToken {
		return r.withoutRequest(ctx, rec, need, d)
	}
	good := need.metBy(rec.Grant, time.Now())
	if rec.Grant.Usable(need.rejected, time.Now()) {
		r.tokens.use(rec) // for callers that stop waiting
	}
	if cause := r.history.unmadeLately(); cause != nil && !need.user {
		if good {
			token := r.tokens.use(rec)
			token.serveForNow()
			return token, nil
		}
		r.tokens.current.Store(nil)
		return nil, r.errs.from(cause)
	}
	if r.config.RefreshHelper != nil {
		if token, done, err := r.refreshByHelper(ctx, wait, need); done {
			return token, err
		}
	}
	var locked *record.Record
	for range maxTries {
		var unlock func()
		var d decision
		if unlock, locked, d, err = r.lock(wait, need); err != nil {
			break
		}
		rec = locked.Clone() // the attempt changes its own
		good = need.metBy(rec.Grant, time.Now())
		var token *cachedToken
		token, err = r.refreshUnlock(ctx, wait, unlock, locked, need, d)
		if errors.Is(err, ErrStore) {
			break
		}
		if !errors.Is(err, errLockLost) {
			return token, err
		}
	}
	switch {
	case good && rec.Grant.Usable(need.rejected, time.Now()):
		return r.goOn(rec, err), nil
	case errors.Is(err, errLockLost):
		return nil, lockTimeoutError(r.serverURL, errLockLost)
	case locked == nil && wait.Err() != nil && ctx.Err() == nil:
		return nil, closedError()
	}
	return nil, err
}

// goOn returns the token at hand where a refresh ahead of time has failed.
func (r *refresher) goOn(rec *record.Record, err error) *cachedToken {
	r.events.fail(StepRefresh, err, "the access token could not be refreshed ahead of time; going on with it")
	token := r.tokens.use(rec)
	if errors.Is(err, ErrStore) {
		token.serveForNow()
	}
	return token
}

// errLockLost ends a refresh that has sent nothing, and whose lock another process has now.
var errLockLost = errors.New("handstamp: the lock of the refresh was lost")

// refreshUnlock is refreshLocked, releases the lock, and only then calls the application, which may
// take its time.
func (r *refresher) refreshUnlock(
	ctx, wait context.Context, unlock func(), rec *record.Record, need tokenNeed, d decision,
) (token *cachedToken, err error) {
	var ended *RefreshEvent
	defer func() {
		if ended != nil {
			r.outcomes.refreshed(*ended)
		}
	}()
	defer r.unlockWhenSaved(unlock)
	token, ended, err = r.refreshLocked(ctx, wait, rec, need, d)
	return token, err
}

// refreshLocked refreshes the grant of a record that was read under the refresh lock, and returns how
// that ended, nil if it was not needed. It decides again each time another process has changed the
// grant meanwhile, as a login may.
func (r *refresher) refreshLocked(
	ctx, wait context.Context, rec *record.Record, need tokenNeed, d decision,
) (*cachedToken, *RefreshEvent, error) {
	for try := 0; try < maxTries && d.action == requestToken; try++ {
		begun := intentID(rec)
		token, ended, err := r.attempt(ctx, wait, rec, need)
		if !errors.Is(err, errSuperseded) {
			return token, ended, err
		}
		if rec, err = r.records.load(ctx); err != nil {
			return nil, nil, err
		}
		if refreshInterrupted(rec) && intentID(rec) != begun {
			return nil, nil, errLockLost // or else no other process would have begun one
		}
		d = decide(rec, need, r.config, time.Now())
	}
	token, err := r.withoutRequest(ctx, rec, need, d)
	return token, nil, err
}

// intentID returns the ID of the refresh that was begun, and "" if there is none.
func intentID(rec *record.Record) string {
	if rec.Intent == nil {
		return ""
	}
	return rec.Intent.ID
}

// withoutRequest carries out a decision that needs no token request.
func (r *refresher) withoutRequest(ctx context.Context, rec *record.Record, need tokenNeed, d decision) (*cachedToken, error) {
	switch d.action {
	case useStored:
		r.events.report(StepRefresh, "the stored access token serves")
		return r.tokens.use(rec), nil
	case awaitRetry:
		r.events.pauses("the authorization server", rec.Retry.NotBefore, rec.Retry.Reason)
		return nil, r.errs.unreachable(rec, nil)
	case awaitCooldown:
		r.events.pauses("the client", d.cooldown.Until, d.cooldown.Message)
		return nil, r.errs.cooldown(d.cooldown)
	}
	r.tokens.current.Store(nil)
	return nil, r.tokens.markRejected(ctx, rec, need)
}

// lock waits for the refresh lock and reads the record again under it. If
// another process stores what is needed meanwhile, it stops waiting, with the
// decision to use that.
func (r *refresher) lock(ctx context.Context, why tokenNeed) (unlock func(), rec *record.Record, v decision, err error) {
	ctx, cancel := awake.WithTimeout(ctx, r.lockTimeout(), errLockTimeout)
	defer cancel()
	unlock, rec, err = r.records.lockUnless(ctx, store.LockRefresh, func(rec *record.Record) bool {
		v := decide(rec, why, r.config, time.Now())
		return v.action == useStored
	})
	if errors.Is(context.Cause(ctx), errLockTimeout) && err != nil {
		return nil, nil, v, lockTimeoutError(r.serverURL, err)
	}
	if err != nil {
		return nil, nil, v, err
	}
	if unlock == nil {
		return func() {}, rec, decision{action: useStored}, nil
	}
	return unlock, rec, decide(rec, why, r.config, time.Now()), nil
}

var errLockTimeout = errors.New("handstamp: lock timeout")

// lockTimeout returns how long another process's refresh is waited for.
func (r *refresher) lockTimeout() time.Duration {
	switch limit := min(r.config.LockTimeout, lockTimeout); {
	case limit <= 0:
		return lockTimeout
	case r.config.RefreshHelper != nil:
		return limit - helperLockTimeout(limit) // which is over
	default:
		return limit
	}
}

// lockTimeoutError reports that the lock of a refresh could not be had in time.
func lockTimeoutError(server string, err error) error {
	if busy := store.Busy(err); busy != nil {
		return &Error{Kind: ErrUnreachable, Server: server, Err: busy, Hint: busy.Hint(),
			Message: "another process has been refreshing this credential for too long"}
	}
	return &Error{Kind: ErrUnreachable, Server: server, Hint: "try again",
		Message: "the refresh could not begin in time: another process is refreshing this credential, " +
			"or this one is refreshing too many others"}
}
