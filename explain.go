package handstamp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/store"
)

// errClosed is returned for work that would outlive a closed Client.
var errClosed error = &Error{Kind: ErrUsage, Message: "the client is closed"}

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }

// errStoreBusy is the cause of the end of a context that we bound the wait for a
// store with.
var errStoreBusy = errors.New("other processes have been using it for too long")

// storeError says that the store cannot be used, unless it was the caller who did
// not want to wait for it any longer.
func storeError(ctx context.Context, server string, err error) error {
	if ended := ctx.Err(); ended != nil && errors.Is(err, ended) {
		cause := context.Cause(ctx)
		if cause == ended {
			return ended
		}
		err = cause
	}
	e := &Error{Kind: ErrStore, Server: server, Err: err}
	if errors.Is(err, store.ErrNewer) {
		e.Hint = "update this program, or sign in under another profile"
	}
	return e
}

func protocolError(server string, err error) error {
	return &Error{Kind: ErrProtocol, Server: server, Err: err}
}

// unreachable says that the authorization server could not renew the login, and
// when it will be asked again.
func (s *session) unreachable(rec *store.Record, cause error) error {
	e := &Error{Kind: ErrUnreachable, Server: s.serverURL, Err: cause, Message: "the authorization server cannot renew the login now; the credential is kept"}
	if r := rec.Retry; r != nil {
		e.RetryAt = r.NotBefore
		e.Message = fmt.Sprintf("the authorization server cannot renew the login now (%s); the credential is kept", r.Reason)
		if wait := time.Until(r.NotBefore).Round(time.Second); wait > 0 {
			e.Hint = fmt.Sprintf("try again in %v", wait)
		}
		e.Err = nil
	}
	return e
}

// tooEarly says that a renewal was refused while the access token is good.
func (s *session) tooEarly(rec *store.Record, refused *oauth.Error) error {
	return &Error{Kind: ErrUnreachable, Server: s.serverURL, Code: refused.Code, RetryAt: rec.Grant.ExpiresAt,
		Message: "the authorization server refuses to renew the login while its access token is valid; both are kept", Err: refused}
}

// loginRequired says why only a person can help.
func (s *session) loginRequired(rec *store.Record) error {
	e := &Error{Kind: ErrLoginRequired, Server: s.serverURL, Message: "not signed in", Hint: "sign in to " + s.serverURL}
	if rec == nil {
		return e
	}
	client := rec.GrantClient()
	switch f := rec.Refusal; {
	case f != nil && f.Interrupted:
		e.Code = f.Code
		e.Message = "the server ended the login (" + f.Code + ") after a renewal had been interrupted before its result could be stored"
	case f != nil:
		e.Code = f.Code
		e.Message = "the server ended the login (" + f.Code + ")"
	case client != nil && secretOver(s.configured(client), rec.Grant, time.Now()):
		e.Message = "the login cannot be renewed: the secret of its client ended at " + s.configured(client).SecretExpiresAt.Format(time.RFC3339)
	case rec.Grant != nil && rec.Grant.RefreshToken == "" && !rec.Grant.Refused:
		e.Message = "the login has expired, and the server gave no refresh token to renew it with"
	case rec.Grant != nil:
		e.Message = "the server no longer accepts the login"
	}
	return e
}

// notRenewable says that a token that does not do is all there is.
func (s *session) notRenewable(ctx context.Context, snap *snapshot) error {
	rec, err := s.load(ctx)
	if err != nil {
		return err
	}
	if rec.Refusal != nil || rec.Grant == nil || rec.Grant.RefreshToken != "" {
		return s.loginRequired(rec)
	}
	e := &Error{Kind: ErrLoginRequired, Server: s.serverURL, Hint: "sign in anew",
		Message: "the access token cannot be renewed: the server gave no refresh token"}
	if !snap.expiresAt.IsZero() {
		e.Message += fmt.Sprintf("; it is valid for %v", time.Until(snap.expiresAt).Round(time.Second))
	}
	return e
}

// clientRejected says that a client which the user configured is not accepted.
func (s *session) clientRejected(c *store.Client, refused *oauth.Error) error {
	return &Error{Kind: ErrClientRejected, Server: s.serverURL, Code: refused.Code, Err: refused,
		Message: fmt.Sprintf("%s does not accept the configured client %q", c.Issuer, c.ID),
		Hint:    "check the client id, the client secret and the token endpoint auth method"}
}

// rejection is a renewal for which the client that the user configured was
// rejected. What this process is configured with does not change, so that the
// authorization server need not be asked again for each request.
type rejection struct {
	token store.Secret // the refresh token
	at    time.Time
	err   error
}

// rejectedNow notes err if it is a rejection.
func (s *session) rejectedNow(rec *store.Record, err error) {
	if rec.Grant == nil || !errors.Is(err, ErrClientRejected) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejected = &rejection{token: rec.Grant.RefreshToken, at: time.Now(), err: err}
}

// rejectedLately returns the rejection of a renewal of the same token a moment
// ago.
func (s *session) rejectedLately(rec *store.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rejected
	if r == nil || rec.Grant == nil || r.token != rec.Grant.RefreshToken || time.Since(r.at) >= longestRetry {
		return nil
	}
	return r.err
}

// reason names a passing trouble in a few words.
func reason(err error) string {
	var passing *oauth.TransientError
	var refused *oauth.Error
	var lost *oauth.SendError
	var broken *oauth.ProtocolError
	switch {
	case errors.As(err, &passing) && passing.Status != 0:
		if passing.Reason != "" && passing.Status/100 < 5 && passing.Status != 429 {
			return fmt.Sprintf("%d, %s", passing.Status, passing.Reason)
		}
		return fmt.Sprint(passing.Status)
	case errors.As(err, &passing):
		return passing.Reason
	case errors.As(err, &broken):
		return "a malformed answer"
	case errors.As(err, &refused) && refused.Code != "":
		return refused.Code
	case errors.As(err, &refused):
		return fmt.Sprint(refused.Status)
	case errors.As(err, &lost) && lost.Sent:
		return "no answer"
	case errors.As(err, &lost):
		return "no connection"
	}
	return "no usable answer"
}
