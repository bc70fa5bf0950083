package handstamp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// What callers branch on; test with errors.Is. Each error that a Client returns
// is one of these kinds, a context's error, or a plain error of a wrong
// argument. A *Error carries the rest.
var (
	// ErrLoginRequired: there is no usable credential, and only a user can help. Run a
	// login, or let the Client start one. It is also the error of a request whose context ends while
	// a login waits for the user.
	ErrLoginRequired = errors.New("handstamp: login required")

	// ErrUnreachable: a server could not be reached, or its response decides nothing
	// (5xx, 429, a page of HTML). The credential is kept and a later try may work; a
	// browser would not help. The MCP server's own 503 is a response, which a Transport
	// returns as it came; it returns ErrUnreachable if there was no response, or if the
	// authorization server failed.
	ErrUnreachable = errors.New("handstamp: server unreachable")

	// ErrServerUnreachable: the MCP server itself, and not its authorization
	// server, could not be reached. It is an ErrUnreachable, too.
	ErrServerUnreachable = errors.New("handstamp: MCP server unreachable")

	// ErrDenied: the user, or the server in the user's name, has denied access.
	ErrDenied = errors.New("handstamp: access denied")

	// ErrTimeout: the user did not complete the login in time.
	ErrTimeout = errors.New("handstamp: the login was not completed in time")

	// ErrProtocol: the server breaks the protocol, or a security check failed.
	// Trying again does not help.
	ErrProtocol = errors.New("handstamp: the server breaks the protocol")

	// ErrClientRejected: the authorization server does not accept the client id
	// or secret that the user configured. They are kept as they are.
	ErrClientRejected = errors.New("handstamp: the authorization server rejects the configured client")

	// ErrRegistrationRequired: the authorization server lets no client register
	// itself, so a user has to do it by hand and configure the result.
	ErrRegistrationRequired = errors.New("handstamp: client registration required")

	// ErrStore: the credential store cannot be used; see package store for the
	// cause. No refresh token was used whose successor could not be saved.
	ErrStore = errors.New("handstamp: the credential store cannot be used")

	// ErrInvalidConfig: an option or URL that cannot work, found before anything secret was
	// sent: nothing listens there for MCP, for instance.
	ErrInvalidConfig = errors.New("handstamp: invalid option")

	// ErrNoLoginNeeded: the MCP server responds without a token and names no
	// authorization server, so there is nothing to sign in to.
	ErrNoLoginNeeded = errors.New("handstamp: the server needs no login")

	// ErrClosed: the Client was closed, and its stored tokens do not serve the request.
	ErrClosed = errors.New("handstamp: the client is closed")
)

// Error is what Client methods and the transport return. Its text is one
// sentence without secrets or response bodies; Hint names the next step.
type Error struct {
	// Kind is one of the sentinels of this package; errors.Is matches it.
	Kind error

	Server  string    // the server as the user gave it
	Message string    // what happened, one sentence, no period
	Hint    string    // what to do next, may be empty
	Setting string    // the Client field that accepts what is wrong; empty if there is none
	Code    string    // the OAuth error code, where one was received
	RetryAt time.Time // when a new try is allowed, where a server or a cooldown has set that
	Err     error     // the cause, may be nil

	// RedirectURI is set with ErrRegistrationRequired: the redirect URI to register. The
	// next login listens there.
	RedirectURI string

	opened bool // a browser had been opened, or a client registered
	quiet  bool // Message has of Err what the text shows

	// unrefreshed is set with ErrUnreachable where the authorization server did
	// respond to a refresh, with a 4xx that says nothing about the login.
	unrefreshed bool
}

// follows adds the error that an attempt before this one ended with. A user who
// denied the login, or did not respond, is reason enough.
func (e *Error) follows(first error) {
	switch {
	case first == nil || e.Kind == ErrDenied || e.Kind == ErrTimeout:
	case e.Err == nil:
		e.Err = first
	case !errors.Is(e.Err, first):
		e.Err = fmt.Errorf("%w (and before that: %w)", e.Err, first)
	}
}

