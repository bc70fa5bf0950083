package handstamp

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// LoginOptions are the options of [Client.Login] in addition to the fields of the Client. The zero
// value signs in unless the stored login works.
type LoginOptions struct {
	// Force signs in again although the stored login works. The old one stays
	// in use until the new one is stored.
	Force bool

	// Scopes are requested in addition to those that the server names, where the stored login does
	// not have them: those that a rejected request needs, for instance.
	Scopes []string
}

// LoginResult reports what [Client.Login] did.
type LoginResult struct {
	Status *Status

	// Already: the stored login works, refreshed perhaps, and the user was not
	// needed.
	Already bool

	// Rejected is why no request works although the user has signed in: the MCP
	// server rejects the token that it led to. It is nil where the server accepts
	// the token, or could not be reached.
	Rejected error
	// Kept: the login that was stored before is stored again, since this one was rejected.
	Kept bool

	// NoRefreshToken is why the login cannot be refreshed; empty if it can.
	NoRefreshToken string
}

// Login signs in to a server. It returns when the login is stored and was tried at the MCP server,
// when the user has denied it ([ErrDenied]) or not completed it ([ErrTimeout]), or when ctx ends.
// A new token that the MCP server rejects is no error: see [LoginResult].Rejected.
//
// A stored login is proved first, with one request to the MCP server, and refreshed
// if its access token does not work: the user is needed only where that does not
// help. If the MCP server or the authorization server cannot be reached, Login
// returns [ErrUnreachable] and keeps what is stored.
//
// Of several logins at the same credential, in any number of processes, one reaches
// the user; the others wait and use its result.
//
// Other errors are of kind [ErrNoLoginNeeded], [ErrProtocol], [ErrRegistrationRequired], [ErrClientRejected],
// [ErrInvalidConfig], [ErrStore] or [ErrClosed]; [ErrLoginRequired] if there is no way to the user, such as
// no browser that can be opened.
func (c *Client) Login(ctx context.Context, serverURL string, o LoginOptions) (*LoginResult, error) {
	s, err := c.session(serverURL)
	if err != nil {
		return nil, err
	}
	waits := 0
	req, already, err := s.neededLogin(ctx, o, &waits)
	if err != nil {
		return nil, err
	}
	result := &LoginResult{Already: already}
	if !already {
		snap, err := s.logins.login(ctx, req)
		if err != nil {
			return nil, err
		}
		s.tryLogin(ctx, snap, &waits, result)
	}
	if err := s.report(ctx, result); err != nil {
		return nil, err
	}
	return result, nil
}

// neededLogin describes the login that the user requested. already reports that the stored login
// works, and has the scopes.
func (s *session) neededLogin(ctx context.Context, o LoginOptions, waits *int) (req loginRequest, already bool, err error) {
	req = loginRequest{interactive: true, byUser: true, force: o.Force}
	rec, err := s.records.load(ctx)
	if err != nil {
		return req, false, err
	}
	if g := rec.Grant; g == nil || !containsAll(strings.Fields(g.ScopeGranted), o.Scopes) {
		req.scopes, req.needed = o.Scopes, o.Scopes
		if g != nil {
			req.scopes = append(strings.Fields(g.ScopeRequested), o.Scopes...)
			req.force = req.force || len(o.Scopes) > 0
		}
	}
	if !req.force {
		already, err = s.resume(ctx, rec, &req, waits)
	}
	return req, already, err
}

// tryLogin proves the token of a login that was just completed, and returns to the one before if the
// MCP server rejects it.
func (s *session) tryLogin(ctx context.Context, t *cachedToken, waits *int, result *LoginResult) {
	if result.Rejected = s.proveLogin(ctx, t, waits); result.Rejected != nil {
		result.Kept = s.restoreLogin(ctx, t.token)
	}
}

// report completes the result of a login by what is stored.
func (s *session) report(ctx context.Context, result *LoginResult) error {
	rec, err := s.records.load(ctx)
	if err != nil {
		return err
	}
	result.Status = statusOf(rec, time.Now())
	if rec.Grant != nil && rec.Grant.RefreshToken == "" && !s.config.unattended(rec) {
		result.NoRefreshToken = "the authorization server issued no refresh token"
		if rec.Grant.ExpiresAt.IsZero() {
			result.NoRefreshToken += "; the access token has no known expiry"
		}
	}
	return nil
}

