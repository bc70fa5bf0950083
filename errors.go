package handstamp

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/handstamp/handstamp/store"
)

// What callers branch on; test with errors.Is. Each error that a Client returns
// is one of these kinds, a context's error, or a plain error of a wrong
// argument. A *Error carries the rest.
var (
	// ErrLoginRequired: there is no usable credential and nobody to ask. Run a
	// login, or let the Client start one.
	ErrLoginRequired = errors.New("handstamp: login required")

	// ErrUnreachable: the authorization server could not be asked, or gave an
	// answer that says nothing (5xx, 429, a page of HTML). The credential is
	// kept and a later try may work; a browser would not help.
	ErrUnreachable = errors.New("handstamp: authorization server unreachable")

	// ErrDenied: the person, or the server in the person's name, said no.
	ErrDenied = errors.New("handstamp: access denied")

	// ErrTimeout: nobody answered the login in time.
	ErrTimeout = errors.New("handstamp: nobody completed the login in time")

	// ErrProtocol: the server breaks the protocol, or a security check failed.
	// Trying again does not help.
	ErrProtocol = errors.New("handstamp: the server breaks the protocol")

	// ErrClientRejected: the authorization server does not accept the client id
	// or secret that the user configured. They are kept as they are.
	ErrClientRejected = errors.New("handstamp: the authorization server rejects the configured client")

	// ErrRegistrationRequired: the authorization server lets no client register
	// itself, so somebody has to do it by hand and configure the result.
	ErrRegistrationRequired = errors.New("handstamp: client registration required")

	// ErrStore: the credential store cannot be used; see package store for the
	// cause. Nothing was spent that could not be saved.
	ErrStore = errors.New("handstamp: the credential store cannot be used")

	// ErrUsage: an option or URL that cannot work, found before anything was
	// sent.
	ErrUsage = errors.New("handstamp: invalid option")
)

// Error is what Client methods and the transport return. Its text is one
// sentence without secrets or response bodies; Hint says what to do next.
type Error struct {
	// Kind is one of the sentinels of this package; errors.Is matches it.
	Kind error

	Server  string    // the server as the user gave it
	Message string    // what happened, one sentence, no period
	Hint    string    // what to do next, may be empty
	Code    string    // the OAuth error code, where one was received
	RetryAt time.Time // with ErrUnreachable: when a new try is allowed
	Err     error     // the cause, may be nil

	// AuthorizationURL is set with ErrLoginRequired where the URL to open is
	// known and nothing here could open it.
	AuthorizationURL string

	asked bool // a browser had been opened, or a client registered
}

// follows says that the error ended what began again after first. A person who
// said no, or nothing, is reason enough.
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
	var b strings.Builder
	b.WriteString(e.Message)
	if e.Message == "" {
		b.WriteString(strings.TrimPrefix(e.Kind.Error(), "handstamp: "))
	}
	if e.Err != nil {
		cause := e.Err.Error()
		if e.Kind == ErrStore { // the store says so in its own words; once is enough
			cause = strings.TrimPrefix(cause, store.ErrUnusable.Error()+": ")
		}
		b.WriteString(": ")
		b.WriteString(cause)
	}
	if e.Hint != "" {
		b.WriteString("; ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the error's kind.
func (e *Error) Is(target error) bool { return target == e.Kind }
