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

// usage is who was at work since the database noted it last.
type usage struct {
	owners map[store.Owner]struct{}
	timer  *time.Timer // runs while there are owners
	round  uint64      // how often the database has noted it
}

// noteUse notes that a user is at work, for [App.RefreshAhead] of any replica. a.mu is held.
func (a *App) noteUse(e *entry) {
	if e.noted > a.usage.round {
		return
	}
	e.noted = a.usage.round + 1
	if _, ok := a.database().(store.Scheduler); !ok {
		return
	}
	if a.usage.owners == nil {
		a.usage.owners = make(map[store.Owner]struct{})
		a.usage.timer = time.AfterFunc(useInterval, func() {
			ctx, cancel := context.WithTimeout(context.Background(), useTimeout)
			defer cancel()
			a.flushUse(ctx)
		})
	}
	a.usage.owners[e.owner] = struct{}{}
}

// flushUse has the database note who was at work. Where that fails, users who go on working are noted again.
func (a *App) flushUse(ctx context.Context) {
	a.mu.Lock()
	last := a.usage
	a.usage = usage{round: last.round + 1}
	a.mu.Unlock()
	if last.owners == nil {
		return
	}
	last.timer.Stop()
	_ = a.database().(store.Scheduler).NoteUse(ctx, slices.Collect(maps.Keys(last.owners)))
}
