package handstamp

import (
	"context"
	"errors"
	"net/url"
	"os"
	"strings"

	"github.com/handstamp/handstamp/internal/browser"
	"github.com/handstamp/handstamp/internal/loopback"
	"github.com/handstamp/handstamp/internal/oauth"
)

// hookRedirectURI is registered where the application receives the callback
// itself and did not say where.
const hookRedirectURI = "http://127.0.0.1/callback"

// callbackReceiver is a login's way to the person and back: a browser and a listener on
// the loopback interface, the terminal, or the application's own.
type callbackReceiver struct {
	redirectURI string
	listener    *loopback.Listener
	answered    bool                        // the listener has a browser waiting for its page
	expect      chan func(url.Values) error // holds what tells the expected callback from a stranger's
}

// openCallback makes sure that the answer can be received, before anybody is asked and
// before a redirect URI is registered.
func (l *loginFlow) openCallback(ctx context.Context) error {
	if l.callback.listener != nil {
		return nil
	}
	if l.c.Prompt.Authorize != nil {
		if l.callback.redirectURI = l.c.RedirectURI; l.callback.redirectURI == "" {
			l.callback.redirectURI = hookRedirectURI
		}
		return nil
	}
	options := l.listenerOptions()
	options.Port = l.c.CallbackPort
	configured := l.activeRegistration()
	learned := l.rec.LearnedOf(l.plan.server.Issuer)
	stored := false
	switch old := l.rec.NewestClient(l.plan.server.Issuer); {
	case l.callback.redirectURI != "":
		// The port that an attempt before this one gave back may be gone, too.
		options.RedirectURI = l.callback.redirectURI
		stored = l.c.RedirectURI == "" && l.c.CallbackPort == 0 && configured == nil
	case l.c.RedirectURI != "":
		options.RedirectURI = l.c.RedirectURI
		if !loopbackURI(options.RedirectURI) {
			return &Error{Kind: ErrInvalidConfig, Server: l.serverURL,
				Message: "the redirect URI does not lead to this machine, so only the application itself can receive the callback",
				Hint:    "set Prompt.Authorize"}
		}
	case configured != nil && len(configured.RedirectURIs) > 0 &&
		loopbackURI(configured.RedirectURIs[0]) && l.c.CallbackPort == 0:
		options.RedirectURI = configured.RedirectURIs[0]
	case old != nil && !old.Refused && len(old.RedirectURIs) > 0 && loopbackURI(old.RedirectURIs[0]) && l.c.CallbackPort == 0:
		// Many servers compare redirect URIs exactly, against RFC 8252 section
		// 7.3: the port is part of the registration.
		options.RedirectURI, stored = old.RedirectURIs[0], true
	case learned.NamedRedirectURI != "" && loopbackURI(learned.NamedRedirectURI) && l.c.CallbackPort == 0:
		options.RedirectURI, stored = learned.NamedRedirectURI, configured == nil
	default:
		options.RedirectURI = redirectAt(learned.RedirectHost)
	}
	l.callback.expect = make(chan func(url.Values) error, 1)
	listener, err := loopback.Listen(ctx, options)
	var taken *loopback.PortTakenError
	if errors.As(err, &taken); err != nil && stored {
		// Another program has the port, or the server has registered what no
		// listener can be at. The client is registered once more; the old
		// registration stays for the refresh token that is bound to it.
		again := l.listenerOptions()
		again.RedirectURI = redirectAt(learned.RedirectHost)
		listener, err = loopback.Listen(ctx, again)
	}
	if err != nil {
		e := &Error{Kind: ErrInvalidConfig, Server: l.serverURL, Message: "the callback cannot be received", Err: err}
		if taken != nil {
			e.Hint = "end the program that uses the port, or choose another callback port"
		}
		return e
	}
	l.callback.listener, l.callback.redirectURI = listener, listener.RedirectURI()
	return nil
}

