package cli

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/diagram"
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
	b.diagrams.begin(name)
	b.showEvents(c, name, true)
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

// maxDiagram bounds how many events of a login are kept for its diagram.
const maxDiagram = 500

// showEvents shows on the page what a client does, and keeps it for the diagram if it signs in.
func (b *serveBackend) showEvents(c *handstamp.Client, name string, signsIn bool) {
	narrate := c.Hooks.Event
	c.Hooks.Event = func(e handstamp.Event) {
		if narrate != nil {
			narrate(e)
		}
		if signsIn {
			b.diagrams.add(name, e)
		}
		if e.Step != handstamp.StepStore { // each request of an MCP host reads it
			b.log(webpage.Event{At: e.Time, Server: name, Text: eventLine(e)})
		}
	}
}

// eventLine is an event in one line. What else is known of it is in the diagram.
func eventLine(e handstamp.Event) string {
	line := e.Message
	switch r, d := e.Request, e.Decision; {
	case r != nil && r.Status != 0:
		line = fmt.Sprintf("%s %s → %d", r.Method, r.URL, r.Status)
		if r.Code != "" {
			line += " (" + r.Code + ")"
		}
	case r != nil:
		line = r.Method + " " + r.URL
	case d != nil:
		line = d.About + ": " + d.Choice + " (" + d.Reason + ")"
	}
	if e.Error != "" {
		line += ": " + e.Error
	}
	return short(line)
}

// diagrams has the events of the last login at each server.
type diagrams struct {
	mu     sync.Mutex
	events map[string][]handstamp.Event // by name
}

// begin forgets the last login.
func (d *diagrams) begin(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.events == nil {
		d.events = make(map[string][]handstamp.Event)
	}
	delete(d.events, name)
}

func (d *diagrams) add(name string, e handstamp.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.events[name]) < maxDiagram {
		d.events[name] = append(d.events[name], e)
	}
}

func (d *diagrams) of(name string) []handstamp.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.events[name])
}

// Diagram implements [webpage.Backend].
func (b *serveBackend) Diagram(name string) (html []byte, policy string) {
	events := b.diagrams.of(name)
	if len(events) == 0 {
		return nil, ""
	}
	var document bytes.Buffer
	if err := diagram.Write(&document, "Sign-in to "+events[0].Server, events); err != nil {
		return nil, ""
	}
	return document.Bytes(), diagram.ContentSecurityPolicy
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
	b.endStream(name) // an MCP host may have opened it again meanwhile
	err = b.forgetLogin(ctx, c.Store, t)
	b.mu.Unlock()
	if err != nil {
		return err
	}
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
