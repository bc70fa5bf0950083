package hosted

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/mixup"
	"github.com/handstamp/handstamp/store"
)

// Outcome is how a login ended.
type Outcome struct {
	// Owner, Server and ReturnTo are those of [App.Begin]. They are empty if no login of this
	// session was found.
	Owner    store.Owner
	Server   string
	ReturnTo string

	// Err is nil if the login is complete: [ErrNoPendingLogin], [ErrOtherSession], or what
	// [handstamp.Client.CompleteLogin] returns. An error of the authorization server is a
	// [*handstamp.Error] with its code.
	Err error

	// Result is set without an error. Its Rejected is set if the MCP server does not accept the
	// login.
	Result *handstamp.LoginResult
}

// Callback returns the handler for CallbackURL and what is below it, which completes logins that any
// replica has begun. It compares the path with that of the login's redirect URI: a proxy may cut off
// how it begins, and must not change the rest.
//
// session returns the value that [App.Begin] was given for the session of a request; "" for none.
// The browser comes from another site, so that a cookie which it is read from must not be
// SameSite=Strict.
//
// done writes the response. Nil: the user is sent to ReturnTo, or shown a page with the error.
func (a *App) Callback(
	session func(*http.Request) string, done func(http.ResponseWriter, *http.Request, Outcome),
) http.Handler {
	if done == nil {
		done = writeOutcome
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		// The URL has a code in it, and no other site gets it.
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "no-referrer")
		outcome, next := a.complete(r, session(r))
		if next != "" {
			http.Redirect(w, r, next, http.StatusSeeOther)
			return
		}
		done(w, r, outcome)
	})
}

// complete completes the login that a request is the callback of. next is where to send the browser
// if the user has to go on at the authorization server.
func (a *App) complete(r *http.Request, session string) (outcome Outcome, next string) {
	ctx, params := r.Context(), r.URL.Query()
	states := params["state"]
	if len(states) != 1 || states[0] == "" {
		return Outcome{Err: ErrNoPendingLogin}, ""
	}
	p, err := a.take(ctx, states[0], session)
	if err != nil {
		return Outcome{Err: err}, ""
	}
	outcome = Outcome{Owner: p.owner(), Server: p.Server, ReturnTo: p.ReturnTo}
	step, err := a.continueLogin(r, p)
	if err == nil && step.Result == nil {
		if err = a.suspend(ctx, *p, step); err == nil {
			return outcome, step.Request.URL
		}
	}
	if err != nil {
		outcome.Err = err
		return outcome, ""
	}
	outcome.Result = step.Result
	return outcome, ""
}

func (a *App) continueLogin(r *http.Request, p *pending) (*handstamp.LoginStep, error) {
	if !p.isAt(r.URL.Path, a.CallbackURL) {
		return nil, &handstamp.Error{Kind: handstamp.ErrProtocol, Server: p.Server,
			Message: "the response came to the redirect URI of another authorization server",
			Hint:    "start again; if it happens each time, a proxy changes the path of the callback"}
	}
	c, err := a.Client(p.owner())
	if err != nil {
		return nil, err
	}
	step, err := c.CompleteLogin(mixup.WithRedirectURIs(r.Context()), p.suspended(), r.URL.Query())
	a.ownChange(p.owner())
	return step, err
}

// isAt reports whether the path of a callback is how that of the login's redirect URI ends, which is
// what a proxy may have left of it. An authorization server may send the browser below what it has
// registered, so that the last segment is not enough.
func (p *pending) isAt(path, callbackURL string) bool {
	u, err := url.Parse(cmp.Or(p.RedirectURI, callbackURL)) // one that began before an update has none
	if err != nil {
		return false
	}
	got, want := "/"+strings.Trim(path, "/"), "/"+strings.Trim(u.Path, "/")
	return got == want || got != "/" && strings.HasSuffix(want, got)
}

// writeOutcome sends the user back to the application, or shows why the login failed.
func writeOutcome(w http.ResponseWriter, r *http.Request, o Outcome) {
	err := o.Err
	if err == nil {
		err = o.Result.Rejected
	}
	if err == nil {
		http.Redirect(w, r, o.ReturnTo, http.StatusSeeOther)
		return
	}
	status, reason := http.StatusBadGateway, err.Error()
	switch {
	case errors.Is(err, ErrNoPendingLogin), errors.Is(err, ErrOtherSession):
		status = http.StatusBadRequest
	case errors.Is(err, handstamp.ErrDenied):
		status = http.StatusForbidden
	case errors.Is(err, handstamp.ErrStore), errors.Is(err, store.ErrUnusable):
		// The text names machines of the application's.
		status, reason = http.StatusServiceUnavailable, "the application cannot be used now; try again later"
	}
	writePage(w, status, o.ReturnTo, reason)
}
