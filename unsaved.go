package handstamp

import (
	"context"
	"errors"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/store"
)

// keepUnsaved keeps a login that could not be stored. Room for it had been made
// before it was asked for, so that this is a disk that broke within a moment, or a
// store that makes no room; but its refresh token exists nowhere else, and to read
// an old one from the store again would be to use a spent token.
func (s *session) keepUnsaved(rec *store.Record, t *oauth.TokenResponse) bool {
	if rec.Grant == nil || rec.Grant.AccessToken != store.Secret(t.AccessToken) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsaved = rec.Clone()
	return true
}

// saveUnsaved tries to store what could not be stored before. It returns the
// record as long as that fails, and nil if there is none any more.
func (s *session) saveUnsaved(ctx context.Context) *store.Record {
	s.mu.Lock()
	unsaved := s.unsaved
	s.mu.Unlock()
	if unsaved == nil {
		return nil
	}
	err := s.c.Store.Put(ctx, unsaved.Clone())
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