// proveLogin proves the token of a login that was just completed, and returns an
// error if the MCP server rejects it. Other trouble at that server is left to the
// first request.
func (s *session) proveLogin(ctx context.Context, t *cachedToken, waits *int) error {
	if t == nil {
		return nil
	}
	p, err := tokenProver{&s.credential}.prove(ctx, t, waits)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			s.notice("the login is stored, but could not be tried: %v", err)
		}
	case p.rejected:
		s.tokens.recordRejection(ctx, t)
		return &Error{Kind: ErrProtocol, Server: s.serverURL,
			Message: "the authorization server has issued a token, and the MCP server rejects it",
			Hint:    "signing in again would not help: the operator of the server has to fix this"}
	}
	return nil
}

// logins signs users in: one login at a time for all callers and processes.
type logins struct {
	*credential
	discovery *discovery
	imports   *importer
	flights   flights
}

// loginRequest says what a login is for.
type loginRequest struct {
	challenge     oauth.BearerChallenge
	scopes        []string      // to be requested in addition to those of the challenge
	needed        []string      // those among them that a step-up is for
	signInFor     string        // how the server wants the user to sign in, for the history
	rejectedToken secret.String // the token that the server rejected
	interactive   bool          // a caller waits for it, rather than a request that was rejected
	byUser        bool          // by [Client.Login]: no limit and no cooldown applies
	prompts       bool          // it may open a browser
	force         bool
	suspends      bool      // at its authorization request; see [Client.BeginLogin]
	anew          bool      // the stored plan has failed
	since         time.Time // when it was begun, by whichever process
}

// login signs in, or waits for the login under way. A login outlives the request that needed it, so
// that the user can complete it; one of [Client.Login] ends with its caller.
func (l *logins) login(ctx context.Context, req loginRequest) (*cachedToken, error) {
	req.prompts = req.byUser || l.config.mayPrompt(ctx)
	for {
		f, joined, err := l.flight(ctx, req)
		if err != nil {
			return nil, err
		}
		select {
		case <-f.done:
			if joined && ctx.Err() == nil && f.needsAnother(req) {
				continue
			}
			return f.snap, f.err
		case <-ctx.Done():
			if !joined && req.interactive {
				f.cancel()
				<-f.done
			}
			if !req.interactive {
				return nil, l.errs.loginUnderWay(ctx)
			}
			return nil, ctx.Err()
		}
	}
}

// declinedCooldown is how long no request opens a browser after one was opened and the login
// did not succeed. [Client.Login] does.
const declinedCooldown = time.Minute

// suppressesRelogin reports whether another login, begun at once, would only open a further tab: the
// user has denied the last one or has not responded, its callback was invalid, its result could not
// be stored, or as many logins as are allowed have opened a browser.
func suppressesRelogin(err error) bool {
	if errors.Is(err, ErrDenied) || errors.Is(err, ErrTimeout) {
		return true
	}
	e, ok := errtype.As[*Error](err)
	return ok && ((e.Kind == ErrProtocol || e.Kind == ErrStore) && e.opened || e.Kind == ErrLoginRequired && e.atCeiling())
}

// needsAnother reports whether a caller that has joined a login needs another one: that login was
// canceled by its own caller, was not allowed to open a browser, or did not begin because of a
// cooldown, which does not apply to logins that the user starts.
func (f *flight) needsAnother(req loginRequest) bool {
	e, ok := errtype.As[*Error](f.err)
	return f.calledOff || req.prompts && !f.prompts && errors.Is(f.err, ErrLoginRequired) ||
		req.byUser && !f.byUser && ok && !e.RetryAt.IsZero() && !e.opened
}

// flight returns the login under way, or starts one.
func (l *logins) flight(ctx context.Context, req loginRequest) (f *flight, joined bool, err error) {
	return l.flights.join(l.config, func(f *flight) (func(), error) {
		if err := l.history.declinedLogin(); err != nil && !req.byUser {
			return nil, err
		}
		work, cancel := awake.WithTimeout(context.WithoutCancel(ctx), l.config.LoginTimeout, errLoginTimeout)
		f.cancel, f.byUser, f.prompts = cancel, req.byUser, req.prompts
		return func() {
			defer cancel()
			f.snap, f.err = l.loginNow(work, req)
			f.calledOff = f.err != nil && work.Err() == context.Canceled
			l.history.recordLoginEnd(f.err)
			if ended := l.config.Prompt.Ended; ended != nil {
				l.events.guarded(func() { ended(l.serverURL) })
			}
		}, nil
	})
}

var errLoginTimeout = errors.New("handstamp: the login was not completed")

