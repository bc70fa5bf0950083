package handstamp

import (
	"context"
	"errors"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/store"
)

// LoginOptions are what Login can be asked beside the fields of the Client. The
// zero value signs in unless a usable login is stored.
type LoginOptions struct {
	// Force signs in anew although the stored login is good. The old one stays
	// in use until the new one is stored.
	Force bool
}

// LoginResult says what Login did.
type LoginResult struct {
	Status *Status

	// Already: a usable login was stored, and nothing was done.
	Already bool

	// NoRefreshToken says why the login cannot renew itself; empty if it can.
	NoRefreshToken string
}

// Login signs in to a server. It returns when the login is stored, when the
// person has said no (ErrDenied) or nothing (ErrTimeout), or when ctx ends. Of
// several logins at the same credential, in any number of processes, one asks
// the person; the others wait and use its result.
func (c *Client) Login(ctx context.Context, serverURL string, o LoginOptions) (*LoginResult, error) {
	s, err := c.session(serverURL)
	if err != nil {
		return nil, err
	}
	rec, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	if !o.Force && s.loggedIn(rec) {
		return &LoginResult{Status: statusOf(rec, time.Now()), Already: true}, nil
	}
	if _, err := s.login(ctx, loginRequest{interactive: true, force: o.Force}); err != nil {
		return nil, err
	}
	if rec, err = s.load(ctx); err != nil {
		return nil, err
	}
	result := &LoginResult{Status: statusOf(rec, time.Now())}
	if rec.Grant != nil && rec.Grant.RefreshToken == "" {
		result.NoRefreshToken = "the authorization server issued no refresh token"
		if rec.Grant.ExpiresAt.IsZero() {
			result.NoRefreshToken += "; the access token has no known expiry"
		}
	}
	return result, nil
}

// loggedIn reports whether the stored login serves, and as the Client is
// configured now.
func (s *session) loggedIn(rec *store.Record) bool {
	if r := s.activeRegistration(); r != nil && rec.Grant != nil && rec.Grant.ClientID != r.ClientID {
		return false
	}
	now := time.Now()
	return statusOf(rec, now).Usable() && s.refreshable(rec, now)
}

// loginRequest says what a login is for.
type loginRequest struct {
	challenge     oauth.BearerChallenge
	scopes        []string     // to be requested beside those of the challenge
	needed        []string     // those among them that a step-up is for
	rejectedToken store.Secret // the token that does not do
	interactive   bool         // a person asked for it, rather than a request that was refused
	force         bool
	since         time.Time // when it was begun, by whichever process
}

// login signs in, or waits for the login under way. A login outlives the
// request that needed it, so that the person who is half through it is not
// stranded; one that a person asked for ends with its caller.
func (s *session) login(ctx context.Context, req loginRequest) (*cachedToken, error) {
	for {
		f, owner, err := s.loginFlight(ctx, req)
		if err != nil {
			return nil, err
		}
		select {
		case <-f.done:
			if f.calledOff && !owner && ctx.Err() == nil {
				continue // by the one who had asked for it; we still need it
			}
			return f.snap, f.err
		case <-ctx.Done():
			if owner && req.interactive {
				f.cancel()
				<-f.done
			}
			if !req.interactive {
				return nil, s.loginUnderWayError(ctx)
			}
			return nil, ctx.Err()
		}
	}
}

// declinedCooldown is how long no request opens a browser after one was opened in
// vain. Client.Login does.
const declinedCooldown = time.Minute

// suppressesRelogin reports whether a login has ended so that another one, begun at once,
// would only open a further tab: the person has said no, or nothing, or what came
// back from the browser is not to be believed, or not to be stored.
func suppressesRelogin(err error) bool {
	if errors.Is(err, ErrDenied) || errors.Is(err, ErrTimeout) {
		return true
	}
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Kind == ErrProtocol || e.Kind == ErrStore) && e.asked
}

// loginFlight returns the login under way, or starts one.
func (s *session) loginFlight(ctx context.Context, req loginRequest) (f *flight, owner bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.activeLogin != nil {
		return s.activeLogin, false, nil
	}
	if err := s.history.declinedLogin(); err != nil && !req.interactive {
		return nil, false, err
	}
	if !s.c.start() {
		return nil, false, errClosed
	}
	work, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), s.c.LoginTimeout, errLoginTimeout)
	f = &flight{done: make(chan struct{}), cancel: cancel}
	s.activeLogin = f
	go func() {
		defer s.c.running.Done()
		defer cancel()
		f.snap, f.err = s.loginNow(work, req)
		f.calledOff = f.err != nil && work.Err() == context.Canceled
		s.mu.Lock()
		s.activeLogin = nil
		s.history.recordLoginEnd(f.err)
		s.mu.Unlock()
		close(f.done)
	}()
	return f, true, nil
}

