package handstamp

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// storeTimeout bounds the wait for a store that another process is writing to. A write takes
// moments, so that giving up means a process that hangs.
const storeTimeout = 15 * time.Second

// records reads and writes the record of one credential. Its methods may be called concurrently.
type records struct {
	store     store.Store
	key       store.Key
	serverURL string
	timeout   time.Duration // of each wait for the store; 0: storeTimeout
	notice    func(format string, args ...any)
	events    *narrator
	seen      func(*record.Record)                // is called with each record that is read or written
	schedule  func(*record.Record) store.Schedule // nil: nothing becomes due
	changes   atomic.Uint64                       // own ones, and those by others that were reported

	mu        sync.Mutex
	unsaved   *unsavedLogin   // guarded by mu; what the store did not take
	saved     *savedGrant     // guarded by mu; what a refresh of this process has stored last
	reported  store.Revision  // guarded by mu; the damage that was reported last
	announced *store.Revision // guarded by mu; what an event was about last
}

// callStore bounds the wait for the store within one call of it; 0 is storeTimeout. The error of a
// wait that was too long is errStoreBusy, unless the store gave a better reason.
func callStore(ctx context.Context, timeout time.Duration, call func(context.Context) error) error {
	ctx, cancel := awake.WithTimeout(ctx, cmp.Or(timeout, storeTimeout), errStoreBusy)
	defer cancel()
	err := call(ctx)
	ours := context.Cause(ctx) == errStoreBusy
	if ours && errors.Is(err, context.DeadlineExceeded) && store.Busy(err) == nil {
		return errStoreBusy
	}
	return err
}

// reserve makes sure that a token response can be stored with the record (nil: there is none), before
// something is done that cannot be done twice. It returns nil where the store does not reserve.
func (r *records) reserve(ctx context.Context, rec *record.Record) (space store.Reservation, err error) {
	reserver, ok := r.store.(store.Reserver)
	if !ok {
		return nil, nil
	}
	size := responseReserve
	if rec != nil {
		encoded, err := record.Encode(rec)
		if err != nil {
			return nil, err
		}
		size += len(encoded)
	}
	err = callStore(ctx, r.timeout, func(ctx context.Context) (err error) {
		space, err = reserver.Reserve(ctx, r.key, size)
		return err
	})
	return space, err
}

// load reads the record, or an empty one where nothing is stored.
func (r *records) load(ctx context.Context) (*record.Record, error) {
	rec, damage, err := r.read(ctx)
	if damage == nil || !r.isNewDamage(rec.Revision) {
		return rec, err
	}
	// What is left to do is what one does without a record. The store has set aside what has no
	// revision; the rest stays until it is replaced.
	fate := "was set aside"
	if rec.Revision != "" {
		fate = "is replaced by the next login"
	}
	r.notice("the stored credential could not be read and %s: %v", fate, damage)
	return rec, nil
}

// isNewDamage reports whether the damage was not reported yet. The empty revision is that of a
// value that is no longer there.
func (r *records) isNewDamage(revision store.Revision) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := revision != "" && revision == r.reported
	r.reported = revision
	return !known
}

// read is load, and returns also the damage that was found, for which the record is an empty one.
func (r *records) read(ctx context.Context) (rec *record.Record, damage, err error) {
	changes := r.changes.Load()
	if rec := r.flushUnsaved(ctx); rec != nil {
		rec.Changes = changes
		return rec, nil, nil
	}
	changes = r.changes.Load() // it may have been stored
	rec, err = r.get(ctx)
	if rec != nil {
		rec.Changes = changes
	}
	switch {
	case err == nil:
		r.seen(rec)
		r.stored(rec)
		return rec, nil, nil
	case errors.Is(err, store.ErrCorrupt):
		damage = err
	case !errors.Is(err, store.ErrNotFound):
		return nil, nil, storeError(ctx, r.serverURL, err)
	}
	rec.ServerURL = r.serverURL
	r.stored(rec)
	return rec, damage, nil
}

