package hosted

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store"
)

// AheadOptions are the options of [App.RefreshAhead]. The zero value is ready to use.
type AheadOptions struct {
	// AtOnce is how many refreshes this replica has under way ahead of requests, at most. Zero is
	// 4. Requests that refresh need some of the database's connections for refreshes, too
	// (pgstore.Options.Refreshes).
	AtOnce int

	// PerIssuer is how many of them may be at one authorization server. Zero is three quarters of
	// AtOnce, but not more than 4: a slow one leaves some to the others. It bounds the throughput at
	// a single authorization server.
	PerIssuer int

	// UsedWithin is for how long a user's logins are refreshed ahead after the App last returned a
	// Client for the user. Zero is a week.
	UsedWithin time.Duration

	// Logger receives a record for each failure: at Warn for one of the database, at Debug for one
	// of a refresh, which hooks of the Client report, too. Nil: none is written.
	Logger *slog.Logger
}

const (
	defaultAtOnce     = 4
	mostPerIssuer     = 4
	defaultUsedWithin = 7 * 24 * time.Hour

	// claimTime is how long a claim lasts. It is longer than a refresh takes that is claimed with
	// prefetch others before it, and it is how late one is that a dead worker had claimed.
	claimTime = 5 * time.Minute

	// prefetch is how many times more is claimed at once than can be begun at once, so that there
	// is one query for many refreshes.
	prefetch = 8

	// idleTime is when to look again after there was nothing due, and also how long the database
	// is left alone that failed.
	idleTime = 5 * time.Second
)

// RefreshAhead refreshes the tokens of recently active users before they expire, so that no request
// waits for that. It runs until ctx ends or the App is closed, waits for the refreshes under way and
// returns nil; it returns [handstamp.ErrInvalidConfig] at once if the Database is no
// [store.Scheduler]. Wait for it before the Database is closed.
//
// Any number of replicas may run it, and share the work through the Database. If one is killed,
// nothing is lost: what it had claimed is due again after some minutes.
//
// If an authorization server responds with 429 or 503, or not at all, this replica sends it no
// refresh ahead until the time in Retry-After, or for a pause of its own if there is none. Other
// replicas only leave alone the credential whose refresh failed.
func (a *App) RefreshAhead(ctx context.Context, o AheadOptions) error {
	scheduler, ok := a.database().(store.Scheduler)
	if !ok {
		return invalid("RefreshAhead needs a Database that is a store.Scheduler, as pgstore's is; " +
			"with another one call Client.RefreshAhead for the users at work")
	}
	o.AtOnce = cmp.Or(max(o.AtOnce, 0), defaultAtOnce)
	o.PerIssuer = cmp.Or(max(o.PerIssuer, 0), min(max(o.AtOnce*3/4, 1), mostPerIssuer))
	o.UsedWithin = cmp.Or(max(o.UsedWithin, 0), defaultUsedWithin)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	w := &aheadWorker{
		AheadOptions: o, app: a, scheduler: scheduler,
		running: make(map[string]int), paused: make(map[string]time.Time),
		refreshed: make(chan refreshed), claimed: make(chan []store.Claim),
	}
	w.run(ctx)
	return nil
}

// aheadWorker is the work of one RefreshAhead. Its fields belong to the goroutine of run.
type aheadWorker struct {
	AheadOptions
	app       *App
	scheduler store.Scheduler

	queue    []store.Claim        // claimed, and not begun
	running  map[string]int       // refreshes under way, by issuer
	total    int                  // of them
	paused   map[string]time.Time // issuers that are left alone, and until when
	claiming bool                 // a claim is under way
	nextLook time.Time            // when to claim again, if there is little left to begin
	lastLook time.Time            // when it was claimed last

	refreshed chan refreshed
	claimed   chan []store.Claim
	others    sync.WaitGroup // releases under way
}

// refreshed is how a refresh ended.
type refreshed struct {
	claim store.Claim
	err   error
	// retryAt is when the issuer may be sent the next one; zero if at once.
	retryAt time.Time
}

