package hosted

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/handstamp/handstamp/store"
)

// sweepTimeout bounds the time in which old logins are deleted.
const sweepTimeout = time.Minute

// sweep deletes the logins whose users did not come back, now and then: with each period's first
// login that an App begins. Its fields are guarded by the App's mutex.
type sweep struct {
	period int64 // of the last one
	cancel context.CancelFunc
	done   chan struct{} // nil: there was none
}

// sweepOld deletes old logins, unless that was done in this period.
func (a *App) sweepOld(s store.Store) {
	a.mu.Lock()
	defer a.mu.Unlock()
	period := periodOf(now())
	if a.closed || a.sweep.period == period {
		return
	}
	if a.sweep.done != nil {
		select {
		case <-a.sweep.done:
		default:
			return
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), sweepTimeout)
	done := make(chan struct{})
	a.sweep = sweep{period, cancel, done}
	go func() {
		defer close(done)
		defer cancel()
		deleteBefore(ctx, s, period-1) // those of the period before may still wait
	}()
}

// stop ends a sweep under way. The channel that it returns is closed once it has ended.
func (w *sweep) stop() <-chan struct{} {
	if w.done == nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	w.cancel()
	return w.done
}

// deleteBefore deletes the logins that were begun before a period. What cannot be deleted is left
// to the next sweep.
func deleteBefore(ctx context.Context, s store.Store, period int64) {
	keys, err := s.List(ctx)
	if err != nil {
		return
	}
	for _, key := range keys {
		text, ok := strings.CutPrefix(key.Server, pendingServer)
		began, err := strconv.ParseInt(text, 10, 64)
		if !ok || err != nil || began >= period {
			continue
		}
		if _, revision, err := s.Get(ctx, key); err == nil {
			_ = s.Delete(ctx, key, revision)
		}
		if ctx.Err() != nil {
			return
		}
	}
}