// Error returns the message, the cause and the hint.
func (e *Error) Error() string {
	text := e.Message
	if text == "" && e.Kind != nil {
		text = strings.TrimPrefix(e.Kind.Error(), "handstamp: ")
	}
	text = cmp.Or(text, "unknown error")
	if e.Err != nil && !e.quiet {
		cause := strings.TrimPrefix(e.Err.Error(), "oauth: ")
		if e.Kind == ErrStore { // the store has words of its own for it; once is enough
			cause = strings.TrimPrefix(cause, store.ErrUnusable.Error()+": ")
		}
		text += ": " + cause
	}
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the error's kind, or [ErrUnreachable] for an
// [ErrServerUnreachable].
func (e *Error) Is(target error) bool {
	return target == e.Kind || target == ErrUnreachable && e.Kind == ErrServerUnreachable
}

// Timeout reports whether the cause was a timeout, as the errors of package net do.
func (e *Error) Timeout() bool {
	t, ok := errtype.As[interface {
		error
		Timeout() bool
	}](e.Err)
	return ok && t.Timeout()
}

// errorFactory makes the errors of one server's flows.
type errorFactory struct {
	serverURL string
	config    *configuration
	secrets   *knownSecrets
}

// closedError returns the error of work that would outlive a closed Client. It is a new one each time:
// a login adds to the error that it ends with.
func closedError() error { return &Error{Kind: ErrClosed} }

// errStoreBusy is the cause of the end of a context that we bound the wait for a
// store with.
var errStoreBusy = errors.New("other processes have been using it for too long")

// storeError returns the error of a store that cannot be used, unless it was the caller who did
// not want to wait for it any longer.
func storeError(ctx context.Context, server string, err error) error {
	if busy := store.Busy(err); busy != nil {
		return &Error{Kind: ErrStore, Server: server, Err: err, Hint: busy.Hint()}
	}
	if ended := ctx.Err(); ended != nil && errors.Is(err, ended) {
		cause := context.Cause(ctx)
		if cause == ended {
			return ended
		}
		err = cause
	}
	e := &Error{Kind: ErrStore, Server: server, Err: err}
	if errors.Is(err, record.ErrNewer) {
		e.Hint = "update this program, or sign in under another profile"
	}
	return e
}

func protocolError(server string, err error) *Error {
	return &Error{Kind: ErrProtocol, Server: server, Err: err}
}

// settings are the fields of a Client that accept what is wrong.
var settings = map[oauth.Setting]struct{ field, hint string }{
	oauth.SettingServer: {"AuthorizationServer",
		"if you know that authorization server, describe it in the client's AuthorizationServer"},
	oauth.SettingPKCE: {"InsecureAllowMissingPKCE",
		"if that server supports PKCE and only omits to say so, set the client's InsecureAllowMissingPKCE"},
	oauth.SettingPrivate: {"InsecureAllowPrivateAddresses",
		"if both are yours, set the client's InsecureAllowPrivateAddresses"},
}

// withSetting names the setting that accepts what an error is about.
func withSetting(e *Error, setting oauth.Setting) *Error {
	e.Setting, e.Hint = settings[setting].field, settings[setting].hint
	return e
}

// unreachable returns the error of an authorization server that could not refresh the login, with
// the time of the next try.
func (f errorFactory) unreachable(rec *record.Record, cause error) error {
	e := &Error{Kind: ErrUnreachable, Server: f.serverURL, Err: cause, unrefreshed: saysNothing(cause),
		Message: "the authorization server cannot refresh the login now; the credential is kept"}
	if r := rec.Retry; r != nil {
		e.RetryAt = r.NotBefore
		e.Message = fmt.Sprintf("the authorization server cannot refresh the login now (%s); the credential is kept", r.Reason)
		if wait := time.Until(r.NotBefore).Round(time.Second); wait > 0 {
			e.Hint = fmt.Sprintf("try again in %v", wait)
		}
		e.quiet = true // or the text would depend on which process made the request
	}
	return e
}

// saysNothing reports whether err is a 4xx response that neither rejects anything
// nor promises another response later.
func saysNothing(err error) bool {
	status := 0
	if transient, ok := errtype.As[*oauth.TransientError](err); ok {
		status = transient.Status
	} else if rejected, ok := errtype.As[*oauth.Error](err); ok && !passingCodes[rejected.Code] {
		status = rejected.Status
	}
	return status/100 == 4 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout
}

// passingCodes are the OAuth error codes that promise another response later.
var passingCodes = map[string]bool{"temporarily_unavailable": true, "server_error": true, "slow_down": true}

// tooEarly returns the error of a refresh that was rejected while the access token is good.
func (f errorFactory) tooEarly(rec *record.Record, rejected *oauth.Error) error {
	return &Error{Kind: ErrUnreachable, Server: f.serverURL, Code: rejected.Code, RetryAt: rec.Grant.ExpiresAt,
		Message: "the authorization server rejects a refresh while the access token is valid; both are kept", Err: rejected}
}

// loginRequired returns the error of a credential that only a user can fix, with the reason.
func (f errorFactory) loginRequired(rec *record.Record) error {
	e := &Error{Kind: ErrLoginRequired, Server: f.serverURL, Hint: "sign in to " + addressOf(f.serverURL)}
	client := rec.GrantClient()
	switch ended := rec.GrantError; {
	case ended != nil && ended.Guessed:
		e.Message = "the server goes on rejecting the refresh token without a reason (" + ended.Code + ")"
	case ended != nil:
		e.Code, e.Message = ended.Code, "the server ended the login ("+ended.Code+")"
		if ended.Interrupted {
			e.Message += " after a refresh had been interrupted before its result could be stored"
		}
	case rec.Grant == nil:
		e.Message, e.Hint = "not signed in to "+addressOf(f.serverURL), ""
	case client != nil && f.config.belongsElsewhere(client):
		e.Message = "the login was made at " + client.Issuer +
			", but the configured client belongs to " + f.config.configuredIssuer()
	case client != nil && secretExpired(f.config.withConfiguredSecret(client), rec.Grant, time.Now()):
		ended := f.config.withConfiguredSecret(client).SecretExpiresAt
		e.Message = "the login cannot be refreshed: the client secret expired at " + ended.Format(time.RFC3339)
	case rec.Grant.RefreshToken != "":
		e.Message = "the server no longer accepts the login"
	case rec.Grant.Rejected:
		e.Message = "the access token does not work any more, and the server gave no refresh token"
	default:
		e.Message = "the login has expired, and the server gave no refresh token"
	}
	return e
}

// notRefreshable reports that an access token which works, but not for as long
// as is needed, is all there is.
func (f errorFactory) notRefreshable(rec *record.Record) error {
	if rec.GrantError != nil || rec.Grant.RefreshToken != "" {
		return f.loginRequired(rec)
	}
	e := &Error{Kind: ErrLoginRequired, Server: f.serverURL, Hint: "sign in again",
		Message: "the access token cannot be refreshed: the server gave no refresh token"}
	if expires := rec.Grant.ExpiresAt; !expires.IsZero() {
		e.Message += fmt.Sprintf("; it is valid for %v", time.Until(expires).Round(time.Second))
	}
	return e
}

// loginUnderWay returns the error for a request whose context ended while a
// login was waiting for the user. The login outlives the request.
func (f errorFactory) loginUnderWay(ctx context.Context) error {
	return &Error{Kind: ErrLoginRequired, Server: f.serverURL, Err: ctx.Err(),
		Message: "a login is under way, and the request ended before the user completed it",
		Hint:    "complete the login in the browser, then try again"}
}

// clientRejected returns the error of a configured client that the authorization server rejects.
func (f errorFactory) clientRejected(c *record.Client, rejected *oauth.Error) *Error {
	e := &Error{Kind: ErrClientRejected, Server: f.serverURL, Code: rejected.Code, Err: rejected,
		Message: fmt.Sprintf("%s does not accept the configured client %q", c.Issuer, c.ID),
		Hint:    "check the client id, the client secret and the token endpoint auth method"}
	switch note := clockNote(rejected.ClockAhead); {
	case oauth.UsesAssertion(c.Method) && note != "":
		e.Hint = note + ", so the server may not accept what it signs: set the clock"
	case c.Method == oauth.MethodPrivateKeyJWT:
		e.Hint = "check the client id, and that the server has the public key of " + f.config.Key.ID()
	case oauth.UsesCertificate(c.Method):
		e.Hint = "check the client id, and that the server knows the client certificate"
	}
	return e
}

// reason names a transient error in a few words.
func reason(err error) string {
	var passing *oauth.TransientError
	var rejected *oauth.Error
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
		return "a malformed response"
	case errors.As(err, &rejected) && rejected.Code != "":
		return rejected.Code
	case errors.As(err, &rejected):
		return fmt.Sprint(rejected.Status)
	case errors.As(err, &lost) && lost.Sent:
		return "no response"
	case errors.As(err, &lost):
		return "no connection"
	}
	return "no usable response"
}

