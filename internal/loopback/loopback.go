// Package loopback receives the authorization response of a native application:
// the redirect of the user's browser to a port of this machine (RFC 8252 section 7.3).
//
// Call [Listen] before the authorization URL is shown, then [Listener.Wait], exchange the code,
// store the tokens, and only then call [Listener.Finish]. The browser's request is held open until
// then, so the page reports success only when the login has been stored.
//
//	l, err := loopback.Listen(ctx, loopback.Options{Accept: isOurs})
//	if err != nil { … }
//	defer l.Close()
//	open(authorizationURL(l.RedirectURI()))
//	params, err := l.Wait(ctx)
//	…
//	l.Finish(loopback.Page{Err: redeem(params)})
//
// Requests of others that find the port (a scanner, a prefetch, another page in the same browser,
// a forged response) get an error page and change nothing: only the parameters that
// [Options.Accept] recognizes end the wait.
//
// The package opens no browser, exchanges no code and knows no state parameter: its caller does.
package loopback

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// ErrIgnore is returned (or wrapped) by [Options.Accept] for parameters that are not the awaited
// response.
var ErrIgnore = errors.New("loopback: not the response that is awaited")

const (
	headerTime = 5 * time.Second  // for a request to arrive
	holdTime   = 30 * time.Second // for Finish to be called while a browser waits
	writeTime  = holdTime + 10*time.Second
	closeTime  = time.Second // for the last page to be written

	// maxHeader bounds a request's line and headers, in bytes; net/http adds 4 KiB. Cookies are
	// not bound to a port, so a browser also sends those of other servers on this machine.
	maxHeader = 16 << 10
)

// Options configure [Listen].
type Options struct {
	// RedirectURI is a registered redirect URI on 127.0.0.1, localhost or [::1]. Its host, port
	// and path are used as they are; without a port, Port is used (authorization servers ignore
	// the port of such a registration). Empty means 127.0.0.1 and the path /callback.
	RedirectURI string

	// Port is the port to listen on. 0 means that of RedirectURI, or else a free port. It must
	// not contradict RedirectURI.
	Port int

	// Accept reports whether the parameters are the awaited response. It must check state before
	// it uses any other parameter. Nil ends the wait with success. [ErrIgnore] means that they
	// are not the awaited response: the browser gets an error page, and the wait goes on. It also
	// goes on after an [*UnboundError], which the page shows. Any other error ends the wait: the
	// awaited response is an error response or not valid.
	//
	// Accept is required. It is called by one goroutine at a time, not after the wait has ended,
	// and must not block.
	Accept func(url.Values) error

	// FormOrigin is the origin of the authorization endpoint: a form on one of its pages may be
	// posted to the redirect URI, by script or not. Empty: a POST with an Origin header other
	// than "null" is rejected.
	FormOrigin string

	// Application and Server name, on the last page, the waiting program and what the user signs
	// in to. Empty: the page does not name it.
	Application, Server string
}

// UnboundError is returned by [Options.Accept] for an error response without a state, which some
// authorization servers send. Any page could have sent it, so it does not end the wait, but the
// browser shows it to the user. It matches [ErrIgnore].
type UnboundError struct {
	Code string // the OAuth error code
}

// Error returns the code.
func (e *UnboundError) Error() string {
	return "loopback: the error " + visible(e.Code) + " has no state"
}

// Is reports whether target is [ErrIgnore].
func (e *UnboundError) Is(target error) bool { return target == ErrIgnore }

// Listener waits for one authorization response. Its methods may be called concurrently.
type Listener struct {
	accept func(url.Values) error
	uri    string // the redirect URI
	host   string // the Host header that a request must have
	path   string // the path of the redirect URI

	formOrigin  string // as in Options
	application string // as in Options
	signedInTo  string // Options.Server
	server      *http.Server

	sockets []net.Listener // closed by Close too: the server may not have begun to serve

	accepting sync.Mutex    // held during a call of accept
	received  chan struct{} // closed when response is set
	finished  chan struct{} // closed when page is set
	closing   chan struct{} // closed by Close
	idle      chan struct{} // closed when, after Close, no request is served any more
	broken    chan error    // why a socket failed; its buffer holds one error for each socket

	mu       sync.Mutex // guards what follows
	response *response  // nil until the awaited response has been received
	ended    bool       // the wait is over
	page     Page       // how the sign-in ended
	closed   bool
	serving  int // requests without a response
	held     int // requests among them that wait for Finish
}

