package hosted

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/mixup"
	"github.com/handstamp/handstamp/store"
)

// BeginOptions are the options of [App.Begin].
type BeginOptions struct {
	// Session is a value that only the session of this user at the application has, such as its id,
	// and that the browser proves again at the callback. It is required: it keeps an attacker from
	// having another user complete the attacker's login. Only a hash of it is stored.
	Session string

	// ReturnTo is the path in the application where the user goes on after the login. Empty is "/".
	ReturnTo string

	// Force signs in again although the stored login works.
	Force bool

	// Scopes are requested in addition to those that the server names and those of the login before: those
	// that a rejected request needs, for instance.
	Scopes []string
}

// Login is a login that was begun.
type Login struct {
	// URL is where to send the user's browser: to the authorization server, or to ReturnTo if
	// Result is set.
	URL string

	// Result is set if the stored login works, so that the user is not needed.
	Result *handstamp.LoginResult
}

// Begin begins a login of a user at a server, and returns where to send the user's browser. The
// authorization server sends it from there to the callback, on any replica, within ten minutes. Any
// number of logins may wait at once.
//
// The errors are those of [handstamp.Client.BeginLogin].
func (a *App) Begin(
	ctx context.Context, o store.Owner, serverURL string, b BeginOptions,
) (*Login, error) {
	if b.Session == "" {
		return nil, invalid("BeginOptions.Session needs a value of the user's session")
	}
	returnTo := cmp.Or(b.ReturnTo, "/")
	if !isPath(returnTo) {
		return nil, invalid("BeginOptions.ReturnTo must be a path in the application")
	}
	c, end, err := a.beginner(ctx, o, serverURL)
	if err != nil {
		return nil, err
	}
	defer end()
	options := handstamp.LoginOptions{Force: b.Force, Scopes: b.Scopes}
	step, err := c.BeginLogin(mixup.WithRedirectURIs(ctx), serverURL, options)
	a.ownChange(o) // where no user is needed, it is complete
	if err != nil {
		return nil, err
	}
	if step.Result != nil {
		return &Login{URL: returnTo, Result: step.Result}, nil
	}
	s, err := a.pendingStore()
	if err != nil {
		return nil, err
	}
	a.sweepOld(s)
	p := pending{
		Tenant: o.Tenant, User: o.User,
		Server: serverURL, ReturnTo: returnTo, Session: hashOf(b.Session),
	}
	if err := a.suspend(ctx, p, step); err != nil {
		return nil, err
	}
	return &Login{URL: step.Request.URL}, nil
}

// beginner returns the Client that begins a login, and what to call at the end: the user's, or where
// nothing is stored one of its own. A Client keeps a few things of each server, and what users make up
// must not fill the memory.
func (a *App) beginner(
	ctx context.Context, o store.Owner, serverURL string,
) (c *handstamp.Client, end func(), err error) {
	if c, err = a.Client(o); err != nil {
		return nil, nil, err
	}
	key, err := store.NewKey(serverURL, c.Profile)
	if err == nil {
		_, _, err = c.Store.Get(ctx, key)
	}
	if !errors.Is(err, store.ErrNotFound) { // any other error is the login's, too
		return c, func() {}, nil
	}
	own, err := a.newEntry(o)
	if err != nil {
		return nil, nil, err
	}
	return &own.client, func() { _ = own.client.Close(context.WithoutCancel(ctx)) }, nil
}

// isPath reports whether a browser stays at the application with a URL: browsers read a backslash
// as a slash, and leave out control characters.
func isPath(s string) bool {
	odd := func(r rune) bool { return r == '\\' || r < ' ' || r == 0x7f }
	return strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "//") && !strings.ContainsFunc(s, odd)
}
