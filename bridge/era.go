package bridge

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
)

// MCP has two eras: before 2026-07-28 a session begins with initialize, since
// then each request carries what it needs to be understood. Host and
// server may be of different ones. Then the host gets the facts where it can
// act on them (that a server knows no server/discover, after which it
// falls back to initialize by itself), and a translation where it cannot.

type era int

const (
	unknownEra era = iota
	legacyEra      // initialize
	modernEra      // server/discover, and _meta in each request
)

// eras is what is known of both sides.
type eras struct {
	*bridge

	mu      sync.Mutex // guards what follows
	known   knownEras
	flights [contacts]*firstContact // the first contacts under way

	modern modernServer
	legacy legacyServer
}

// knownEras is what host and server have sent that decides how they are spoken to.
type knownEras struct {
	server           era
	hello            []byte    // the host's initialize, or one made for it; nil: there is none
	confirmation     *message  // its notifications/initialized, or one made for it; nil: not yet
	initializeResult []byte    // the result of the server's initialize
	probed           time.Time // when the host began with server/discover; zero: it did not
	translates       bool      // a host of 2026-07-28 is on a server of before
	greeted          bool      // and the handshake in its place is over
}

// contact is a kind of first contact. Each has its own response: the result of a probe
// means nothing for an initialize.
type contact int

const (
	initializing contact = iota
	probing
	contacts int = iota
)

// firstContact is a first contact with the server, for all that wait for it.
type firstContact struct {
	done     chan struct{}
	response *message // the server's response, where it gave one
	err      error
}

// now returns what is known now.
func (e *eras) now() knownEras {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.known
}

// serverEra returns what the server is known to be.
func (e *eras) serverEra() era { return e.now().server }

func (e *eras) setServer(to era) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known.server = to
}

// opening makes a first contact and returns the server's response, where it gave one.
type opening func(ctx context.Context) (*message, error)

// contact starts a first contact, or joins the one of its kind under way. It belongs to
// no request: a login in it may take longer than the host waits.
func (e *eras) contact(kind contact, begin opening) *firstContact {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.flights[kind]
	if f == nil {
		f = e.startContact(begin, func() { e.flights[kind] = nil })
		e.flights[kind] = f
	}
	return f
}

// startContact starts a first contact and calls landed when it is over, with mu held.
func (e *eras) startContact(begin opening, landed func()) *firstContact {
	f := &firstContact{done: make(chan struct{})}
	e.do(func() {
		f.response, f.err = begin(e.life)
		e.mu.Lock()
		landed()
		e.mu.Unlock()
		close(f.done)
	})
	return f
}

// underWay returns the first contact of a kind that is under way, or nil.
func (e *eras) underWay(kind contact) *firstContact {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.flights[kind]
}

// begin remembers how the host has begun, and reports whether nothing else has: what
// follows another initialize is another session.
func (e *eras) begin(hello []byte) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.known.hello != nil {
		return false
	}
	e.known.hello, e.known.server = hello, unknownEra
	return true
}

// learned notes what a probe finds out about the server, unless there is a handshake.
func (e *eras) learned(server era) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.known.hello == nil {
		e.known.server = server
	}
}

// connect begins a session with the host's initialize, and finds out what the
// server is. It returns the response to initialize, the server's or one made
// from the description that a modern server gives.
func (e *eras) connect(ctx context.Context) (*message, error) {
	hello := e.now().hello
	response, err := e.up.beginWithin(ctx, e.beginTimeout(), func(ctx context.Context) (*message, error) {
		return e.up.request(ctx, hello)
	})
	rejected, _ := errtype.As[*rejection](err)
	switch {
	case err == nil && response.error == nil:
		e.established(response)
		return response, nil
	case err != nil && (rejected == nil || rejected.status == 401 || rejected.status == 403 ||
		later(rejected.status) || rejected.status/100 == 5):
		return response, err
	}
	// It knows no initialize, or rejects this one. A modern server names its versions.
	if e.Brief && response != nil && errorCode(response) == codeVersion && supportsModern(response) {
		e.modern.speak(hello, modernIn(member(response.error, "data", "supported")))
		e.setServer(modernEra)
		return e.modern.introduced(hello, nil)
	}
	ctx, cancel := context.WithTimeout(ctx, agreementWait)
	defer cancel()
	if made, merr := e.modern.discover(ctx, hello); merr == nil {
		e.setServer(modernEra)
		e.Logger.Debug("the server is of 2026-07-28 or later; translating for the host")
		return made, nil
	}
	return response, err
}

// established keeps the server's result of initialize.
func (e *eras) established(response *message) {
	e.up.setVersion(text(member(response.result, "protocolVersion")))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known.server, e.known.initializeResult = legacyEra, response.result
}

// capability returns one of the server's capabilities; nil: nothing.
func (e *eras) capability(name string) []byte {
	known := e.now()
	if known.server == modernEra {
		return member(e.modern.capabilitiesOfServer(), name)
	}
	return member(known.initializeResult, "capabilities", name)
}

