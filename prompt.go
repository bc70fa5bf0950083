package handstamp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/handstamp/handstamp/internal/browser"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/pasted"
)

// Prompt is how a login reaches the user. A nil field means that there is no such way; the zero
// Prompt opens a browser and shows nothing. [TerminalPrompt] returns one for a user at a terminal.
// For one server the functions are called for one login at a time, for different servers at once.
type Prompt struct {
	// Authorize takes the place of browser and listener, for an application with a web page of its
	// own: it sends its user to the authorization URL and returns all parameters with which the
	// authorization server called the redirect URI back. [AuthorizationRequest.State] identifies
	// the call. Handstamp checks state and iss (RFC 9207) itself. Set [Client.RedirectURI] to
	// the URI at which the application receives the call. The parameters of an error response are
	// returned as well: access_denied ends the login with [ErrDenied]. Authorize must return when ctx
	// ends; an error that it returns before ends the login with [ErrLoginRequired].
	//
	// A Client has one login at each server, and so one user. The application accepts the call only
	// from the browser session that it sent away, or else others can have a user signed in to their
	// account. For many users, use package hosted.
	Authorize func(ctx context.Context, r AuthorizationRequest) (url.Values, error)

	// OpenURL opens the authorization URL in a browser. Nil starts the command in
	// HANDSTAMP_BROWSER, else that in BROWSER, else opens the system's, and none if
	// HANDSTAMP_NO_BROWSER is set or, without a command, CI.
	// An error does not end the login as long as Show or Paste is there.
	OpenURL func(ctx context.Context, rawURL string) error

	// Show shows the user what is awaited, before OpenURL is called. The
	// listener is up by then.
	Show func(ctx context.Context, r AuthorizationRequest)

	// ShowCode shows the user the code of a login on another device ([DeviceCode]) and where to enter
	// it, and returns.
	ShowCode func(ctx context.Context, d DeviceAuthorization)

	// Paste waits for the user to paste the URL that the browser ended at:
	// the way in where the browser runs on another machine. It is raced against
	// the listener and must return when ctx ends. The URL has to carry the
	// state of this login; a bare code is rejected. It returns [ErrRegisterAnew] if the
	// user reports that the page shows an error and [AuthorizationRequest.CanRegisterAnew]
	// was set: the login then goes on with a newly registered client.
	Paste func(ctx context.Context) (string, error)

	// Waiting informs the user that another process is signing in to the same
	// server and that its result is awaited. The request is that process's; the
	// user can go on with it in any browser on this machine. It is called again
	// when the URL, empty at first, becomes known or changes, and must return
	// soon.
	Waiting func(ctx context.Context, r AuthorizationRequest)

	// Ended is called when a login is over, however it ended and whichever process has carried it
	// out, before the requests that waited for it go on: what Show, ShowCode or Waiting has shown
	// is not awaited any more. It is called for a login that showed nothing, too, and must return
	// soon.
	Ended func(serverURL string)
}

// AuthorizationRequest is a login that waits for the user.
type AuthorizationRequest struct {
	ServerURL   string // as the user gave it
	Issuer      string // the authorization server
	URL         string // to be opened in a browser; it holds no secret, but is good for one login only
	RedirectURI string

	// State is the state parameter of the URL, and of the callback that belongs to it (RFC 6749,
	// section 4.1.2): an application with several logins under way matches them by it.
	State string

	Scope string // as requested, space-separated

	// CanRegisterAnew reports that the login uses a client from an earlier session, which
	// the authorization server may have forgotten, and that another can be registered.
	// Where it has, often only the user sees it, on a page that never redirects.
	CanRegisterAnew bool
}

// ErrRegisterAnew is what Prompt.Paste returns to have the login go on with a newly
// registered client.
var ErrRegisterAnew = errors.New("handstamp: register the client again")

// LoginPolicy decides whether a request that needs a login may start one.
type LoginPolicy int

const (
	// LoginAuto starts a login when a request is rejected and neither the stored
	// credential nor a refresh helps: once for all requests of all processes.
	LoginAuto LoginPolicy = iota

	// LoginNever returns ErrLoginRequired instead. Client.Login still works, and so do grants
	// that need no user ([Client.Grant]). A 403 that demands more scope is returned as it came.
	LoginNever
)

type withoutLoginKey struct{}

// WithoutLogin returns a context for requests that a program makes by itself, such as those that
// keep a stream open: they refresh the token and do not start a login that needs the user, as with
// [LoginNever].
func WithoutLogin(ctx context.Context) context.Context {
	return context.WithValue(ctx, withoutLoginKey{}, true)
}

// Hooks are called with what happened, synchronously, and must return soon; a nil field is not
// called. No event carries a secret. A hook may be called by several goroutines at once, and must
// not call the Client's methods. A panic in one, or in Prompt.Ended, is recovered and logged to the
// [Client.Logger], so that it cannot interrupt a refresh.
type Hooks struct {
	// Event receives every step, for a log, a diagram or a diagnosis. Without it, and without a
	// [Client.Logger], no event is made.
	Event func(Event)

	// Refreshed and LoggedIn receive the results, for metrics and audit.
	Refreshed func(RefreshEvent)
	LoggedIn  func(LoginEvent)

	// Notice receives what the user should know although it is not an error: a credential without a
	// refresh token, a scope that was left out, a new registration. The message is one sentence.
	Notice func(server, message string)
}

