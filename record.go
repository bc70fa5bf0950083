package handstamp

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/store"
)

// records is the stored record of one credential, and what the store has not accepted yet.
// It is safe for concurrent use.
type records struct {
	config    *configuration
	key       store.Key
	serverURL string
	log       *slog.Logger
	notice    func(format string, args ...any)
	secrets   *knownSecrets
	server    *mcpServer

	mu      sync.Mutex
	unsaved *store.Record // guarded by mu: what the store has not accepted
}

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }

// storeTimeout bounds the wait for a store that another process is writing to. A write takes
// moments, so that giving up means a process that hangs.
const storeTimeout = 15 * time.Second

// withStoreTimeout bounds the wait for the store within one call of it.
func (s *records) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return awake.WithTimeout(ctx, cmp.Or(s.config.LockTimeout, storeTimeout), errStoreBusy)
}

// storeWaitError gives the end of a wait that withStoreTimeout bounded its reason, unless the
// store told a better one.
func storeWaitError(bounded context.Context, err error) error {
	ours := context.Cause(bounded) == errStoreBusy
	if ours && errors.Is(err, context.DeadlineExceeded) && store.Busy(err) == nil {
		return errStoreBusy
	}
	return err
}

// reserve makes sure that a record of size bytes can be stored, before something is done that
// cannot be done twice. It returns nil where the store does not reserve.
func (s *records) reserve(ctx context.Context, size int) (store.Reservation, error) {
	reserver, ok := s.config.Store.(store.Reserver)
	if !ok {
		return nil, nil
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	room, err := reserver.Reserve(ctx, s.key, size)
	return room, storeWaitError(ctx, err)
}

// load reads the record, or an empty one where nothing is stored.
func (s *records) load(ctx context.Context) (*store.Record, error) {
	rec, damage, err := s.read(ctx)
	if damage != nil {
		// What is left to do is what one does without a record.
		s.notice("the stored credential could not be read and was set aside: %v", damage)
	}
	return rec, err
}

// read is load, with the damage that was found and that the store has set aside.
func (s *records) read(ctx context.Context) (rec *store.Record, damage, err error) {
	if rec := s.flushUnsaved(ctx); rec != nil {
		return rec, nil, nil
	}
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	rec, err = s.config.Store.Get(bounded, s.key)
	err = storeWaitError(bounded, err)
	switch {
	case err == nil:
		if as := rec.AuthorizationServer; as != nil && as.PrivateNetwork {
			s.server.privateNetwork.Store(true)
		}
		s.secrets.note(rec)
		return rec, nil, nil
	case errors.Is(err, store.ErrCorrupt):
		damage = err
	case !isNotFound(err):
		return nil, nil, storeError(ctx, s.serverURL, err)
	}
	return &store.Record{Version: store.SchemaVersion, Key: s.key, ServerURL: s.serverURL}, damage, nil
}

// maxConflicts bounds how often a write is tried again because somebody else
// wrote in between.
const maxConflicts = 16

// update writes the record after mutate has changed it, and does both again on
// the newer record if somebody wrote in between. A mutate that returns an error
// ends it. rec is the record as last read, and holds what was written.
func (s *records) update(ctx context.Context, rec *store.Record, mutate func(*store.Record) error) (*store.Record, error) {
	for range maxConflicts {
		if err := mutate(rec); err != nil {
			return rec, err
		}
		err := s.put(ctx, rec, nil)
		if err == nil {
			return rec, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return rec, storeError(ctx, s.serverURL, err)
		}
		if rec, err = s.load(ctx); err != nil {
			return rec, err
		}
	}
	return rec, storeError(ctx, s.serverURL, store.ErrConflict)
}

// put writes the record, into the reserved room if there is some.
func (s *records) put(ctx context.Context, rec *store.Record, room store.Reservation) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	s.secrets.note(rec)
	if room != nil {
		return storeWaitError(ctx, room.Put(ctx, rec))
	}
	return storeWaitError(ctx, s.config.Store.Put(ctx, rec))
}

// deleteRecord deletes the record, in the generation that rec has.
func (s *records) delete(ctx context.Context, rec *store.Record) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	return storeWaitError(ctx, s.config.Store.Delete(ctx, s.key, rec.Generation))
}

// keepInMemory keeps a login that could not be stored. Room for it had been made
// before it was asked for, so that this is a disk that broke within a moment, or a
// store that makes no room; but its refresh token exists nowhere else, and to read
// an old one from the store again would be to use a spent token.
func (s *records) keepUnsaved(rec *store.Record, t *oauth.TokenResponse) bool {
	if rec.Grant == nil || rec.Grant.AccessToken != store.Secret(t.AccessToken) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsaved = rec.Clone()
	return true
}

// flushUnsaved tries to store what could not be stored before. It returns the
// record as long as that fails, and nil if there is none any more.
func (s *records) flushUnsaved(ctx context.Context) *store.Record {
	s.mu.Lock()
	unsaved := s.unsaved
	s.mu.Unlock()
	if unsaved == nil {
		return nil
	}
	err := s.put(ctx, unsaved.Clone(), nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unsaved == unsaved && (err == nil || errors.Is(err, store.ErrConflict)) {
		s.unsaved = nil // stored now, or overtaken by another login
	}
	if s.unsaved == nil { // by us, or by another goroutine meanwhile
		return nil
	}
	return s.unsaved.Clone()
}
