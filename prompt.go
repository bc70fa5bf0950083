package handstamp

import (
	"context"
	"errors"
	"net/url"
)

// Prompt is how a login reaches the user. A nil field means that there is no such way; the zero
// Prompt opens a browser and shows nothing. [TerminalPrompt] returns one for a user at a terminal.
// For one server the functions are called for one login at a time, for different servers at once.
type Prompt struct {
	// Authorize takes the place of browser and listener, for an application with a web page of its
	// own: it sends its user to the authorization URL and returns all parameters with which the
	// authorization server called the redirect URI back. [AuthorizationRequest.State] identifies
	// the call. Handstamp checks state and iss (RFC 9207) itself. Set [Client.RedirectURI] to
	// the URI at which the application receives the call. Authorize must return when ctx ends.
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
var ErrRegisterAnew = errors.New("handstamp: register the client anew")

// LoginPolicy decides whether a request that needs a login may start one.
type LoginPolicy int

const (
	// LoginAuto starts a login when a request is rejected and neither the stored
	// credential nor a refresh helps: once for all requests of all processes.
	LoginAuto LoginPolicy = iota

	// LoginNever returns ErrLoginRequired instead. Client.Login still works.
	LoginNever
)
