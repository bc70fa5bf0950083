package handstamp

import (
	"context"
	"time"

	"github.com/handstamp/handstamp/internal/browser"
	"github.com/handstamp/handstamp/store"
)

const (
	// waitingNoticeDelay is how long the claim to sign in may take before the person
	// is told that somebody else has it.
	waitingNoticeDelay = 300 * time.Millisecond

	// reopenBrowserAfter is how old another process's tab is when a person who asks for
	// a login is given a new one: the old one has been closed, or is not seen.
	reopenBrowserAfter = 10 * time.Second
)

// recordPendingLogin stores what the person is asked, so that they can go on with it
// from any process: whose tab it was may have ended, or its tab been closed. An
// answer that only the application receives is its own business.
func (l *loginFlow) recordPendingLogin(ctx context.Context, r AuthorizationRequest) {
	if l.callback.listener == nil {
		return
	}
	rec, err := l.update(ctx, l.rec, func(rec *store.Record) error {
		rec.PendingLogin = &store.PendingLogin{
			At: time.Now().UTC(), URL: store.Secret(r.URL), Issuer: r.Issuer, RedirectURI: r.RedirectURI, Scope: r.Scope,
		}
		return nil
	})
	if err != nil {
		l.log.Debug("other processes cannot be told of this login", "error", err)
		return
	}
	l.rec = rec
}

// clearPendingLogin removes what a process left behind that was killed while it waited
// for a person.
func (s *session) clearPendingLogin(ctx context.Context, rec *store.Record) *store.Record {
	if rec.PendingLogin == nil {
		return rec
	}
	dropped, err := s.update(ctx, rec, func(rec *store.Record) error {
		rec.PendingLogin = nil
		return nil
	})
	if err != nil {
		return rec
	}
	return dropped
}

// lockLogin is lockUnless for a lock that may be held for as long as a person
// needs. That person is told where to go on, and who asks for a login explicitly
// gets a tab of their own once the other is old.
func (s *session) lockLogin(ctx context.Context, name store.LockName, req loginRequest, served func(*store.Record) bool) (unlock func(), rec *store.Record, err error) {
	began, told := time.Now(), false
	var shown, opened store.Secret
	return s.lockUnless(ctx, name, func(rec *store.Record) bool {
		if served(rec) {
			return true
		}
		if time.Since(began) < waitingNoticeDelay {
			return false
		}
		r := AuthorizationRequest{ServerURL: s.serverURL}
		p := rec.PendingLogin
		if p == nil || browser.Check(p.URL.Reveal()) != nil {
			p = &store.PendingLogin{}
		} else {
			r.Issuer, r.URL, r.RedirectURI, r.Scope = p.Issuer, p.URL.Reveal(), p.RedirectURI, p.Scope
		}
		if tell := s.c.Prompt.Waiting; tell != nil && (!told || p.URL != shown && p.URL != "") {
			tell(ctx, r)
		}
		told, shown = true, p.URL
		if req.byUser && p.URL != "" && p.URL != opened && time.Since(p.At) > reopenBrowserAfter {
			opened = p.URL
			go func() { _ = s.openBrowser(ctx, r) }()
		}
		return false
	})
}
