package cli

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/webpage"
)

// pageLogin is a login that a button has begun.
type pageLogin struct {
	cancel context.CancelFunc

	mu      sync.Mutex
	pending webpage.Pending
}

func (l *pageLogin) shown() *webpage.Pending {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pending
	return &p
}

func (l *pageLogin) set(p webpage.Pending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = p
}

// changed shows on the page what has changed.
func (b *serveBackend) changed() {
	if page := b.page.Load(); page != nil {
		page.Changed()
	}
}

// Login implements [webpage.Backend]: it begins what handstamp login does.
func (b *serveBackend) Login(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.known[name]
	if t == nil || b.logins[name] != nil {
		return nil // gone meanwhile, or under way
	}
	o := &loginOptions{noBrowser: b.noBrowser}
	c, err := b.client(t, o, handstamp.LoginAuto)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &pageLogin{cancel: cancel,
		pending: webpage.Pending{Text: "The server is requested how to sign in."}}
	b.logins[name] = l
	b.promptOnPage(c, t, l, o)
	b.logHooks(c, name)
	go b.login(ctx, c, t, name)
	return nil
}

// login signs in, and shows how that ended.
func (b *serveBackend) login(ctx context.Context, c *handstamp.Client, t *target, name string) {
	result, err := c.Login(ctx, t.url, handstamp.LoginOptions{})
	if err == nil {
		err = result.Rejected
	}
	cancelled := err != nil && ctx.Err() != nil
	b.mu.Lock()
	b.logins[name].cancel()
	delete(b.logins, name)
	if err == nil {
		b.saveSettings(t)
	}
	b.mu.Unlock()
	switch {
	case cancelled:
		b.log(webpage.Event{Server: name, Text: "The sign-in was cancelled"})
	case err != nil:
		r := explain(context.Background(), err)
		text := "Sign-in failed: " + r.Message
		if r.Hint != "" {
			text += "; " + r.Hint
		}
		b.log(webpage.Event{Server: name, Text: text, Mark: webpage.Bad})
	case result.Already:
		b.log(webpage.Event{Server: name, Text: "Already signed in", Mark: webpage.Good})
	default:
		b.log(webpage.Event{Server: name, Text: "Signed in", Mark: webpage.Good})
	}
}

// promptOnPage has the page show what the user has to do.
func (b *serveBackend) promptOnPage(
	c *handstamp.Client, t *target, l *pageLogin, o *loginOptions,
) {
	open, _ := b.browserFor(o)
	c.Prompt.Paste = nil
	c.Prompt.Show = func(_ context.Context, r handstamp.AuthorizationRequest) {
		text := "Sign in to " + t.name + " at " + r.Issuer + ", and come back here."
		if open != nil {
			text = "Sign in to " + t.name + " in the browser tab that opens. If none does:"
		}
		l.set(webpage.Pending{URL: r.URL, Issuer: clean(r.Issuer), Text: clean(text)})
		b.changed()
	}
	c.Prompt.Waiting = func(_ context.Context, r handstamp.AuthorizationRequest) {
		l.set(webpage.Pending{URL: r.URL, Issuer: clean(r.Issuer),
			Text: "Another process is signing in to " + clean(t.name) + ". Continue there, or here:"})
		b.changed()
	}
	c.Prompt.ShowCode = func(_ context.Context, d handstamp.DeviceAuthorization) {
		l.set(webpage.Pending{URL: cmp.Or(d.VerificationURIComplete, d.VerificationURI),
			Issuer: clean(d.Issuer), Code: clean(d.UserCode),
			Text: "On any device, open " + clean(d.VerificationURI) + "."})
		b.changed()
	}
}

// logHooks shows on the page what a client does.
func (b *serveBackend) logHooks(c *handstamp.Client, name string) {
	hooks := c.Hooks
	c.Hooks.Notice = func(server, message string) {
		hooks.Notice(server, message)
		b.log(webpage.Event{Server: name, Text: message})
	}
	c.Hooks.Refreshed = func(e handstamp.RefreshEvent) {
		hooks.Refreshed(e)
		if e.Err != nil {
			b.log(webpage.Event{Server: name, Text: "The access token was not refreshed: " +
				explain(context.Background(), e.Err).Message, Mark: webpage.Bad})
			return
		}
		b.log(webpage.Event{Server: name, Text: "The access token was refreshed"})
	}
}

// Cancel implements [webpage.Backend].
func (b *serveBackend) Cancel(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.logins[name]; l != nil {
		l.cancel()
	}
}

// Logout implements [webpage.Backend]: it does what handstamp logout does.
func (b *serveBackend) Logout(ctx context.Context, name string) error {
	b.mu.Lock()
	t := b.known[name]
	if t == nil {
		b.mu.Unlock()
		return nil
	}
	b.endStream(name)
	local := *t
	local.local = true
	c, err := b.client(&local, &loginOptions{}, handstamp.LoginNever)
	b.mu.Unlock()
	if err != nil {
		return err
	}
	r, err := c.Logout(ctx, t.url, handstamp.LogoutOptions{})
	if err != nil {
		return err
	}
	b.mu.Lock()
	if keys, err := c.Store.List(ctx); err == nil {
		b.forgetFlags(t.profile, keys)
		if !slices.Contains(keys, t.storeKey()) {
			b.forgetSettings(t)
		}
	}
	b.mu.Unlock()
	e := webpage.Event{Server: name, Mark: webpage.Good, Text: "Signed out and deleted here"}
	switch {
	case r.Revoked:
		e.Text = "Signed out: revoked at the server and deleted here"
	case r.RevokeError != nil:
		e.Mark = webpage.Bad
		e.Text = "Signed out here only: the server did not revoke the tokens (" +
			short(r.RevokeError.Error()) + ")"
	}
	b.log(e)
	return nil
}
