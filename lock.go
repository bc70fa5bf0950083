package handstamp

import (
	"context"
	"time"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// firstLook and lookInterval are when a process that waits for a lock looks whether its
// holder has stored what is waited for: mostly the holder releases the lock in the same
// moment, which wakes the next one at once.
const (
	firstLook    = 300 * time.Millisecond
	lookInterval = time.Second
)

// lockUnless waits until it holds the named lock or until the stored record
// satisfies enough, whichever comes first, and returns the record as it is
// then. unlock is nil if the lock was not needed.
func (r *records) lockUnless(ctx context.Context, name store.LockName, enough func(*record.Record) bool) (unlock func(), rec *record.Record, err error) {
	type locked struct {
		unlock func()
		err    error
	}
	wait, stop := context.WithCancel(ctx)
	defer stop()
	got := make(chan locked, 1)
	go func() {
		unlock, err := r.store.Lock(wait, r.key, name)
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
				return nil, nil, storeError(ctx, r.serverURL, l.err)
			}
			rec, err := r.load(ctx)
			if err != nil {
				l.unlock()
				return nil, nil, err
			}
			return l.unlock, rec, nil
		case <-look.C:
			look.Reset(lookInterval)
			rec, err := r.load(ctx)
			if err == nil && enough(rec) {
				stop()
				go release()
				return nil, rec, nil
			}
		}
	}
}
