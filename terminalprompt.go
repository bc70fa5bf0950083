package handstamp

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/handstamp/handstamp/internal/browser"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/pasted"
)

// TerminalPrompt returns a Prompt for a user at a terminal. It writes the URL to
// open to out, opens it in a browser where there is one (the command in
// HANDSTAMP_BROWSER, else in BROWSER, else the system's), and reads from in, a
// line each, the URL that a browser on another machine ended at, or an r where the
// page shows an error and the client can be registered anew. Usually out is
// os.Stderr and in is os.Stdin; nil for in, if that is no terminal or used for
// something else, means that nothing can be pasted.
//
// It may be used by several Clients and logins at once. What is pasted belongs to
// one of them at a time, the first that waits. A read of in that has begun goes on
// when the login has ended; the next login gets what it brings.
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

func (t *terminalPrompt) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, format, args...)
}

func (t *terminalPrompt) show(_ context.Context, r AuthorizationRequest) {
	how := "Your browser opens; if it does not, open this URL:"
	if _, err := browser.Preferred(os.Getenv); err != nil {
		how = fmt.Sprintf("Open this URL in a browser, as none opens by itself: %v", err)
	}
	paste := ""
	if t.lines != nil {
		t.lines.Offer(r.CanRegisterAnew)
		paste = "\nIf that browser is on another machine, it ends at a page that does not load:\npaste the URL of that page here and press Enter.\n"
	}
	t.say("Sign in to %s at %s.\n%s\n\n  %s\n%s", oauth.Sanitize(r.ServerURL), oauth.Sanitize(r.Issuer), how, r.URL, paste)
}

func (t *terminalPrompt) showCode(_ context.Context, d DeviceAuthorization) {
	t.say("Sign in to %s at %s.\nOn any device, open this page and enter the code:\n\n  %s\n  %s\n\nThe code is valid for %v.\n",
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
			t.say("No browser could be opened (%s); open the URL above yourself.\n", oauth.Sanitize(err.Error()))
		}
	}()
	return nil
}

func (t *terminalPrompt) waiting(_ context.Context, r AuthorizationRequest) {
	if r.URL == "" {
		t.say("Another process is signing in to %s; waiting for it.\n", oauth.Sanitize(r.ServerURL))
		return
	}
	t.say("Another process is waiting for you to sign in to %s. To continue, open this URL:\n\n  %s\n\n", oauth.Sanitize(r.ServerURL), r.URL)
}

func (t *terminalPrompt) paste(ctx context.Context) (string, error) {
	text, anew, err := t.lines.Next(ctx, func() { t.say("%s.\n", pasted.Hint) })
	if anew {
		return "", ErrRegisterAnew
	}
	return text, err
}