var errLoginTimeout = errors.New("handstamp: nobody completed the login")

// loginNow claims the login among all processes and carries it out, or has a
// helper do that.
func (s *session) loginNow(ctx context.Context, req loginRequest) (*cachedToken, error) {
	if req.since.IsZero() {
		req.since = time.Now()
	}
	served := func(rec *store.Record) bool {
		return !req.force && accessTokenUsable(rec.Grant, req.rejectedToken, time.Now()) && (!req.interactive || s.loggedIn(rec))
	}
	if h := s.c.Helper; h != nil && h.Logins && !req.interactive && s.c.OnRegister == nil && s.c.Prompt.Authorize == nil {
		if snap, done, err := s.loginByHelper(ctx, req, served); done {
			return snap, err
		}
	}
	unlock, rec, err := s.lockLogin(ctx, store.LockLogin, req, served)
	switch {
	case err != nil:
		return nil, s.loginError(ctx, err)
	case unlock == nil:
		return s.useToken(rec), nil
	}
	defer unlock()
	if served(rec) {
		return s.useToken(rec), nil
	}
	if err := s.failureSince(rec, req); err != nil {
		return nil, err
	}
	if s.c.locked != nil {
		s.c.locked()
	}
	rec, err = s.runLogin(ctx, s.clearPendingLogin(ctx, rec), req)
	s.history.recordLogin(rec, req, err)
	if err != nil {
		err = s.loginError(ctx, err)
		s.recordLoginFailure(ctx, rec, err)
		if logged := s.c.Hooks.LoggedIn; logged != nil {
			logged(LoginEvent{Server: s.serverURL, Err: err})
		}
		return nil, err
	}
	if logged := s.c.Hooks.LoggedIn; logged != nil {
		logged(LoginEvent{Server: s.serverURL, Issuer: rec.Grant.Issuer, Scope: rec.Grant.ScopeGranted})
	}
	return s.useToken(rec), nil
}

// failureKinds are the ends of a login, by the names that records have for them,
// after which those who waited for it do not ask the person again.
var failureKinds = map[string]error{"denied": ErrDenied, "timeout": ErrTimeout, "protocol": ErrProtocol}

// recordLoginFailure tells the processes that wait for this login how it ended. One
// that was called off is theirs to begin anew.
func (s *session) recordLoginFailure(ctx context.Context, rec *store.Record, err error) {
	var failure *store.LoginFailure
	if e, ok := errors.AsType[*Error](err); ok {
		for name, kind := range failureKinds {
			if e.Kind == kind {
				failure = &store.LoginFailure{At: time.Now().UTC(), Kind: name, Message: e.Message, Code: e.Code}
			}
		}
	}
	if failure == nil && rec.PendingLogin == nil {
		return
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), storeTimeout, errStoreBusy)
	defer cancel()
	if _, err := s.update(ctx, rec, func(rec *store.Record) error {
		rec.PendingLogin = nil
		if failure != nil {
			rec.LoginFailure = failure
		}
		return nil
	}); err != nil {
		s.log.Debug("the end of the login could not be noted", "error", err)
	}
}

// failureSince returns how the login ended that this one has waited for, if that
// was without success. Who asks for a login explicitly gets one.
func (s *session) failureSince(rec *store.Record, req loginRequest) error {
	f := rec.LoginFailure
	if f == nil || req.interactive || !f.At.After(req.since) || failureKinds[f.Kind] == nil {
		return nil
	}
	return &Error{Kind: failureKinds[f.Kind], Server: s.serverURL, Message: f.Message, Code: f.Code, Hint: "start the login again"}
}

// loginError tells a login that nobody completed from one that was called off.
func (s *session) loginError(ctx context.Context, err error) error {
	switch {
	case errors.Is(context.Cause(ctx), errLoginTimeout):
		return &Error{Kind: ErrTimeout, Server: s.serverURL, Message: "nobody completed the login in time", Hint: "start it again"}
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return err
}
