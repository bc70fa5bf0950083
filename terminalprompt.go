package handstamp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/handstamp/handstamp/internal/browser"
	"github.com/handstamp/handstamp/internal/oauth"
)

// maxPastedLine bounds a line that a user pastes, in bytes: no URL is longer.
const maxPastedLine = 16 << 10

// TerminalPrompt returns a Prompt for a user at a terminal. It writes the URL to
// open to out, opens it in a browser where there is one (the command in
// HANDSTAMP_BROWSER, else in BROWSER, else the system's), and reads from in, a
// line each, the URL that a browser on another machine ended at. Usually out is
// os.Stderr and in is os.Stdin; nil for in, if that is no terminal or used for
// something else, means that nothing can be pasted.
//
// It may be used by several Clients and logins at once. What is pasted belongs to
// one of them at a time, the first that waits. A read of in that has begun goes on
// when the login has ended; the next login gets what it brings.
func TerminalPrompt(in io.Reader, out io.Writer) Prompt {
	t := &terminalPrompt{out: out}
	p := Prompt{Show: t.show, OpenURL: t.open, Waiting: t.waiting}
	if in != nil {
		t.turn = make(chan struct{}, 1)
		t.in = bufio.NewReaderSize(in, maxPastedLine)
		p.Paste = t.paste
	}
	return p
}

type terminalPrompt struct {
	in   *bufio.Reader   // nil: nothing can be pasted
	turn chan struct{}   // holds one element while a login waits for a line
	line chan pastedLine // the read that has begun; guarded by turn

	mu  sync.Mutex // guards out
	out io.Writer
}

type pastedLine struct {
	text string
	err  error
}

func (t *terminalPrompt) say(format string, args ...any) {
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
	if t.in != nil {
		paste = "\nIf that browser is on another machine, it ends at a page that does not load:\npaste the URL of that page here and press Enter.\n"
	}
	t.say("Sign in to %s at %s.\n%s\n\n  %s\n%s", oauth.Sanitize(r.ServerURL), oauth.Sanitize(r.Issuer), how, r.URL, paste)
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

// paste returns the next line that is not empty. After the end of the input it
// waits for ctx: the browser may still come back to the listener.
func (t *terminalPrompt) paste(ctx context.Context) (string, error) {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	for {
		if t.line == nil {
			t.line = make(chan pastedLine, 1)
			go func(lines chan<- pastedLine) {
				text, err := t.in.ReadSlice('\n')
				lines <- pastedLine{strings.TrimSpace(string(text)), err}
			}(t.line)
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case got := <-t.line:
			t.line = nil
			switch {
			case errors.Is(got.err, bufio.ErrBufferFull):
				return "", errors.New("the pasted line is longer than any URL")
			case got.text != "":
				return got.text, nil
			case got.err != nil:
				<-ctx.Done()
				return "", ctx.Err()
			}
		}
	}
}