func (w *aheadWorker) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !w.ends(ctx) {
		w.begin(ctx)
		w.claim(ctx)
		timer.Reset(w.wait())
		select {
		case r := <-w.refreshed:
			w.end(ctx, r)
		case claims := <-w.claimed:
			w.take(ctx, claims)
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	w.stop(ctx)
}

// wait returns how long there is nothing to do unless something ends.
func (w *aheadWorker) wait() time.Duration {
	switch {
	case w.claiming:
		return time.Hour
	case len(w.queue) >= w.AtOnce*prefetch:
		return time.Hour
	case len(w.queue) >= w.AtOnce:
		return time.Until(w.lastLook.Add(idleTime))
	}
	return time.Until(w.nextLook)
}

// begin begins what may begin.
func (w *aheadWorker) begin(ctx context.Context) {
	w.queue = slices.DeleteFunc(w.queue, func(c store.Claim) bool {
		if w.total >= w.AtOnce || w.running[c.Group] >= w.PerIssuer {
			return false
		}
		w.total++
		w.running[c.Group]++
		go func() { w.refreshed <- w.refresh(ctx, c) }()
		return true
	})
}

// claim claims more, if there is little left to begin. Otherwise it looks now and then, since what
// is left may be for slow issuers alone.
func (w *aheadWorker) claim(ctx context.Context) {
	now := time.Now()
	look := w.nextLook
	if len(w.queue) >= w.AtOnce {
		look = w.lastLook.Add(idleTime)
	}
	free := w.AtOnce*prefetch - len(w.queue)
	if w.claiming || now.Before(look) || free <= 0 {
		return
	}
	w.lastLook = now
	o := store.ClaimOptions{
		Max: free, PerGroup: w.PerIssuer * prefetch, Taken: make(map[string]int),
		For: claimTime, UsedWithin: w.UsedWithin,
	}
	for _, c := range w.queue {
		o.Taken[c.Group]++
	}
	for issuer, until := range w.paused {
		if now.Before(until) {
			o.Taken[issuer] = o.PerGroup
			continue
		}
		delete(w.paused, issuer)
	}
	// With jitter, so that replicas do not look at the same time.
	w.claiming, w.nextLook = true, now.Add(idleTime*3/4+rand.N(idleTime/2))
	go func() {
		// Not ended by ctx: what the database has claimed by then would wait for the claim's end.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), useTimeout)
		defer cancel()
		claims, err := w.scheduler.Claim(ctx, o)
		if err != nil {
			w.Logger.Warn("nothing can be claimed for a refresh ahead", "error", err)
		}
		w.claimed <- claims
	}()
}

// ends reports whether nothing new is to begin.
func (w *aheadWorker) ends(ctx context.Context) bool { return ctx.Err() != nil || w.app.isClosed() }

// take takes over what was claimed. Where there was something, there may be more.
func (w *aheadWorker) take(ctx context.Context, claims []store.Claim) {
	w.claiming = false
	if len(claims) > 0 {
		w.nextLook = time.Time{}
	}
	w.queue = append(w.queue, claims...)
	w.giveUpPaused(ctx)
}

// end notes how a refresh ended.
func (w *aheadWorker) end(ctx context.Context, r refreshed) {
	w.total--
	if w.running[r.claim.Group]--; w.running[r.claim.Group] == 0 {
		delete(w.running, r.claim.Group)
	}
	if r.err != nil {
		server, _, _ := strings.Cut(r.claim.Key.Server, "?") // a query may have a key
		w.Logger.Debug("a refresh ahead did not succeed", "server", server, "issuer", r.claim.Group,
			"error", r.err)
	}
	if r.retryAt.After(w.paused[r.claim.Group]) {
		w.paused[r.claim.Group] = r.retryAt
		w.giveUpPaused(ctx)
	}
	switch {
	case isFinal(r.err):
		w.release(ctx, []store.Claim{r.claim}, time.Time{})
	case !r.retryAt.IsZero(): // it may not have been sent, so that the claim still lasts
		w.release(ctx, []store.Claim{r.claim}, r.retryAt)
	case w.ends(ctx): // it may not have begun; one that has put its value has ended its claim
		w.queue = append(w.queue, r.claim)
	}
}

// isFinal reports whether only a user can help, or the application's configuration.
func isFinal(err error) bool {
	for _, kind := range []error{
		handstamp.ErrLoginRequired, handstamp.ErrClientRejected, handstamp.ErrInvalidConfig,
		handstamp.ErrProtocol, handstamp.ErrRegistrationRequired,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// giveUpPaused ends the claims at issuers that are left alone: they are due when that is over.
func (w *aheadWorker) giveUpPaused(ctx context.Context) {
	given := make(map[string][]store.Claim)
	w.queue = slices.DeleteFunc(w.queue, func(c store.Claim) bool {
		paused := time.Now().Before(w.paused[c.Group])
		if paused {
			given[c.Group] = append(given[c.Group], c)
		}
		return paused
	})
	for issuer, claims := range given {
		w.release(ctx, claims, w.paused[issuer])
	}
}

// release ends claims in a goroutine of its own.
func (w *aheadWorker) release(ctx context.Context, claims []store.Claim, due time.Time) {
	if len(claims) == 0 {
		return
	}
	w.others.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), useTimeout)
		defer cancel()
		if err := w.scheduler.Release(ctx, claims, due); err != nil {
			w.Logger.Warn("claims of refreshes ahead end late", "error", err)
		}
	})
}

// stop waits for what is under way, and gives up what was claimed.
func (w *aheadWorker) stop(ctx context.Context) {
	for w.total > 0 || w.claiming {
		select {
		case r := <-w.refreshed:
			w.end(ctx, r)
		case claims := <-w.claimed:
			w.take(ctx, claims)
		}
	}
	w.release(ctx, w.queue, time.Now())
	w.others.Wait()
}

// refresh refreshes the token of a claim, with the user's Client if the App has it, so that it has
// the new token, and else with one of its own, so that it takes no place in the cache. The end of
// ctx ends no refresh that has begun.
func (w *aheadWorker) refresh(ctx context.Context, claim store.Claim) (r refreshed) {
	r.claim = claim
	work := context.WithoutCancel(ctx)
	c := w.app.cached(claim.Owner)
	ofOwn := c == nil || cmp.Or(c.Profile, store.DefaultProfile) != claim.Key.Profile
	if ofOwn {
		var own *entry
		if own, r.err = w.app.newEntry(claim.Owner); r.err != nil {
			return r
		}
		c = &own.client
		c.Profile = claim.Key.Profile
		stop := context.AfterFunc(ctx, func() { _ = c.Close(work) })
		defer func() {
			stop()
			_ = c.Close(work)
		}()
	}
	r.retryAt, r.err = c.RefreshAhead(work, claim.Key.Server)
	if ofOwn { // the user's Clients may have begun meanwhile
		w.app.changed(store.Change{Owner: claim.Owner.ID(), Key: claim.Key.ID()})
	}
	return r
}
