package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/sealed"
)

// The exit codes. Scripts branch on them, so they never change.
const (
	exitOK          = 0
	exitOther       = 1
	exitUsage       = 2
	exitUnreachable = 3 // the credential is kept; try again later
	exitLogin       = 4 // the user has to sign in, or to configure the client
	exitDenied      = 5 // denied, or the user did not sign in in time
	exitProtocol    = 6 // the server breaks the protocol or a security check
	exitStore       = 7 // the credential store cannot be used
	exitInterrupted = 130
	exitBrokenPipe  = 141 // the reader of standard output has ended
)

// kind is what an error means: a code for programs and an exit code.
type kind struct {
	code string
	exit int
}

// The kinds that the command itself finds.
var (
	kindOther       = kind{"error", exitOther}
	kindUsage       = kind{"usage", exitUsage}
	kindUnreachable = kind{"unreachable", exitUnreachable}
	kindLogin       = kind{"auth_required", exitLogin}
	kindProtocol    = kind{"protocol", exitProtocol}
	kindStore       = kind{"store", exitStore}
	kindInterrupted = kind{"interrupted", exitInterrupted}
)

// kindOf returns the kind of any error. It is the one place where the errors of
// the library become codes.
func kindOf(err error) kind {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.kind
	}
	for _, k := range []struct {
		sentinel error
		kind     kind
	}{
		{handstamp.ErrInvalidConfig, kindUsage},
		{handstamp.ErrNoLoginNeeded, kind{"no_login_needed", exitUsage}},
		{handstamp.ErrUnreachable, kindUnreachable},
		{handstamp.ErrLoginRequired, kindLogin},
		{handstamp.ErrClientRejected, kind{"client_rejected", exitLogin}},
		{handstamp.ErrRegistrationRequired, kind{"registration_required", exitLogin}},
		{handstamp.ErrDenied, kind{"denied", exitDenied}},
		{handstamp.ErrTimeout, kind{"timeout", exitDenied}},
		{handstamp.ErrProtocol, kindProtocol},
		{handstamp.ErrStore, kindStore},
		{store.ErrUnusable, kindStore},
		{store.ErrCorrupt, kindStore},
		{record.ErrNewer, kindStore},
		{context.DeadlineExceeded, kindUnreachable},
	} {
		if errors.Is(err, k.sentinel) {
			return k.kind
		}
	}
	return kindOther
}

// failure is an error of the command itself: one sentence without a period.
type failure struct {
	kind    kind
	message string // may be empty if err is complete
	hint    string // what to do next, may be empty
	err     error  // the cause, may be nil
}

// Error returns the message and the cause.
func (f *failure) Error() string {
	switch {
	case f.err == nil:
		return f.message
	case f.message == "":
		return f.err.Error()
	}
	return f.message + ": " + f.err.Error()
}

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.err }

// usage returns the error for an argument that cannot be used.
func usage(format string, args ...any) *failure {
	return &failure{kind: kindUsage, err: fmt.Errorf(format, args...)}
}

// protocolError returns the error for a server that breaks the protocol.
func protocolError(format string, args ...any) *failure {
	return &failure{kind: kindProtocol, err: fmt.Errorf(format, args...)}
}

// advised is an error about a server, with the command that helps.
type advised struct {
	err     error
	server  string
	command string // may be empty
	hint    string // instead of the library's; may be empty
}

func (a *advised) Error() string { return a.err.Error() }
func (a *advised) Unwrap() error { return a.err }

// advise adds to an error the server that it is about and the command that helps.
func advise(err error, t *target) error {
	if err == nil {
		return nil
	}
	a := &advised{err: err, server: t.url}
	switch kindOf(err).code {
	case "auth_required", "timeout":
		a.command = t.command("login")
	case "no_login_needed":
		a.command = t.command("tools")
	case "registration_required":
		a.command = t.registerCommand("")
		if e, ok := errors.AsType[*handstamp.Error](err); ok {
			a.command = t.registerCommand(e.RedirectURI)
		}
	case "protocol", "client_rejected", "unreachable":
		if e, ok := errors.AsType[*handstamp.Error](err); !ok || e.RetryAt.IsZero() {
			a.command = t.command("doctor") // no other command helps, and it shows why
		}
	}
	return a
}

// gravest returns the exit code of a command with several results from theirs.
func gravest(codes ...int) int {
	for _, code := range []int{exitStore, exitProtocol, exitLogin, exitDenied, exitUnreachable} {
		if slices.Contains(codes, code) {
			return code
		}
	}
	return slices.Max(codes)
}

