package handstamp

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/handstamp/handstamp/internal/browser"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/loopback"
	"github.com/handstamp/handstamp/internal/mixup"
	"github.com/handstamp/handstamp/internal/oauth"
)

// hookRedirectURI is registered where the application receives the callback
// itself and did not say where.
const hookRedirectURI = "http://127.0.0.1/callback"

// callbackReceiver takes a login to the user and brings the response back: a browser and a
// listener on the loopback interface, the terminal, or the application's own page.
type callbackReceiver struct {
	*loginState
	redirectURI  string
	listener     *loopback.Listener
	browserWaits bool                        // the listener has a browser waiting for its page
	expect       chan func(url.Values) error // holds what tells the expected callback from a stranger's
}

// open makes sure that the callback can be received, before the user is sent anywhere and
// before a redirect URI is registered.
func (cb *callbackReceiver) open(ctx context.Context) error {
	if cb.listener != nil {
		return nil
	}
	if cb.suspends {
		if cb.config.RedirectURI == "" {
			return &Error{Kind: ErrInvalidConfig, Server: cb.serverURL, Hint: "set RedirectURI",
				Message: "a login in steps needs the URL at which the application receives the callback"}
		}
		cb.redirectURI = cmp.Or(cb.redirectURI, cb.config.RedirectURI) // a further attempt keeps that of its client
		return nil
	}
	if cb.config.Prompt.Authorize != nil {
		cb.redirectURI = cmp.Or(cb.config.RedirectURI, hookRedirectURI)
		return nil
	}
	if uri := cb.config.RedirectURI; uri != "" && !oauth.IsLoopbackURI(uri) {
		return &Error{Kind: ErrInvalidConfig, Server: cb.serverURL,
			Message: "the redirect URI does not lead to this machine, so only the application itself can receive the callback",
			Hint:    "set Prompt.Authorize"}
	}
	uri, replaceable := cb.chooseRedirectURI()
	cb.expect = make(chan func(url.Values) error, 1)
	err := cb.listen(ctx, uri, cb.config.CallbackPort)
	if err != nil && replaceable {
		// Another program has the port, or the server has registered what no
		// listener can be at. The client is registered once more; the old
		// registration stays for the refresh token that is bound to it.
		err = cb.listen(ctx, redirectAt(cb.rec.LearnedOf(cb.plan.server.Issuer).RedirectHost), 0)
	}
	if err == nil {
		return nil
	}
	e := &Error{Kind: ErrInvalidConfig, Server: cb.serverURL, Message: "the callback cannot be received", Err: err}
	if _, taken := errtype.As[*loopback.PortTakenError](err); taken {
		e.Hint = "end the program that uses the port, or choose another callback port"
	}
	return e
}

// forClient sets the redirect URI of a login in steps: that of a client which this application registers
// may be the issuer's own, where its responses do not name it; any other client has been set up with the
// configured one.
func (cb *callbackReceiver) forClient(ctx context.Context, registered bool) {
	if !cb.suspends || cb.redirectURI == "" { // or there is no redirect
		return
	}
	cb.redirectURI = cb.config.RedirectURI
	if registered && !cb.plan.server.AuthorizationResponseIssParameterSupported {
		cb.redirectURI = mixup.RedirectURI(ctx, cb.redirectURI, cb.plan.server.Issuer)
	}
}

// chooseRedirectURI returns the redirect URI to listen at; "" is any port. It is replaceable if
// another one does as well, after a new registration. Many servers compare redirect URIs exactly,
// against RFC 8252 section 7.3: the port is part of the registration.
func (cb *callbackReceiver) chooseRedirectURI() (uri string, replaceable bool) {
	configured := cb.config.activeRegistration()
	anyPort := cb.config.CallbackPort == 0
	learned := cb.rec.LearnedOf(cb.plan.server.Issuer)
	switch {
	case cb.redirectURI != "":
		// Another program may have taken the port that an attempt before this one gave back.
		return cb.redirectURI, cb.config.RedirectURI == "" && anyPort && configured == nil
	case cb.config.RedirectURI != "":
		return cb.config.RedirectURI, false
	}
	if configured != nil {
		if uri = loopbackURI(configured.RedirectURIs, cb.config.CallbackPort); uri != "" {
			return uri, false
		}
	}
	if !anyPort {
		return redirectAt(learned.RedirectHost), false
	}
	if old := cb.rec.NewestClient(cb.plan.server.Issuer); old != nil && !old.Rejected {
		if uri = loopbackURI(old.RedirectURIs, 0); uri != "" {
			return uri, true
		}
	}
	if oauth.IsLoopbackURI(learned.NamedRedirectURI) {
		return learned.NamedRedirectURI, configured == nil
	}
	return redirectAt(learned.RedirectHost), false
}

