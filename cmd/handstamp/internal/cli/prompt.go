package cli

import (
	"context"
	"os"
	"strings"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/browser"
	"github.com/handstamp/handstamp/internal/pasted"
	"golang.org/x/term"
)

// prompt returns the prompts of a login: everything is shown on standard error, the
// browser opens unless a flag or variable prevents it, and on a terminal the user can
// paste the URL that the browser ended at, for browsers on other machines.
func (a *app) prompt(t *target, o *loginOptions) handstamp.Prompt {
	a.hideVariables(o.secret.env, t.config.ClientSecretEnv, o.auth.initialToken.env)
	a.hideVariables(o.auth.set.variables()...)
	a.hideVariables(t.config.variables()...)
	open, reason := a.browserFor(o)
	paste := o.paste || !o.secret.stdin && a.terminalIn()
	lines := pasted.New(a.in)
	how := opens{reason: reason, itself: open != nil, paste: paste}
	openURL := a.openURL(open)
	if how.itself && paste && a.err.terminal && !a.global.json && !a.global.quiet {
		how.enter = true
		waits := newOpening(openURL)
		lines.Enter = func() { a.err.entered(); waits.press() }
		openURL = waits.begin
	}
	p := handstamp.Prompt{
		Show: func(_ context.Context, r handstamp.AuthorizationRequest) {
			lines.Offer(r.CanRegisterAnew)
			a.showRequest(t, r, how)
		},
		OpenURL: openURL,
		Waiting: func(_ context.Context, r handstamp.AuthorizationRequest) { a.showWaiting(t, r) },
	}
	if paste {
		p.Paste = func(ctx context.Context) (string, error) {
			text, anew, err := lines.Next(ctx, func() {
				if !a.global.json {
					a.err.note("", pasted.Hint)
				}
			})
			if anew {
				return "", handstamp.ErrRegisterAnew
			}
			return text, err
		}
	}
	return p
}

// openURL returns a [handstamp.Prompt.OpenURL] that returns at once: a browser may block for as
// long as it is open, while its callback has already arrived. It warns if open, which may be
// nil, fails while the login still waits.
func (a *app) openURL(
	open func(context.Context, string) error,
) func(ctx context.Context, rawURL string) error {
	return func(ctx context.Context, rawURL string) error {
		if open == nil {
			return nil
		}
		go func() {
			if err := open(ctx, rawURL); err != nil && ctx.Err() == nil {
				a.err.warn("", "No browser could be opened (%s); open the URL above yourself",
					short(err.Error()))
			}
		}()
		return nil
	}
}

// browserFor returns what opens a URL, or nil and the reason why the user has to.
func (a *app) browserFor(
	o *loginOptions,
) (open func(context.Context, string) error, reason string) {
	switch {
	case o.paste:
		return nil, "--paste"
	case o.noBrowser:
		return nil, "--no-browser"
	}
	opener, err := browser.Preferred(a.env.get)
	if err != nil {
		return nil, err.Error()
	}
	if a.global.verbose {
		opener.Stderr = lineWriter{a.err}
	}
	return func(ctx context.Context, rawURL string) error {
		opener := opener
		opener.Env = a.childEnv() // as the stored login, which is read last, has it
		return opener.Open(ctx, rawURL)
	}, ""
}

// opens is how the URL of a login gets into a browser.
type opens struct {
	itself bool   // a browser opens
	enter  bool   // when the user presses Enter
	reason string // why none opens: a flag, or what is missing
	paste  bool   // the URL that it ended at can be pasted
}

// noneHere reports that this machine has no browser, other than by a flag.
func (o opens) noneHere() bool { return o.reason != "" && !strings.HasPrefix(o.reason, "--") }

// sentence comes before the URL.
func (o opens) sentence() string {
	switch {
	case o.enter:
		return "Press Enter to open this URL in your browser, which opens by itself in " + span(openDelay) + ":"
	case o.itself:
		return "Your browser opens; if it does not, open this URL:"
	case o.noneHere():
		return "Open this URL in a browser, as none opens by itself: " + short(o.reason)
	}
	return "Open this URL in a browser:"
}

// showRequest shows what the user has to do. The URL is always there: the
// browser that opens may be the wrong one.
func (a *app) showRequest(t *target, r handstamp.AuthorizationRequest, how opens) {
	if a.global.json {
		_ = a.err.json(map[string]any{"login": map[string]any{
			"server": r.ServerURL, "issuer": r.Issuer, "authorization_url": r.URL,
			"redirect_uri": r.RedirectURI, "scope": r.Scope, "browser": how.itself,
		}}, false)
		return
	}
	if how.itself && a.global.quiet {
		return
	}
	a.err.line("Sign in to %s at %s", t.name, r.Issuer)
	tunnel := ""
	if !how.itself {
		tunnel = tunnelCommand(a.env, r.RedirectURI)
	}
	if how.noneHere() && tunnel == "" && how.paste {
		a.showQRCode(r.URL)
	}
	a.err.note("", "%s", how.sentence())
	a.err.raw("\n  " + clean(r.URL) + "\n")
	if tunnel != "" {
		a.err.note("", "If that browser is on the machine from which you came by SSH, run this there first:")
		a.err.raw("\n  " + clean(tunnel) + "\n")
	}
	if how.paste {
		a.err.note("", "If that browser is on another machine, it ends at a page that does not load: "+
			"paste the URL of that page here and press Enter")
	}
}

// showWaiting shows that another process is signing in, and where to continue
// there.
func (a *app) showWaiting(t *target, r handstamp.AuthorizationRequest) {
	switch {
	case a.global.quiet:
	case a.global.json && r.URL != "":
		_ = a.err.json(map[string]any{"waiting": map[string]any{
			"server": r.ServerURL, "issuer": r.Issuer, "authorization_url": r.URL,
		}}, false)
	case a.global.json:
	case r.URL == "":
		a.err.note("", "Another process is signing in to %s; waiting for it", t.name)
	default:
		a.err.note("", "Another process is waiting for you to sign in to %s at %s. "+
			"To continue, open this URL:", t.name, r.Issuer)
		a.err.raw("\n  " + clean(r.URL) + "\n")
	}
}

// terminalIn reports whether standard input is a terminal.
func (a *app) terminalIn() bool {
	f, ok := a.in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