// exitStatus is the exit code of a child, or of a check whose result is already
// printed. It is not reported.
type exitStatus int

func (e exitStatus) Error() string { return "exit status " + strconv.Itoa(int(e)) }

// ended returns the error of a command that has shown its results; nil for exitOK.
func ended(code int) error {
	if code == exitOK {
		return nil
	}
	return exitStatus(code)
}

// report is an error as it is shown, and the member "error" of all JSON output.
type report struct {
	Code        string     `json:"code"`
	Message     string     `json:"message"`
	Hint        string     `json:"hint,omitempty"`
	Setting     string     `json:"setting,omitempty"` // in config.json, which allows it
	Server      string     `json:"server,omitempty"`
	Command     string     `json:"command,omitempty"`
	OAuthError  string     `json:"oauth_error,omitempty"`
	RetryAt     *time.Time `json:"retry_at,omitempty"`
	RedirectURI string     `json:"redirect_uri,omitempty"`
	Exit        int        `json:"exit"`
}

const inConfig = " for this server in config.json (see handstamp help configuration)"

// settings are the members of a server in config.json by the field of the library's Client that
// each of them sets.
var settings = map[string]struct{ name, hint string }{
	"AuthorizationServer": {"authorization_server",
		"if you know that authorization server, describe it as authorization_server" + inConfig},
	"Grant": {"grant", "use --client-credentials, --workload, --enterprise or --device"},
	"InsecureAllowMissingPKCE": {"allow_missing_pkce",
		`if that server supports PKCE but does not list it, set "allow_missing_pkce": true` + inConfig},
	"InsecureAllowPrivateAddresses": {"allow_private_addresses",
		`if both are yours, set "allow_private_addresses": true` + inConfig},
}

// explain returns the report of an error, nil for none. If ctx, the context of the whole run,
// has ended, that is the reason.
func explain(ctx context.Context, err error) *report {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return &report{Code: kindInterrupted.code, Exit: kindInterrupted.exit, Message: "interrupted"}
	}
	k := kindOf(err)
	r := &report{Code: k.code, Exit: k.exit, Message: err.Error()}
	if a, ok := errors.AsType[*advised](err); ok {
		r.Server, r.Command = a.server, a.command
	}
	if e, ok := errors.AsType[*handstamp.Error](err); ok {
		r.describe(e, err)
	} else if errors.Is(err, context.DeadlineExceeded) {
		r.Message = "no response in time; the credential is kept"
		r.Hint = "allow more time with --timeout"
	}
	if f, ok := errors.AsType[*failure](err); ok {
		r.Hint = f.hint
	}
	if a, ok := errors.AsType[*advised](err); ok && a.hint != "" {
		r.Hint = a.hint
	}
	if _, ok := errors.AsType[*sealed.KeyError](err); ok && r.Hint == "" {
		r.Hint = "nothing is lost: give the key that it was sealed with, in the file that " +
			"HANDSTAMP_STORE_KEY_FILE names; what was sealed with a keyring opens with --store keyring"
	}
	return r
}

// describe adds what an error of the library has, which err is or contains.
func (r *report) describe(e *handstamp.Error, err error) {
	if outer, ok := errors.AsType[*url.Error](err); ok && errors.Is(outer, e) {
		r.Message = e.Error() // net/http's prefix repeats the URL
	}
	r.OAuthError, r.RedirectURI, r.Hint = e.Code, e.RedirectURI, e.Hint
	r.Message = strings.TrimSuffix(r.Message, "; "+e.Hint)
	if s, ok := settings[e.Setting]; ok {
		r.Setting, r.Hint = s.name, s.hint
	}
	r.Server = cmp.Or(r.Server, e.Server)
	if !e.RetryAt.IsZero() {
		r.RetryAt = &e.RetryAt
	}
}

// fail shows an error and returns the exit code.
func (a *app) fail(ctx context.Context, err error) int {
	if status, ok := errors.AsType[exitStatus](err); ok {
		return int(status)
	}
	r := explain(ctx, err)
	if a.global.json {
		_ = a.err.json(map[string]*report{"error": r}, false) // the code is what there is without it
		return r.Exit
	}
	a.err.bad("", "%s", capital(r.Message))
	if r.Hint != "" && !(r.Code == kindLogin.code && r.Command != "") {
		a.err.note("", "%s", capital(r.Hint))
	}
	if r.Command != "" {
		a.err.note("", "Run: %s", r.Command)
	}
	return r.Exit
}
