package hosted

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/handstamp/handstamp/store"
)

const (
	// useInterval is how often the database notes who was at work, for all users at once.
	useInterval = time.Minute

	useTimeout = 30 * time.Second
)

// usage is who was at work since the database noted it last: those that the cache has marked, and
// those that it has evicted since.
type usage struct {
	evicted map[store.Owner]struct{}
	timer   *time.Timer // runs while there is a user to note
	without bool        // the database takes no note
}

// noteUse notes that a user is at work, for [App.RefreshAhead] of any replica. It comes with each
// request, and changes one flag. a.mu is held.
func (a *App) noteUse(e *entry) {
	e.atWork = true
	if a.usage.timer == nil && !a.usage.without {
		a.scheduleFlush()
	}
}

// scheduleFlush has the database note who is at work in a while. a.mu is held.
func (a *App) scheduleFlush() {
	if _, ok := a.database().(store.Scheduler); !ok {
		a.usage.without = true
		return
	}
	a.usage.timer = time.AfterFunc(useInterval, func() {
		ctx, cancel := context.WithTimeout(context.Background(), useTimeout)
		defer cancel()
		a.flushUse(ctx)
	})
}

// noteEvicted notes that a user who is no longer in the cache was at work. a.mu is held.
func (a *App) noteEvicted(e *entry) {
	if !e.atWork || a.usage.without {
		return
	}
	if a.usage.evicted == nil {
		a.usage.evicted = make(map[store.Owner]struct{})
	}
	a.usage.evicted[e.owner] = struct{}{}
}

// flushUse has the database note who was at work. Where that fails, users who go on working are noted again.
func (a *App) flushUse(ctx context.Context) {
	a.mu.Lock()
	timer, owners := a.usage.timer, a.usage.evicted
	a.usage.timer, a.usage.evicted = nil, nil
	if timer != nil {
		owners = a.cache.atWork(owners)
	}
	a.mu.Unlock()
	if timer == nil {
		return
	}
	timer.Stop()
	_ = a.database().(store.Scheduler).NoteUse(ctx, slices.Collect(maps.Keys(owners)))
}