// RefreshEvent is one refresh that this process carried out.
type RefreshEvent struct {
	Server   string
	Issuer   string
	Began    time.Time     // on this machine's clock
	Duration time.Duration // from reserving space to storing the result
	Rotated  bool          // the response carried a new refresh token
	Replayed bool          // the request was sent a second time, after a lost response
	Err      error         // nil on success

	// Resumed reports that an earlier refresh was cut off, and that this one has finished it.
	Resumed bool

	// Outcome is "refreshed", "kept" (the server failed, or rejected a refresh that came early; the
	// token at hand is good), "ended" (the server has ended the login), or else the kind of Err, as in
	// [LoginEvent].
	Outcome string
}

// LoginEvent is one login that this process carried out.
type LoginEvent struct {
	Server   string
	Issuer   string
	Scope    string        // as granted
	Began    time.Time     // on this machine's clock, as Duration counts
	Duration time.Duration // with what the user took; of [Client.CompleteLogin], what that took
	Err      error

	// Outcome is "signed_in", or the kind of Err: "auth_required", "unreachable", "server_unreachable",
	// "denied", "timeout", "protocol", "client_rejected", "registration_required", "store", "usage",
	// "no_login_needed", "closed"; "canceled" where a context ended, and "failed" for any other error.
	Outcome string
}

// The outcomes that are not the kind of an error.
const (
	OutcomeRefreshed = "refreshed"
	OutcomeKept      = "kept"
	OutcomeEnded     = "ended"
	OutcomeSignedIn  = "signed_in"
)

// TerminalPrompt returns a Prompt for a user at a terminal. It writes the URL to
// open to out, opens it in a browser where there is one (the command in
// HANDSTAMP_BROWSER, else in BROWSER, else the system's), and reads from in, a
// line each, the URL that a browser on another machine ended at, or an r where the
// page shows an error and the client can be registered again. Usually out is
// os.Stderr and in is os.Stdin. If in is nil, since os.Stdin is not a terminal or is used for
// something else, nothing can be pasted.
//
// It may be used by several Clients and logins at once. What is pasted goes to one of them at a
// time, the first that waits. A read of in may outlast its login; the next login gets what it
// returns.
func TerminalPrompt(in io.Reader, out io.Writer) Prompt {
	t := &terminalPrompt{out: out}
	p := Prompt{Show: t.show, ShowCode: t.showCode, OpenURL: t.open, Waiting: t.waiting}
	if in != nil {
		t.lines = pasted.New(in)
		p.Paste = t.paste
	}
	return p
}

type terminalPrompt struct {
	lines *pasted.Reader // nil: nothing can be pasted

	mu  sync.Mutex // guards out
	out io.Writer
}

func (t *terminalPrompt) printf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, format, args...)
}

func (t *terminalPrompt) show(_ context.Context, r AuthorizationRequest) {
	how := "Your browser opens; if it does not, open this URL:"
	if _, err := browser.Preferred(os.Getenv); err != nil {
		how = fmt.Sprintf("Open this URL in a browser (none opens by itself: %v):", err)
	}
	paste := ""
	if t.lines != nil {
		t.lines.Offer(r.CanRegisterAnew)
		paste = "\nIf that browser is on another machine, it ends at a page that does not load:\npaste the URL of that page here and press Enter.\n"
	}
	t.printf("Sign in to %s at %s.\n%s\n\n  %s\n%s", oauth.Sanitize(r.ServerURL), oauth.Sanitize(r.Issuer), how, r.URL, paste)
}

func (t *terminalPrompt) showCode(_ context.Context, d DeviceAuthorization) {
	t.printf("Sign in to %s at %s.\nOn any device, open this page and enter the code:\n\n  %s\n  %s\n\nThe code is valid for %v.\n",
		oauth.Sanitize(d.ServerURL), oauth.Sanitize(d.Issuer), d.VerificationURI, d.UserCode,
		time.Until(d.ExpiresAt).Round(time.Minute))
}

// open returns at once: a browser may take as long as it is open.
func (t *terminalPrompt) open(ctx context.Context, rawURL string) error {
	opener, err := browser.Preferred(os.Getenv)
	if err != nil {
		return nil // show has said so
	}
	go func() {
		if err := opener.Open(ctx, rawURL); err != nil && ctx.Err() == nil {
			t.printf("No browser could be opened (%s); open the URL above yourself.\n", oauth.Sanitize(err.Error()))
		}
	}()
	return nil
}

func (t *terminalPrompt) waiting(_ context.Context, r AuthorizationRequest) {
	if r.URL == "" {
		t.printf("Another process is signing in to %s; waiting for it.\n", oauth.Sanitize(r.ServerURL))
		return
	}
	t.printf("Another process is waiting for you to sign in to %s. To continue, open this URL:\n\n  %s\n\n", oauth.Sanitize(r.ServerURL), r.URL)
}

func (t *terminalPrompt) paste(ctx context.Context) (string, error) {
	text, anew, err := t.lines.Next(ctx, func() { t.printf("%s.\n", pasted.Hint) })
	if anew {
		return "", ErrRegisterAnew
	}
	return text, err
}
