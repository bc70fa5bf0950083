package handstamp

import (
	"context"
	"errors"
	"time"

	"github.com/handstamp/handstamp/internal/browser"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

const (
	// waitingNoticeDelay is how long a login waits for its lock before the user
	// is informed that another process has it.
	waitingNoticeDelay = firstLook

	// reopenBrowserAfter is how old another process's tab is when a user who starts
	// a login is given a new one: the old one has been closed, or is not seen.
	reopenBrowserAfter = 10 * time.Second
)

// pendingLogin is a login that waits for the user, as the record shows it to other processes and to
// later logins.
type pendingLogin struct{ *loginFlow }

// record stores, before a browser opens, what the user is shown, so that they can go on with it
// from any process: the one that showed it may have ended, or its tab been closed. A response that
// only the application receives is its own business. The client is marked until a callback comes;
// see [record.Client].
func (l pendingLogin) record(ctx context.Context, r AuthorizationRequest) {
	if l.callback.listener == nil && !r.CanRegisterAnew || l.clients.shared() != nil {
		return // what one user leaves undone says nothing about the client of many
	}
	l.remember(ctx, "the pending login", func(rec *record.Record) {
		if l.callback.listener != nil {
			rec.PendingLogin = &record.PendingLogin{
				At: time.Now().UTC(), URL: secret.String(r.URL), Issuer: r.Issuer, RedirectURI: r.RedirectURI, Scope: r.Scope,
			}
		}
		if r.CanRegisterAnew {
			l.mark(rec, false)
		}
	})
}

// end takes the mark away that record made: a callback has come.
func (l pendingLogin) end(ctx context.Context) {
	if !l.clients.client.NoCallback && !(l.clients.canReplaceDocument() && l.rec.LearnedOf(l.clients.client.Issuer).NoMetadataDocument) {
		return
	}
	l.remember(ctx, "the callback", func(rec *record.Record) { l.mark(rec, true) })
}

// mark notes whether the login's client has brought a callback.
func (l pendingLogin) mark(rec *record.Record, came bool) {
	if l.clients.client.Source == record.SourceMetadataDocument {
		learned := rec.LearnedOf(l.clients.client.Issuer)
		learned.NoMetadataDocument = !came
		rec.Learn(learned)
		return
	}
	l.clients.client.NoCallback = !came
	if c := rec.Client(l.clients.client.Issuer, l.clients.client.ID); c != nil {
		c.NoCallback = !came
	}
}

// clearPending removes what a process left behind that was killed while it waited
// for the user.
func (l *logins) clearPending(ctx context.Context, rec *record.Record) *record.Record {
	if rec.PendingLogin == nil {
		return rec
	}
	dropped, err := l.records.update(ctx, rec, func(rec *record.Record) error {
		rec.PendingLogin = nil
		return nil
	})
	if err != nil {
		return rec
	}
	return dropped
}

// lock is lockUnless for a lock that may be held for as long as a user
// needs. The user is shown where to go on, and [Client.Login]
// opens a tab of its own once the other is old. A record that the login could not replace
// is an error here, before the user is sent to a browser.
func (l *logins) lock(ctx context.Context, name store.LockName, req loginRequest, served func(*record.Record) bool) (unlock func(), rec *record.Record, err error) {
	w := &loginWait{credential: l.credential, ctx: ctx, began: time.Now(), byUser: req.byUser}
	unlock, rec, err = l.records.lockUnless(ctx, name, func(rec *record.Record) bool {
		if served(rec) {
			return true
		}
		if !req.suspends { // or else the user's browser is elsewhere
			w.look(rec)
		}
		return false
	})
	busy := store.Busy(err)
	switch {
	case busy != nil && errors.Is(context.Cause(ctx), errLoginTimeout):
		return nil, nil, &Error{Kind: ErrTimeout, Server: l.serverURL, Err: busy, Hint: busy.Hint(),
			Message: "the login that another process has begun was not completed"}
	case err != nil:
		return nil, nil, err
	case unlock != nil && rec.Version > record.SchemaVersion && !served(rec):
		unlock()
		return nil, nil, storeError(ctx, l.serverURL, record.ErrNewer)
	}
	return unlock, rec, nil
}

// loginWait is the wait for a login that another process has begun.
type loginWait struct {
	*credential
	ctx    context.Context
	began  time.Time
	byUser bool

	reported      bool
	shown, opened secret.String // authorization URLs
}

// look reports the pending login in the record to the user.
func (w *loginWait) look(rec *record.Record) {
	if time.Since(w.began) < waitingNoticeDelay {
		return
	}
	r := AuthorizationRequest{ServerURL: w.serverURL}
	p := rec.PendingLogin
	if p == nil || browser.Check(p.URL.Reveal()) != nil {
		p = &record.PendingLogin{}
	} else {
		r.Issuer, r.URL, r.RedirectURI, r.Scope = p.Issuer, p.URL.Reveal(), p.RedirectURI, p.Scope
	}
	if report := w.config.Prompt.Waiting; report != nil && (!w.reported || p.URL != w.shown && p.URL != "") {
		report(w.ctx, r)
	}
	w.reported, w.shown = true, p.URL
	if w.byUser && p.URL != "" && p.URL != w.opened && time.Since(p.At) > reopenBrowserAfter {
		w.opened = p.URL
		go func() { _ = openBrowser(w.ctx, w.credential, r) }()
	}
}