// response is the awaited authorization response.
type response struct {
	params url.Values
	err    error
	digest [sha256.Size]byte // of params
}

// Listen starts listening. ctx bounds the call, not the Listener. It returns a
// [*PortTakenError] if another process listens on the port that o names.
//
// Only loopback addresses are bound. For localhost these are 127.0.0.1 and ::1, with the same
// port, since a browser may use either. One of them is enough only where the machine lacks the
// other, not where another process listens there.
func Listen(ctx context.Context, o Options) (*Listener, error) {
	if o.Accept == nil {
		return nil, errors.New("loopback: Options.Accept is missing")
	}
	r, err := parseRedirect(o.RedirectURI, o.Port)
	if err != nil {
		return nil, err
	}
	sockets, port, err := bind(ctx, r.addresses, r.port)
	if err != nil {
		return nil, err
	}
	l := newListener(o.Accept, r, port)
	l.formOrigin, l.application, l.signedInTo = o.FormOrigin, o.Application, o.Server
	l.server = &http.Server{
		Handler:                      l,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            headerTime,
		WriteTimeout:                 writeTime,
		MaxHeaderBytes:               maxHeader,
		ConnContext:                  withConn,
		ErrorLog:                     log.New(io.Discard, "", 0),
	}
	l.server.SetKeepAlivesEnabled(false)
	l.sockets = sockets
	l.broken = make(chan error, len(sockets))
	limiter := &connLimiter{max: maxConns}
	for _, socket := range sockets {
		go func() {
			if err := l.server.Serve(limiter.wrap(socket)); !errors.Is(err, http.ErrServerClosed) {
				l.broken <- err
			}
		}()
	}
	return l, nil
}

// newListener returns a Listener without sockets.
func newListener(accept func(url.Values) error, r redirect, port int) *Listener {
	host := net.JoinHostPort(r.host, strconv.Itoa(port))
	return &Listener{
		accept:   accept,
		uri:      r.uri(port),
		host:     host,
		path:     r.path,
		received: make(chan struct{}),
		finished: make(chan struct{}),
		closing:  make(chan struct{}),
		idle:     make(chan struct{}),
	}
}

// RedirectURI returns the redirect_uri to send to the authorization server: that of the
// [Options], byte for byte, with the port added where it has none.
func (l *Listener) RedirectURI() string { return l.uri }

// Wait returns the parameters of the awaited response, and with them the error of
// [Options.Accept] if that ended the wait. Without a response it returns no parameters and an
// error: the cause of ctx when ctx ends, [net.ErrClosed] after [Listener.Close].
//
// When ctx ends the wait is over for good: a later request gets a page that says that the sign-in
// has expired, and Accept is not called. After a response, each call of Wait returns it.
func (l *Listener) Wait(ctx context.Context) (url.Values, error) {
	var err error
	select {
	case <-l.received:
	case <-l.closing:
		err = fmt.Errorf("loopback: %w", net.ErrClosed)
	case err = <-l.broken:
		err = fmt.Errorf("loopback: the callback can no longer be received: %w", err)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.response != nil { // also where it was received at the last moment
		return l.response.params, l.response.err
	}
	l.ended = true
	return nil, err
}

// Finish shows the waiting browser how the sign-in ended. Call it when the tokens are stored, and
// within 30 seconds after [Listener.Wait] has returned: then the browser gets a page without the
// result. Only the first call has an effect.
func (l *Listener) Finish(p Page) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.finished:
		return
	default:
	}
	l.page, l.ended = p, true
	close(l.finished)
}

// Close stops listening and frees the port. It waits up to a second for pages that are being
// written. Browsers that still wait for [Listener.Finish] get a page that says that the sign-in
// was not finished. Close may be called twice.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed, l.ended = true, true
	close(l.closing)
	if l.serving == 0 {
		close(l.idle)
	}
	l.mu.Unlock()

	timer := time.NewTimer(closeTime)
	defer timer.Stop()
	select {
	case <-l.idle:
	case <-timer.C:
	}
	if l.server == nil {
		return nil
	}
	err := l.server.Close()
	for _, socket := range l.sockets {
		_ = socket.Close() // most often closed by the server
	}
	return err
}