// serve carries out what has to be translated, or needs a handshake first.
func (e *eras) serve(c *call) (done bool, err error) {
	if c.batch {
		return false, nil
	}
	modern := modernVersion(c.message) != ""
	known := e.now()
	switch {
	case modern && known.server == legacyEra:
		return true, e.legacy.serve(c)
	case modern:
		return true, e.native(c)
	case known.server == modernEra:
		return true, e.modern.serve(c)
	case known.server == unknownEra && known.hello != nil:
		// The handshake has failed, for a reason that may have passed.
		if err := e.handshake(c.ctx); err != nil {
			return true, err
		}
		return e.serve(c)
	}
	return false, nil
}

// handshake begins a session in the host's place.
func (e *eras) handshake(ctx context.Context) error {
	f := e.contact(initializing, e.connectOnce)
	if err := wait(ctx, f.done); err != nil {
		return err
	}
	if rejected, ok := errtype.As[*rejection](f.err); ok && rejected.body != nil {
		return f.err // in the server's own words
	}
	if f.err != nil || f.response.error != nil {
		return e.failed(f)
	}
	return e.confirmOrReplace(e.life)
}

// connectOnce is connect, unless a session has begun: the request that wants one may have looked
// just before another request had begun it.
func (e *eras) connectOnce(ctx context.Context) (*message, error) {
	known := e.now()
	switch {
	case known.initializeResult != nil && known.server == legacyEra:
		return &message{result: known.initializeResult}, nil
	case known.server == modernEra:
		return &message{result: []byte("{}")}, nil
	}
	return e.connect(ctx)
}

// confirmOrReplace ends the handshake with the host's notifications/initialized, if it has sent
// that.
func (e *eras) confirmOrReplace(ctx context.Context) error {
	err := e.confirm(ctx)
	if errors.Is(err, errOver) {
		return e.up.replaceCurrent(ctx)
	}
	return err
}

// confirm is confirmOrReplace for a session that is not replaced if it has ended.
func (e *eras) confirm(ctx context.Context) error {
	known := e.now()
	switch {
	case known.confirmation == nil:
		return nil
	case known.server == modernEra:
		e.modern.listen()
		return nil
	}
	return e.up.initialized(ctx, known.confirmation)
}

// native sends a modern request to a server that is modern, as far as is known.
func (e *eras) native(c *call) error {
	err := e.up.callModern(c)
	rejected, ok := errtype.As[*rejection](err)
	if !ok || e.serverEra() == modernEra || !rejected.fromOlderEra() {
		return err
	}
	e.learned(legacyEra)
	return e.legacy.serve(c)
}

// callModern sends a modern request, and once more if the server's tools have
// changed what has to be mirrored into headers ("Client Behavior").
func (u *upstream) callModern(c *call) error {
	err := u.call(c)
	rejected, ok := errtype.As[*rejection](err)
	if !ok || rejected.code() != codeMismatch || !c.is("tools/call") {
		return err
	}
	list := u.newRequest("tools/list", "params", object("_meta", c.meta))
	if response, lerr := u.request(c.ctx, list); lerr == nil && response.result != nil {
		u.listed(response.result, true)
		return u.call(c)
	}
	return err
}

// initialized handles the host's notifications/initialized.
func (e *eras) initialized(m *message) {
	e.mu.Lock()
	e.known.confirmation = m
	server := e.known.server
	e.mu.Unlock()
	if server == unknownEra || e.placeholder.active() {
		return // the server gets it when it is there
	}
	if err := e.confirmOrReplace(e.life); err != nil && e.life.Err() == nil {
		e.Logger.Debug("the server could not be notified that the session has begun", "err", err)
	}
}

// staysHere reports whether a notification of the host is not for the server.
func (e *eras) staysHere(m *message) bool {
	return e.placeholder.active() || e.serverEra() == modernEra && modernVersion(m) == ""
}

// cancels reports whether a notification informs the server that a
// request is not waited for any more.
func (e *eras) cancels(c *call) bool {
	return modernVersion(c.message) == "" && e.serverEra() != modernEra && !e.placeholder.active()
}

// fromServer returns a request or notification of the server's as the host gets
// it; nil: not at all.
func (e *eras) fromServer(m *message, c *call) []byte {
	if e.now().translates {
		return e.legacy.fromServer(m, c)
	}
	if m.is("notifications/subscriptions/acknowledged") && c != nil && c.quiet {
		return nil
	}
	return m.raw
}

// supportsModern reports whether an UnsupportedProtocolVersion error lists a
// version without sessions.
func supportsModern(m *message) bool { return modernIn(member(m.error, "data", "supported")) != "" }

// modernIn returns the lowest modern version of a list, which is the one known
// here, or "".
func modernIn(list []byte) string {
	lowest := ""
	_ = elements(list, func(element []byte) bool {
		if v := text(element); v >= firstModern && (lowest == "" || v < lowest) {
			lowest = v
		}
		return true
	})
	return lowest
}