// redirectAt returns a redirect URI on a host of this machine, with any port; "" if
// the host is not known.
func redirectAt(host string) string {
	if host == "" {
		return ""
	}
	return "http://" + host + "/callback"
}

// ownsRedirectURI reports whether the redirect URI is Handstamp's own choice.
func (l *loginFlow) ownsRedirectURI() bool {
	return l.callback.listener != nil && l.c.RedirectURI == "" && l.activeRegistration() == nil
}

// moveCallback has the listener be where the browser will go, on the first of the hosts,
// if it is not there already.
func (l *loginFlow) moveCallback(ctx context.Context, hosts []string) error {
	u, err := url.Parse(l.callback.redirectURI)
	if len(hosts) == 0 || err != nil || u.Hostname() == hosts[0] {
		return nil
	}
	l.callback.close()
	l.callback.redirectURI = ""
	options := l.listenerOptions()
	options.RedirectURI, options.Port = redirectAt(hosts[0]), l.c.CallbackPort
	listener, err := loopback.Listen(ctx, options)
	if err != nil {
		return &Error{Kind: ErrInvalidConfig, Server: l.serverURL, Message: "the callback cannot be received at " + hosts[0], Err: err}
	}
	l.callback.listener, l.callback.redirectURI = listener, listener.RedirectURI()
	return nil
}

// listenerOptions returns what does not depend on where the listener is.
func (l *loginFlow) listenerOptions() loopback.Options {
	_, server, _ := strings.Cut(strings.TrimSuffix(l.target, "/"), "://")
	o := loopback.Options{Accept: l.callback.accept, Application: l.c.ClientName, Server: server}
	if u, err := url.Parse(l.plan.server.AuthorizationEndpoint); err == nil {
		o.FormOrigin = strings.TrimSuffix(oauth.StandardURL(oauth.Origin(u)), "/")
	}
	return o
}

// accept judges a call to the redirect URI: the login's own, or a stranger's.
func (o *callbackReceiver) accept(params url.Values) error {
	select {
	case judge := <-o.expect:
		o.expect <- judge
		return judge(params)
	default:
		return loopback.ErrIgnore // nobody has been asked yet
	}
}