// loopbackURI returns the first of the redirect URIs that a login can listen at, with a port unless
// that is 0; "" if there is none.
func loopbackURI(uris []string, port int) string {
	for _, uri := range uris {
		u, err := url.Parse(uri)
		if err == nil && oauth.IsLoopbackURI(uri) &&
			(port == 0 || u.Port() == "" || u.Port() == strconv.Itoa(port)) {
			return uri
		}
	}
	return ""
}

// listen begins to listen at a redirect URI.
func (cb *callbackReceiver) listen(ctx context.Context, redirectURI string, port int) error {
	options := cb.listenerOptions()
	options.RedirectURI, options.Port = redirectURI, port
	listener, err := loopback.Listen(ctx, options)
	if err != nil {
		return err
	}
	cb.listener, cb.redirectURI = listener, listener.RedirectURI()
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
func (cb *callbackReceiver) ownsRedirectURI() bool {
	return cb.listener != nil && cb.config.RedirectURI == "" && cb.config.activeRegistration() == nil
}

// move has the listener be where the browser will go, on the first of the hosts, if it is not
// there already.
func (cb *callbackReceiver) move(ctx context.Context, hosts []string) error {
	u, err := url.Parse(cb.redirectURI)
	if len(hosts) == 0 || err != nil || u.Hostname() == hosts[0] {
		return nil
	}
	cb.close()
	cb.redirectURI = ""
	if err := cb.listen(ctx, redirectAt(hosts[0]), cb.config.CallbackPort); err != nil {
		return &Error{Kind: ErrInvalidConfig, Server: cb.serverURL, Message: "the callback cannot be received at " + hosts[0], Err: err}
	}
	return nil
}

// listenerOptions returns what does not depend on where the listener is.
func (cb *callbackReceiver) listenerOptions() loopback.Options {
	_, server, _ := strings.Cut(strings.TrimSuffix(cb.server.target, "/"), "://")
	o := loopback.Options{Accept: cb.accept, Application: cb.config.ClientName, Server: server}
	if u, err := url.Parse(cb.plan.server.AuthorizationEndpoint); err == nil {
		o.FormOrigin = strings.TrimSuffix(oauth.StandardURL(oauth.Origin(u)), "/")
	}
	return o
}

// accept decides whether a call to the redirect URI is the login's own or a stranger's.
func (cb *callbackReceiver) accept(params url.Values) error {
	select {
	case check := <-cb.expect:
		cb.expect <- check
		return check(params)
	default:
		return loopback.ErrIgnore // no request was made yet
	}
}

// requestCode sends the user to the authorization server and returns the code. A call
// or a paste that does not belong to this request does not end the wait.
func (cb *callbackReceiver) requestCode(ctx context.Context, r AuthorizationRequest, want oauth.ExpectedCallback) (oauth.Secret, error) {
	var params url.Values
	var err error
	if cb.config.Prompt.Authorize != nil {
		params, err = cb.fromApplication(ctx, r)
	} else {
		params, err = cb.fromBrowser(ctx, r, cb.checkCallback(want))
	}
	if err != nil {
		return "", err
	}
	code, err := oauth.ParseCallback(params, want)
	cb.events.callback(params, err)
	if cb.config.Prompt.Authorize != nil && errors.Is(err, oauth.ErrStateMismatch) {
		return "", protocolError(cb.serverURL, err)
	}
	return code, err
}

// fromApplication has the application carry the request out.
func (cb *callbackReceiver) fromApplication(ctx context.Context, r AuthorizationRequest) (url.Values, error) {
	params, err := cb.config.Prompt.Authorize(ctx, r)
	switch {
	case err == nil:
		return params, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, &Error{Kind: ErrLoginRequired, Server: cb.serverURL, Err: err,
		Message: "a user has to sign in, and the application returned no response"}
}

// callbackResult is how a wait for the callback ended.
type callbackResult struct {
	params url.Values
	err    error
	pasted bool
}

// fromBrowser opens the browser and waits for the callback, at the listener and at the terminal.
func (cb *callbackReceiver) fromBrowser(ctx context.Context, r AuthorizationRequest, check func(url.Values) error) (url.Values, error) {
	prompt := cb.config.Prompt
	cb.expect <- check
	defer func() { <-cb.expect }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan callbackResult, 2)
	listener := cb.listener // which close takes away
	go func() {
		params, err := listener.Wait(ctx)
		results <- callbackResult{params: params, err: err}
	}()
	cb.events.report(StepCallback, "waiting for the user to come back to %s", r.RedirectURI)
	if prompt.Show != nil {
		prompt.Show(ctx, r)
	}
	// An opener may take as long as the browser lives.
	unopened := make(chan error, 1)
	go func() {
		if err := openBrowser(ctx, cb.credential, r); err != nil {
			unopened <- err
		}
	}()
	if prompt.Paste != nil {
		go func() {
			params, err := cb.paste(ctx, r, check)
			if err == nil || errors.Is(err, ErrRegisterAnew) {
				results <- callbackResult{params: params, err: err, pasted: true}
			}
		}()
	}
	select {
	case result := <-results:
		return cb.took(result)
	case err := <-unopened:
		select {
		case result := <-results: // whatever the opener reports, the user was there
			return cb.took(result)
		default:
			return nil, err
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// took remembers whether a browser waits for the listener's page.
func (cb *callbackReceiver) took(result callbackResult) (url.Values, error) {
	cb.browserWaits = !result.pasted
	if result.params != nil {
		result.err = nil // of the callback, which the caller reads from the parameters
	}
	return result.params, result.err
}

// openBrowser opens the authorization URL. That it cannot is an error only where
// there is no other way to the user.
func openBrowser(ctx context.Context, c *credential, r AuthorizationRequest) error {
	open := c.config.Prompt.OpenURL
	if open == nil {
		open = openPreferredBrowser
	}
	err := open(ctx, r.URL)
	if err == nil {
		return nil
	}
	if ctx.Err() == nil && (c.config.Prompt.Show != nil || c.config.Prompt.Paste != nil) {
		c.notice("no browser could be opened: %v", err)
		return nil
	}
	return &Error{Kind: ErrLoginRequired, Server: c.serverURL, Err: err,
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
func (cb *callbackReceiver) paste(ctx context.Context, r AuthorizationRequest, check func(url.Values) error) (url.Values, error) {
	for {
		pasted, err := cb.config.Prompt.Paste(ctx)
		if errors.Is(err, ErrRegisterAnew) && !r.CanRegisterAnew {
			cb.notice("the client was registered just now, or by hand; another would change nothing")
			continue
		}
		if err != nil {
			return nil, err
		}
		params, err := pastedParams(pasted, r.RedirectURI)
		var rejection error
		if err == nil {
			if rejection = check(params); !errors.Is(rejection, loopback.ErrIgnore) {
				return params, nil
			}
			err = errors.New("that URL belongs to another sign-in")
		}
		if unbound, ok := errtype.As[*loopback.UnboundError](rejection); ok {
			err = errors.New("that URL reports the error " + unbound.Code + ", but has no state")
		}
		cb.notice("%v; paste the whole address that the browser shows after you have signed in", err)
	}
}

// finish shows the waiting browser how the login ended.
func (cb *callbackReceiver) finish(message string, err error) {
	if cb.listener == nil {
		return
	}
	if cb.browserWaits {
		cb.listener.Finish(loopback.Page{Message: message, Err: err})
	}
	cb.browserWaits = false
	cb.close()
}

// close gives the port back.
func (cb *callbackReceiver) close() {
	if cb.listener != nil {
		cb.listener.Close()
		cb.listener = nil
	}
}
