package handstamp

import (
	"context"
	"errors"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

const (
	// saveInterval is how often a login that could not be stored is tried to be stored again. It is
	// short, since other replicas begin to refresh soon after a database is back.
	saveInterval = time.Second

	// saveTimeout bounds how long the refresh lock is held for that.
	saveTimeout = 2 * time.Minute

	// lastFlush is how long a Client that is closed without time tries to store a login.
	lastFlush = time.Second
)

// unsavedLogin is a login that the store did not take.
type unsavedLogin struct {
	rec      *record.Record
	replaces refreshedGrant // none, if it is not of a refresh
}

// savedGrant is a grant that a refresh has stored.
type savedGrant struct {
	*record.Grant
	replaces refreshedGrant
}

// keepUnsaved keeps a login with this access token that could not be stored, and reports whether
// rec has it. Space had been reserved before the login, so that this is a disk or a database that
// broke within a moment, or a store that reserves nothing; but its refresh token exists nowhere
// else, and the one in the store, which it replaces, was used.
func (r *records) keepUnsaved(rec *record.Record, accessToken secret.String, replaces refreshedGrant) bool {
	if rec.Grant == nil || rec.Grant.AccessToken != accessToken {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unsaved = &unsavedLogin{rec.Clone(), replaces}
	return true
}

// keepSaved keeps the grant that a refresh has stored. A database that fails over to a standby
// without the last writes, or is restored, has the one before again, whose refresh token was used.
func (r *records) keepSaved(rec *record.Record, grant refreshedGrant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.saved = &savedGrant{rec.Clone().Grant, grant}
}

// noteLoss reports whether the store has the grant again that a refresh of this process has
// replaced. Then what replaced it counts as not stored. rec and err are what was read.
func (r *records) noteLoss(rec *record.Record, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	saved := r.saved
	switch {
	case saved == nil || err != nil && !errors.Is(err, store.ErrNotFound):
		return false
	case err == nil && rec.Grant != nil && rec.Grant.RefreshToken == saved.RefreshToken:
		return false // as it should be
	case err == nil && rec.Intent != nil && rec.Intent.ID != saved.replaces.intent:
		return false // another process refreshes what was lost, and may have a better one soon
	}
	r.saved = nil
	if err != nil || rec.Grant == nil || rec.GrantError != nil ||
		rec.Grant.RefreshToken != saved.replaces.token || r.unsaved != nil {
		return false // another login, or none
	}
	restored := rec.Clone()
	restored.Grant, restored.Intent, restored.Retry, restored.Rejection = saved.Grant, nil, nil, nil
	r.unsaved = &unsavedLogin{restored, saved.replaces}
	return true
}

// flushUnsaved tries to store what could not be stored before. It returns the record as long as
// that fails, and nil if there is none any more.
func (r *records) flushUnsaved(ctx context.Context) *record.Record {
	r.mu.Lock()
	unsaved := r.unsaved
	r.mu.Unlock()
	if unsaved == nil {
		return nil
	}
	err := r.save(ctx, unsaved)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unsaved == unsaved && (err == nil || errors.Is(err, store.ErrConflict)) {
		r.unsaved = nil // stored now, or overtaken by another login
		if used := unsaved.replaces; err == nil && used.token != "" && used.token != unsaved.rec.Grant.RefreshToken {
			r.saved = &savedGrant{unsaved.rec.Grant, used}
		}
	}
	if r.unsaved == nil { // by this goroutine, or by another one meanwhile
		return nil
	}
	return r.unsaved.rec.Clone()
}

// save stores a login. What others have written meanwhile is replaced if the login there is still
// the one whose refresh token was used. A login that is there, since a write that failed was carried
// out, is written once more: it may be at one server of the store alone.
func (r *records) save(ctx context.Context, unsaved *unsavedLogin) (err error) {
	rec := unsaved.rec.Clone()
	for range maxConflicts {
		if err = r.put(ctx, rec, nil); !errors.Is(err, store.ErrConflict) {
			return err
		}
		stored, readErr := getRecord(ctx, r.store, r.key, r.timeout)
		switch {
		case errors.Is(readErr, store.ErrNotFound):
			return err
		case readErr != nil:
			return readErr
		case stored.Grant == nil:
			return err
		case stored.Grant.SameTokens(rec.Grant):
			if err = r.put(ctx, stored, nil); !errors.Is(err, store.ErrConflict) {
				return err
			}
		case unsaved.replaces.token == "" || stored.Grant.RefreshToken != unsaved.replaces.token:
			return err
		default:
			rec.Revision = stored.Revision
		}
	}
	return err
}

// dropUnsaved forgets a login that could not be stored: it has ended.
func (r *records) dropUnsaved() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unsaved = nil
}

// hasUnsaved reports whether there is a login that could not be stored.
func (r *records) hasUnsaved() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unsaved != nil
}

// unlockWhenSaved releases the refresh lock once what could not be stored is stored, if there is
// anything: whoever has the lock next would send the refresh token that was used. Close waits for
// it.
func (r *refresher) unlockWhenSaved(unlock func()) {
	helper := r.config.locked != nil // which goes on trying by itself
	if helper || !r.records.hasUnsaved() {
		unlock()
		return
	}
	// A Client that was closed meanwhile still waits: for the refresh, of which this is a part.
	r.config.running.begin()
	go func() {
		defer r.config.running.end()
		defer unlock()
		ctx, cancel := awake.WithTimeout(context.Background(), saveTimeout, errStoreBusy)
		defer cancel()
		for r.records.flushUnsaved(ctx) != nil && sleep(ctx, saveInterval) == nil {
			continue
		}
	}()
}