// get is [getRecord], and stores again what this process has stored and the store has lost.
func (r *records) get(ctx context.Context) (*record.Record, error) {
	rec, err := getRecord(ctx, r.store, r.key, r.timeout)
	if !r.noteLoss(rec, err) {
		return rec, err
	}
	if rec := r.flushUnsaved(ctx); rec != nil {
		return rec, nil
	}
	return getRecord(ctx, r.store, r.key, r.timeout)
}

// getRecord is [record.Get], whose wait for the store is bounded.
func getRecord(ctx context.Context, s store.Store, key store.Key, timeout time.Duration) (rec *record.Record, err error) {
	err = callStore(ctx, timeout, func(ctx context.Context) (err error) {
		rec, err = record.Get(ctx, s, key)
		return err
	})
	return rec, err
}

// maxConflicts bounds how often a write is tried again because another process or goroutine
// wrote in between.
const maxConflicts = 16

// update writes the record after mutate has changed it, and does both again on the newer record
// if there was another write in between. A mutate that returns an error ends it. rec is the
// record as last read, and holds what was written, or with an error what could not be: it may be
// the only place that has it.
func (r *records) update(
	ctx context.Context, rec *record.Record, mutate func(*record.Record) error,
) (*record.Record, error) {
	for conflicts := 0; ; {
		if err := mutate(rec); err != nil {
			return rec, err
		}
		err := r.put(ctx, rec, nil)
		if err == nil {
			return rec, nil
		}
		if conflicts++; !errors.Is(err, store.ErrConflict) || conflicts == maxConflicts {
			return rec, storeError(ctx, r.serverURL, err)
		}
		newer, err := r.load(ctx)
		if err != nil {
			return rec, err
		}
		rec = newer
	}
}

// change reads the record and updates it.
func (r *records) change(
	ctx context.Context, mutate func(*record.Record) error,
) (rec *record.Record, err error) {
	if rec, err = r.load(ctx); err != nil {
		return nil, err
	}
	return r.update(ctx, rec, mutate)
}

// put writes the record, into the reserved space if there is some.
func (r *records) put(ctx context.Context, rec *record.Record, space store.Reservation) error {
	r.seen(rec)
	changes, began := r.changes.Load(), time.Now()
	err := callStore(ctx, r.timeout, func(ctx context.Context) error {
		if space != nil {
			return record.PutReserved(ctx, space, rec)
		}
		if r.schedule == nil {
			return record.Put(ctx, r.store, rec)
		}
		return record.PutScheduled(ctx, r.store, rec, r.schedule(rec))
	})
	if err == nil { // so that the stored record was still the one that rec was read as
		if now := r.changes.Add(1); now == changes+1 {
			changes = now
		}
		rec.Changes = changes
	}
	r.written(rec, began, err, "written")
	return err
}

// delete deletes the record, in the revision that rec has.
func (r *records) delete(ctx context.Context, rec *record.Record) error {
	began := time.Now()
	err := callStore(ctx, r.timeout, func(ctx context.Context) error { return record.Delete(ctx, r.store, rec) })
	r.written(rec, began, err, "deleted")
	return err
}

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
	waiting := &lockWait{events: r.events, name: name, began: time.Now()}
	look := time.NewTimer(firstLook)
	defer look.Stop()
	for {
		select {
		case l := <-got:
			if l.err != nil {
				waiting.end("the wait for another process is over", l.err)
				if ctx.Err() != nil && store.Busy(l.err) == nil {
					return nil, nil, ctx.Err()
				}
				return nil, nil, storeError(ctx, r.serverURL, l.err)
			}
			waiting.end("the other process has come to its end", nil)
			rec, err := r.load(ctx)
			if err != nil {
				l.unlock()
				return nil, nil, err
			}
			return l.unlock, rec, nil
		case <-look.C:
			waiting.look()
			look.Reset(lookInterval)
			rec, err := r.load(ctx)
			if err == nil && enough(rec) {
				waiting.end("the other process has stored what is needed", nil)
				stop()
				go release()
				return nil, rec, nil
			}
		}
	}
}
