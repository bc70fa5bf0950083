package hosted

import (
	"context"
	"sync"

	"github.com/handstamp/handstamp/store"
)

// watcher follows what other replicas change, where the Database reports that.
type watcher struct {
	stop    context.CancelFunc // nil: it does not report
	running sync.WaitGroup
	once    sync.Once
}

// watch begins to follow the changes. The caller holds a.mu.
func (a *App) watch() {
	a.watcher.once.Do(func() {
		w, ok := a.Database.(store.Watcher)
		if !ok {
			return
		}
		ctx, stop := context.WithCancel(context.Background())
		a.watcher.stop = stop
		// It ends with ctx alone, whose error is of no interest.
		a.watcher.running.Go(func() { _ = w.Watch(ctx, a.changed) })
	})
}

// changed has the Clients of a changed credential, or all of them, read the database before they
// send another request.
func (a *App) changed(change store.Change) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if change.Owner == "" {
		for _, c := range a.cache.all() {
			c.StoreChanged("")
		}
		return
	}
	for _, c := range a.cache.of(change.Owner) {
		c.StoreChanged(change.Key)
	}
}

// ownChange is changed for what this App has changed itself, which no Database reports: a Client of
// the user that was evicted may still be in use.
func (a *App) ownChange(o store.Owner) { a.changed(store.Change{Owner: o.ID()}) }

// close ends the watch.
func (w *watcher) close() {
	w.once.Do(func() {}) // or else it does not begin any more
	if w.stop != nil {
		w.stop()
	}
	w.running.Wait()
}