// loginNow takes the login's lock among all processes and signs in, or has a
// helper do that.
func (l *logins) loginNow(ctx context.Context, req loginRequest) (*cachedToken, error) {
	if req.since.IsZero() {
		req.since = time.Now()
	}
	served := func(rec *record.Record) bool {
		return !req.force && rec.Grant.Usable(req.rejectedToken, time.Now()) &&
			(!req.interactive || l.config.resumable(rec, time.Now()))
	}
	if !req.interactive && l.helperSignsIn(ctx) {
		if token, done, err := l.loginByHelper(ctx, req, served); done {
			return token, err
		}
	}
	unlock, rec, err := l.lock(ctx, store.LockLogin, req, served)
	switch {
	case err != nil:
		return nil, l.endError(ctx, err)
	case unlock == nil:
		return l.tokens.use(rec), nil
	}
	held, report := l.holding()
	defer report()
	defer unlock()
	if served(rec) {
		return l.tokens.use(rec), nil
	}
	if err := l.failureSince(rec, req); err != nil {
		return nil, err
	}
	return held.loginLocked(ctx, rec, req)
}

// holding is [holding] for logins.
func (l *logins) holding() (held *logins, report func()) {
	c, report := holding(l.credential)
	return &logins{credential: c, discovery: l.discovery, imports: l.imports}, report
}

// loginLocked signs in and reports how that ended: to the processes that wait, and to the hook. Of a
// login that suspends it returns the [*suspension].
func (l *logins) loginLocked(ctx context.Context, rec *record.Record, req loginRequest) (*cachedToken, error) {
	if l.config.locked != nil {
		l.config.locked()
	}
	l.events.loginBegins(req)
	rec, err := l.run(ctx, l.clearPending(ctx, rec), req)
	if _, ok := errtype.As[*suspension](err); ok {
		return nil, err
	}
	return l.end(ctx, rec, req, err)
}

// end reports how a login ended.
func (l *logins) end(ctx context.Context, rec *record.Record, req loginRequest, err error) (*cachedToken, error) {
	l.history.recordLogin(rec, req, err)
	event := LoginEvent{Server: l.serverURL, Began: req.since, Outcome: OutcomeSignedIn}
	if err != nil {
		err = l.endError(ctx, err)
		// For a step no process waits, and each server that a user makes up would be stored for ever.
		if !req.suspends || rec.Revision != "" {
			l.recordFailure(ctx, rec, err)
		}
		event.Err, event.Outcome = err, kindOf(err)
	} else {
		event.Issuer, event.Scope = rec.Grant.Issuer, oauth.SanitizeLine(l.secrets.shownScope(rec.Grant.ScopeGranted))
	}
	event.Duration = time.Since(req.since)
	l.events.loginEnds(rec, err)
	l.outcomes.loggedIn(event)
	if err != nil {
		return nil, err
	}
	return l.tokens.useIssued(rec), nil
}

// endsForAll reports whether a login ended so that those who waited for it do not prompt the user
// again.
func endsForAll(kind error) bool {
	return kind == ErrDenied || kind == ErrTimeout || kind == ErrProtocol
}

// recordFailure records how the login ended, for the processes that wait for it. One
// that was canceled is left to them to start again.
func (l *logins) recordFailure(ctx context.Context, rec *record.Record, err error) {
	var failure *record.LoginFailure
	if e, ok := errtype.As[*Error](err); ok && endsForAll(e.Kind) {
		failure = &record.LoginFailure{At: time.Now().UTC(), Kind: kindName(e.Kind), Message: e.Message, Code: e.Code}
		if e.Message == "" && e.Err != nil {
			failure.Message = e.Err.Error()
		}
	}
	if failure == nil && rec.PendingLogin == nil {
		return
	}
	ctx, cancel := awake.WithTimeout(context.WithoutCancel(ctx), storeTimeout, errStoreBusy)
	defer cancel()
	if _, err := l.records.update(ctx, rec, func(rec *record.Record) error {
		rec.PendingLogin = nil
		if failure != nil {
			rec.LoginFailure = failure
		}
		return nil
	}); err != nil {
		l.events.fail(StepStore, err, "the end of the login could not be noted")
	}
}

// failureSince returns how the login ended that this one has waited for, if that
// was without success. Who asks for a login explicitly gets one.
func (l *logins) failureSince(rec *record.Record, req loginRequest) error {
	f := rec.LoginFailure
	if f == nil || req.byUser || !f.At.After(req.since) || !endsForAll(errorKinds[f.Kind]) {
		return nil
	}
	return &Error{Kind: errorKinds[f.Kind], Server: l.serverURL, Message: f.Message, Code: f.Code, Hint: "start the login again"}
}

// endError separates a login that was not completed in time from one that was canceled.
func (l *logins) endError(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ErrTimeout):
		return err
	case errors.Is(context.Cause(ctx), errLoginTimeout):
		return &Error{Kind: ErrTimeout, Server: l.serverURL, Message: "the login was not completed in time", Hint: "start it again"}
	case ctx.Err() != nil && l.config.closing.Err() != nil:
		return closedError()
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return err
}
