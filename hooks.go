package handstamp

import "time"

// Hooks are called with what happened, for metrics and audit,
// synchronously and must return soon; a nil field is not called. No event
// carries a secret.
type Hooks struct {
	Refreshed func(RefreshEvent)
	LoggedIn  func(LoginEvent)

	// Notice is what the user should know of and is no error: a credential without a refresh
	// token, a scope that was left out, a new registration. The message is one sentence.
	Notice func(server, message string)
}

// RefreshEvent is one refresh that this process carried out.
type RefreshEvent struct {
	Server   string
	Issuer   string
	Duration time.Duration // from reserving space to storing the result
	Rotated  bool          // the response carried a new refresh token
	Replayed bool          // the request was sent a second time, after a lost response
	Err      error         // nil on success
}

// LoginEvent is one login that this process carried out.
type LoginEvent struct {
	Server string
	Issuer string
	Scope  string // as granted
	Err    error
}