// from turns an error of the protocol layer into one that callers branch on.
func (f errorFactory) from(err error) error {
	var known *Error
	var broken *oauth.ProtocolError
	var blocked *oauth.BlockedError
	var rejected *oauth.Error
	if !errors.As(err, &known) { // a document may have what the server knows of the login
		err = oauth.RedactError(err, f.secrets.all())
	}
	switch {
	case known != nil:
		return err
	case errors.As(err, &broken):
		return withSetting(protocolError(f.serverURL, err), broken.Setting)
	case errors.As(err, &blocked):
		setting := oauth.SettingNone
		if blocked.Allowable() {
			setting = oauth.SettingPrivate
		}
		return withSetting(protocolError(f.serverURL, err), setting)
	case errors.As(err, &rejected) && rejected.Class() != oauth.ClassTransient:
		e := &Error{Kind: ErrProtocol, Server: f.serverURL, Code: rejected.Code, Err: err,
			Message: "the authorization server rejected the login"}
		if rejected.Code == "invalid_dpop_proof" {
			e.Hint = clockNote(rejected.ClockAhead)
		}
		return e
	case errors.Is(err, oauth.ErrNoMetadata):
		return withSetting(&Error{Kind: ErrProtocol, Server: f.serverURL, Err: err,
			Message: "the authorization server that the server names has no metadata"}, oauth.SettingServer)
	case errors.Is(err, context.Canceled):
		return err
	}
	e := &Error{Kind: ErrUnreachable, Server: f.serverURL, Err: err}
	e.Message, e.Hint = unreached(err)
	if wait := oauth.RetryAfter(err); wait > 0 {
		e.RetryAt = time.Now().Add(wait)
		e.Hint = fmt.Sprintf("try again in %v", wait)
	}
	return e
}

// unreached describes why a request to the authorization server brought nothing.
func unreached(err error) (message, hint string) {
	if unmade(err) {
		return "the request to the authorization server could not be made", ""
	}
	return fmt.Sprintf("the authorization server cannot be reached (%s)", reason(err)), "try again"
}

// unmade reports whether an error is of this machine: the request could not be made, as where the
// client's key is in a KMS that does not sign.
func unmade(err error) bool {
	var passing *oauth.TransientError
	var rejected *oauth.Error
	var lost *oauth.SendError
	var broken *oauth.ProtocolError
	return err != nil && !errors.As(err, &passing) && !errors.As(err, &rejected) && !errors.As(err, &lost) &&
		!errors.As(err, &broken)
}
