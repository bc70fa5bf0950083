package oauth

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/retryafter"
)

// ErrNoMetadata reports that a server has no metadata document: every well-known location responded
// that there is none.
var ErrNoMetadata = errors.New("oauth: no metadata there")

// ErrStateMismatch reports that a callback does not belong to the pending authorization request.
// Anyone may have sent it, so the caller keeps waiting.
var ErrStateMismatch = errors.New("oauth: the callback's state is not ours")

// Error is an error response of an authorization server (RFC 6749 sections
// 4.1.2.1 and 5.2, RFC 7591 section 3.2.2), or a response with the meaning of one. Its texts are
// sanitized.
type Error struct {
	// Code is the OAuth error code, "" if the response has none and only its status and shape
	// show that the client was not accepted.
	Code        string
	Description string

	// Status is the HTTP status, 0 for the authorization response, which
	// comes through the browser.
	Status int

	// RetryAfter is the server's Retry-After, between 1 s and 15 min; 0 if there is none.
	RetryAfter time.Duration

	// Endpoint is the endpoint that responded: "authorization", "token", "registration",
	// "revocation" or "pushed authorization request".
	Endpoint string

	// ClockAhead is by how much the server's clock is ahead of this machine's, from the Date header;
	// 0 if there is none.
	ClockAhead time.Duration
}

// Error returns the code, the server's description and the status.
func (e *Error) Error() string {
	place, what := "authorization server", "an error"
	if e.Endpoint != "" {
		place = Sanitize(e.Endpoint) + " endpoint"
	}
	switch {
	case e.Code != "" && e.Status != 0 && e.Status/100 != 4:
		what = fmt.Sprintf("%s (status %d)", Sanitize(e.Code), e.Status)
	case e.Code != "":
		what = Sanitize(e.Code)
	case e.Status != 0:
		what = fmt.Sprintf("status %d", e.Status)
	}
	text := "oauth: the " + place + " returned " + what
	if e.Description != "" {
		text += fmt.Sprintf(": %q", Sanitize(e.Description))
	}
	return text
}

// Is reports whether target is an [*Error] with the same code, so that
// errors.Is(err, &Error{Code: "access_denied"}) works.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && (t.Status == 0 || t.Status == e.Status)
}

// TransientError reports a failure that may pass: there was no response, or it did not come from
// the authorization server, or it asks to retry later. A caller must not delete anything stored
// because of it.
type TransientError struct {
	Status     int           // HTTP status, 0 if there was no response
	RetryAfter time.Duration // as in Error
	Reason     string        // a few words for the user: "an HTML page", "no response"
	Err        error         // the cause, if there is one
}

// Error returns the reason, the status and the cause.
func (e *TransientError) Error() string {
	text := "oauth: " + e.Reason
	if e.Status != 0 {
		text += fmt.Sprintf(" (status %d)", e.Status)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *TransientError) Unwrap() error { return e.Err }

// ProtocolError reports that a server breaks a rule of the protocol, so that continuing would be
// unsafe or cannot work.
type ProtocolError struct {
	Message  string // for the user, without a full stop; remote text in it is sanitized
	Spec     string // the rule: "RFC 8414 section 3.3"
	Resource string // what the metadata describes, where it is not the server's URL
	Err      error  // the cause, if there is one

	// Missing is the member that a metadata document lacks, if nothing else is wrong with it:
	// another document, or another server, may have it.
	Missing string

	// Unsafe says that the server names a URL that no request may be sent to and no browser open.
	Unsafe bool

	// Setting is the setting with which the user can allow it; [SettingNone] if there is none.
	Setting Setting
}

// Setting is a setting of the client that permits a server to break a rule.
type Setting int

// Values of [Setting].
const (
	SettingNone    Setting = iota
	SettingServer          // the authorization server, described by the user
	SettingPKCE            // that metadata does not list S256
	SettingPrivate         // that addresses are private
)

// Error returns the sentence and the rule.
func (e *ProtocolError) Error() string {
	s := "oauth: " + e.Message
	if e.Spec != "" {
		s += " (" + e.Spec + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *ProtocolError) Unwrap() error { return e.Err }

// SendError reports that a request with a single-use credential got no response.
type SendError struct {
	// Sent is false if the request was certainly not sent: no connection, no TLS. If it is true,
	// the server may have acted on it.
	Sent bool
	Err  error
}

// Error returns the cause and whether the request may have arrived.
func (e *SendError) Error() string {
	if e.Sent {
		return fmt.Sprintf("oauth: no response to a request that may have arrived: %v", e.Err)
	}
	return fmt.Sprintf("oauth: request not sent: %v", e.Err)
}

// Unwrap returns the cause.
func (e *SendError) Unwrap() error { return e.Err }

func protocolErrorf(spec, format string, args ...any) *ProtocolError {
	return &ProtocolError{Message: fmt.Sprintf(format, args...), Spec: spec}
}

// Bounds of a Retry-After: less than a second is no pause, more than 15 minutes is a mistake or an
// attack.
const (
	minRetryAfter = time.Second
	MaxRetryAfter = 15 * time.Minute
)

// retryAfter returns the Retry-After of a response, between 1 s and 15 min; 0 if it has none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	wait, ok := retryafter.Parse(h, now)
	if !ok {
		return 0
	}
	return min(max(wait, minRetryAfter), MaxRetryAfter)
}

// RetryAfter returns how long the server that responded with an error wants to be left alone; 0 if
// it does not specify.
func RetryAfter(err error) time.Duration {
	if failed, ok := errtype.As[*TransientError](err); ok {
		return failed.RetryAfter
	}
	if rejected, ok := errtype.As[*Error](err); ok {
		return rejected.RetryAfter
	}
	return 0
}

// Unprocessed reports whether an error is the response of a server that did not process the
// request: 429 and 503.
func Unprocessed(err error) bool {
	failed, isFailed := errtype.As[*TransientError](err)
	rejected, isRejected := errtype.As[*Error](err)
	later := func(status int) bool {
		return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
	}
	return isFailed && later(failed.Status) || isRejected && later(rejected.Status)
}