// requestCode sends the person to the authorization server and returns the code. A call
// or a paste that is not the answer to this request does not end the wait.
func (o *callbackReceiver) requestCode(ctx context.Context, s *session, r AuthorizationRequest, want oauth.ExpectedCallback) (oauth.Secret, error) {
	prompt := s.c.Prompt
	if prompt.Authorize != nil {
		params, err := prompt.Authorize(ctx, r)
		if err != nil && ctx.Err() == nil {
			return "", &Error{Kind: ErrLoginRequired, Server: s.serverURL, Err: err,
				Message: "a user has to sign in, and the application returned no response"}
		}
		if err != nil {
			return "", ctx.Err()
		}
		code, err := oauth.ParseCallback(params, want)
		if errors.Is(err, oauth.ErrStateMismatch) {
			return "", protocolError(s.serverURL, err)
		}
		return code, err
	}

	judge := s.callbackJudge(want)
	o.expect <- judge
	defer func() { <-o.expect }()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type callback struct {
		params url.Values
		err    error
		pasted bool
	}
	callbacks := make(chan callback, 2)
	listener := o.listener // which close takes away
	go func() {
		params, err := listener.Wait(ctx)
		callbacks <- callback{params: params, err: err}
	}()
	if prompt.Show != nil {
		prompt.Show(ctx, r)
	}
	// An opener may take as long as the browser lives.
	unopened := make(chan error, 1)
	go func() {
		if err := s.openBrowser(ctx, r); err != nil {
			unopened <- err
		}
	}()
	if prompt.Paste != nil {
		go func() {
			params, err := s.paste(ctx, r, judge)
			switch {
			case err == nil:
				callbacks <- callback{params: params, err: judge(params), pasted: true}
			case errors.Is(err, ErrRegisterAnew):
				callbacks <- callback{err: err, pasted: true}
			}
		}()
	}
	select {
	case c := <-callbacks:
		o.answered = !c.pasted
		if c.params == nil {
			return "", c.err
		}
		return oauth.ParseCallback(c.params, want)
	case err := <-unopened:
		select {
		case c := <-callbacks: // whatever the opener says, the person was there
			if c.params != nil {
				o.answered = !c.pasted
				return oauth.ParseCallback(c.params, want)
			}
			return "", c.err
		default:
			return "", err
		}
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// openBrowser opens the authorization URL. That it cannot is an error only where
// there is no other way to the person.
func (s *session) openBrowser(ctx context.Context, r AuthorizationRequest) error {
	open := s.c.Prompt.OpenURL
	if open == nil {
		open = openPreferredBrowser
	}
	err := open(ctx, r.URL)
	if err == nil {
		return nil
	}
	if ctx.Err() == nil && (s.c.Prompt.Show != nil || s.c.Prompt.Paste != nil) {
		s.notice("no browser could be opened: %v", err)
		return nil
	}
	return &Error{Kind: ErrLoginRequired, Server: s.serverURL, Err: err,
		Message: "a user has to sign in, and no browser could be opened",
		Hint:    "set Prompt.Show, or take TerminalPrompt, to show the URL"}
}

// openPreferredBrowser opens a URL in the browser that the environment names, or
// else in the system's.
func openPreferredBrowser(ctx context.Context, rawURL string) error {
	opener, err := browser.Preferred(os.Getenv)
	if err != nil {
		return err
	}
	return opener.Open(ctx, rawURL)
}

// paste asks for the URL that the browser ended at until it is the right one.
func (s *session) paste(ctx context.Context, r AuthorizationRequest, judge func(url.Values) error) (url.Values, error) {
	for {
		pasted, err := s.c.Prompt.Paste(ctx)
		if errors.Is(err, ErrRegisterAnew) && !r.CanRegisterAnew {
			s.notice("the client was registered just now, or by hand; another would change nothing")
			continue
		}
		if err != nil {
			return nil, err
		}
		params, err := pastedParams(pasted, r.RedirectURI)
		var verdict error
		if err == nil {
			if verdict = judge(params); !errors.Is(verdict, loopback.ErrIgnore) {
				return params, nil
			}
			err = errors.New("that URL belongs to another sign-in")
		}
		if unbound, ok := errors.AsType[*loopback.UnboundError](verdict); ok {
			err = errors.New("that URL reports the error " + unbound.Code + ", but has no state")
		}
		s.notice("%v; paste the whole address that the browser shows after you have signed in", err)
	}
}

// finish shows the waiting browser how the login ended.
func (o *callbackReceiver) finish(message string, err error) {
	if o.listener == nil {
		return
	}
	if o.answered {
		o.listener.Finish(loopback.Page{Message: message, Err: err})
	}
	o.answered = false
	o.close()
}

// close gives the port back.
func (o *callbackReceiver) close() {
	if o.listener != nil {
		o.listener.Close()
		o.listener = nil
	}
}

// loopbackURI reports whether a redirect URI leads to this machine (RFC 8252,
// section 7.3).
func loopbackURI(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Scheme == "http" && oauth.IsLoopback(u.Hostname())
}

// pastedParams returns the parameters of a URL that a person pasted, if it leads
// to the redirect URI.
func pastedParams(pasted, redirectURI string) (url.Values, error) {
	got, err := url.Parse(strings.TrimSpace(pasted))
	if err != nil {
		return nil, errors.New("that is not a URL")
	}
	want, err := url.Parse(redirectURI)
	if err != nil {
		return nil, err
	}
	if got.Scheme != want.Scheme || got.Host != want.Host || got.Path != want.Path || got.User != nil {
		return nil, errors.New("that URL does not begin with " + redirectURI)
	}
	return url.ParseQuery(got.RawQuery)
}
