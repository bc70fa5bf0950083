// Package loopback receives the authorization response of a native application:
// the redirect of the person's browser to a port of this machine (RFC 8252,
// section 7.3).
//
// Listen before the URL is shown, then Wait, redeem the code, store the result,
// and only then Finish: until that the browser's request is held open, so the page
// that says "signed in" is never a promise.
//
//	l, err := loopback.Listen(ctx, loopback.Options{Accept: isOurs})
//	if err != nil { … }
//	defer l.Close()
//	open(authorizationURL(l.RedirectURI()))
//	params, err := l.Wait(ctx)
//	…
//	l.Finish(loopback.Page{Err: redeem(params)})
//
// Whoever else finds the port (a scanner, a prefetch, another page in the same
// browser, a forged response) is answered and forgotten: only what Accept takes
// for the response that is awaited ends the wait.
package loopback

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrIgnore is returned (or wrapped) by Options.Accept for what is not the
// response that is awaited.
var ErrIgnore = errors.New("loopback: not the response that is awaited")

const (
	headerTime = 5 * time.Second  // for a request to arrive
	holdTime   = 30 * time.Second // for Finish to be called, while a browser waits
	writeTime  = holdTime + 10*time.Second
	closeTime  = time.Second // for the last page to be written

	// maxHeader bounds a request's line and headers, in bytes; net/http adds
	// 4 KiB. Cookies know no ports, so a browser sends those of every other
	// server on this machine along.
	maxHeader = 16 << 10
)

// Options say where to listen and what to wait for.
type Options struct {
	// RedirectURI is one that is registered already, on 127.0.0.1, localhost or
	// [::1]. Its host, port and path are used as they are; without a port, Port
	// is used (authorization servers ignore the port of such a registration).
	// Empty means 127.0.0.1 and the path /callback.
	RedirectURI string

	// Port is the port to listen on. 0 means that of RedirectURI, else a free
	// one. It must not contradict RedirectURI.
	Port int

	// Accept decides whether the parameters are the response that is awaited.
	// It must check state before it believes anything else. Nil ends the wait
	// with success. ErrIgnore means a stranger, who is told so; the wait goes
	// on. So it does after an *UnboundError, which the page shows. Any other
	// error is final: it is the awaited response, and it says no.
	//
	// Accept is required. Calls come one at a time, none after the wait has
	// ended, and must not block.
	Accept func(url.Values) error

	// FormOrigin is the origin of the authorization endpoint: a form on a page of
	// its may be posted to the redirect URI, by script or not. Empty: no page that
	// says where it is from may post.
	FormOrigin string

	// Application and Server are what the last page calls the program that waits
	// and what the user signs in to. Empty: neither is named.
	Application, Server string
}

// UnboundError is returned by Options.Accept for an error response without a
// state, which some authorization servers send. It may come from anyone, so it ends
// nothing, but the user should hear of it. It is an [ErrIgnore].
type UnboundError struct {
	Code string // the OAuth error code
}

// Error returns the code.
func (e *UnboundError) Error() string {
	return "loopback: the error " + visible(e.Code) + " has no state"
}

// Is reports whether target is [ErrIgnore].
func (e *UnboundError) Is(target error) bool { return target == ErrIgnore }

// Listener waits for one authorization response. Its methods may be called from
// any number of goroutines.
type Listener struct {
	accept func(url.Values) error
	uri    string // the redirect URI
	origin string // the part before its path, of StartURL's, too
	host   string // what the Host header has to be
	path   string // the one that is served

	formOrigin  string // as in Options
	application string // as in Options
	signedInTo  string // Options.Server
	server      *http.Server

	sockets []net.Listener // Close closes them, too: the server may not have begun to serve

	accepting sync.Mutex    // held while Accept is asked
	received  chan struct{} // closed when answer is set
	finished  chan struct{} // closed when page is set
	closing   chan struct{} // closed by Close
	idle      chan struct{} // closed when, after Close, no request is served any more
	broken    chan error    // why a socket failed; has room for all

	mu          sync.Mutex // guards what follows
	response    *response  // nil while the response is awaited
	ended       bool       // nobody waits any more
	page        Page       // how it ended
	closed      bool
	serving     int // requests that have not been answered
	held        int // requests among them that wait for Finish
	ignored     int
	startPath   string // "": there is none
	startTarget string
}

// answer is the response that was awaited.
type response struct {
	params url.Values
	err    error
	digest [sha256.Size]byte // of params
}

// Listen starts listening. ctx bounds the call, not the Listener. It returns a
// *PortTakenError if somebody else has the port that o asks for.
//
// Nothing but loopback addresses is bound. For localhost these are 127.0.0.1 and
// ::1, with the same port, since a browser may take either; one of them is enough
// only where the machine lacks the other, not where somebody else sits there.
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
	crowd := &connLimiter{max: maxConns}
	for _, socket := range sockets {
		go func() {
			if err := l.server.Serve(crowd.wrap(socket)); !errors.Is(err, http.ErrServerClosed) {
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
		origin:   "http://" + host,
		host:     host,
		path:     r.path,
		received: make(chan struct{}),
		finished: make(chan struct{}),
		closing:  make(chan struct{}),
		idle:     make(chan struct{}),
	}
}

// RedirectURI returns the URI to send to the authorization server: that of the
// Options, byte for byte, with the port filled in where there was none.
func (l *Listener) RedirectURI() string { return l.uri }

// StartURL returns a short URL on this listener that redirects to target until
// the response has come: for terminals, which break a long one into lines that
// cannot be clicked. It is of no use to a browser on another machine. Its path
// cannot be guessed, so nobody learns target who is not shown the URL. A second
// call replaces the first.
//
// A target that is not an absolute http or https URL is returned itself. Check it
// before as any URL that goes to a browser.
func (l *Listener) StartURL(target string) string {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return target
	}
	var random [10]byte
	rand.Read(random[:])
	path := "/go/" + strings.ToLower(base32.StdEncoding.EncodeToString(random[:]))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.startPath, l.startTarget = path, u.String()
	return l.origin + path
}

// Wait returns the parameters of the awaited response, and with them Accept's
// error if that was final. Without a response it returns no parameters: when ctx
// ends, its cause; after Close, net.ErrClosed.
//
// When ctx ends the wait is over for good: a browser that comes later is told that
// the sign-in has expired, and its parameters are never looked at. After a
// response, Wait keeps returning it.
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
	if l.response != nil { // also where it came at the last moment
		return l.response.params, l.response.err
	}
	l.ended = true
	return nil, err
}

// Finish shows the waiting browser how the sign-in has ended. Call it when the
// result is stored, and within 30 seconds after Wait has returned, since a browser
// is not left waiting for longer. Only the first call counts.
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

// Ignored returns how many requests to the redirect URI were not the awaited
// response: what to tell a person who waits in vain.
func (l *Listener) Ignored() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ignored
}

// Close stops listening and gives the port back. A page that is being written is
// written to its end, which takes a second at most. Browsers that still wait for
// Finish are told that the sign-in was not finished. Close may be called twice.
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
