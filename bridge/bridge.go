// Package bridge is a stdio MCP server in front of a remote one: what an MCP host
// writes on standard input goes to the server, and the server's responses come
// back as one line each, byte for byte. It speaks Streamable HTTP in all its
// revisions and the older HTTP+SSE, and translates where host and server are of
// different eras. It knows an *http.Client and no OAuth: whatever signs requests
// in does so below it, and reports through [Options.User] and [Options.Explain]
// when the user is needed.
package bridge

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/handstamp/handstamp/internal/stack"
)

// Options are the configuration of a bridge. Only URL, Stdin and Stdout are required.
type Options struct {
	// URL is the MCP server's endpoint.
	URL string

	// HTTP carries the requests. It must have no Timeout: a response may be a
	// stream that goes on for days. Its CheckRedirect is not used: redirects are
	// followed on the origin of URL only, with method and body. Nil, or a client
	// without a Transport, uses that of [NewTransport].
	HTTP *http.Client

	// Stdin and Stdout are the host's. Stdout is written in whole lines.
	Stdin  io.Reader
	Stdout io.Writer

	// Wire is how to speak to the server. The zero value finds out.
	Wire Wire

	// InitializeWait is how long the host's initialize waits for the server's response.
	// After that the bridge responds in the server's place, without tools, and announces
	// the lists once the server is there. Zero is 4 s, as some hosts wait for 5 s only.
	// Negative: it waits for as long as the server takes.
	InitializeWait time.Duration

	// Brief is set if the MCP host makes a request or two and leaves: it does not learn what a
	// server of 2026-07-28 or later offers.
	Brief bool

	// Header is sent with each request.
	Header http.Header

	// Ping is how often the server is pinged in a session, so that nothing between
	// takes an idle one for dead. Zero: never. Since 2026-07-28 there are no
	// sessions, and no pings.
	Ping time.Duration

	// Tool reports whether the host may see and call a tool. Nil: all tools.
	Tool func(name string) bool

	// Name and Version are what the bridge calls itself where it has to respond
	// in the server's place, and to the server as its User-Agent, unless Header
	// has one. Without a Name, Version has no effect for the host, which gets "bridge"
	// and "0"; the server gets "handstamp".
	Name, Version string

	// User is where whatever signs in reports that it waits for the user. Nil: it never does.
	User *User

	// SignedIn reports whether a request could go through without the user, as
	// far as is known on this machine. It is called every few seconds while the
	// last login has failed, so that one done elsewhere is noticed. Nil: unknown.
	SignedIn func(ctx context.Context) bool

	// Background returns the context of a request that the bridge makes by itself or that the
	// host does not wait for. Whatever signs in should not need the user for those: they may come
	// at any time. Nil: they are like all others.
	Background func(ctx context.Context) context.Context

	// Explain returns what an error of HTTP means to the host. Nil, or a nil
	// result, means that the server could not be reached.
	Explain func(error) *Trouble

	// MaxMessage bounds one message, in bytes, in both directions. Zero is 64
	// MiB. MaxMemory may bound it further.
	MaxMessage int

	// MaxMemory is what the process may take for messages and all else, in bytes:
	// long messages wait for one another. Zero is 256 MiB.
	MaxMemory int

	// Logger receives what is worth debugging: no message's content. Nil
	// discards.
	Logger *slog.Logger
}

// Wire is a transport of MCP.
type Wire int

const (
	// WireAuto is Streamable HTTP, or HTTP+SSE where the server rejects that as
	// the specification describes ("Backwards Compatibility").
	WireAuto Wire = iota
	WireHTTP      // Streamable HTTP only (2025-03-26 and later)
	WireSSE       // HTTP+SSE only (2024-11-05)
)

const (
	defaultMaxMessage = 64 << 20

	// lingerTime is how long a bridge whose standard input has ended waits for responses, and
	// endSessionTimeout how long ending the session at the server may take after that.
	lingerTime        = 2500 * time.Millisecond
	endSessionTimeout = time.Second
)

// Run bridges until standard input ends, standard output breaks or ctx ends. The
// end of standard input leaves the responses that are due a few seconds; the end
// of ctx leaves them none. It returns nil in both cases.
func Run(ctx context.Context, o Options) error {
	life, end := context.WithCancel(ctx)
	defer end()
	f := newFront(life, end, o)
	read := make(chan error, 1)
	go func() {
		stack.Grow8K()
		read <- f.read()
	}()
	var err error
	var until time.Time // what is being written is waited for
	select {
	case err = <-read:
		until = time.Now().Add(lingerTime)
		b := f.current()
		b.linger(life)
		b.abandon()
	case <-life.Done():
	}
	end()
	f.mu.Lock()   // what is in enter has entered
	f.mu.Unlock() //lint:ignore SA2001 the lock is a barrier: from here on nothing enters
	f.current().endSession(ctx)
	// What writes to a host that does not read is not waited for any longer.
	select {
	case <-begun(f.work.Wait):
	case <-time.After(max(time.Until(until), endSessionTimeout/4)):
		return err
	}
	if f.out.err != nil && ctx.Err() == nil {
		return f.out.err
	}
	return err
}

// bridge is one session of the host in a run. An initialize that follows another
// begins a new one.
type bridge struct {
	*front
	life        context.Context // ends with the run or the session
	end         context.CancelFunc
	before      <-chan struct{} // closed once the session before has ended; nil: there was none
	sent        sync.WaitGroup  // what the host has sent that has no response
	up          upstream
	placeholder placeholder
	era         eras
	responses   chan struct{} // holds a value for each response of our own to the server under way

	mu          sync.Mutex // guards what follows
	calls       map[string]*call
	owned       map[string]*call // calls of the bridge's own that have their responses on a stream for all
	barrier     <-chan struct{}  // what is read now waits until it is closed
	turns       turns            // of the host's notifications
	serial      int              // counts the ids of requests of our own
	endUserWait func()           // ends the count of how long requests wait for the user
}

// newBridge returns the bridge of a session that is about to begin.
func newBridge(f *front) *bridge {
	barrier := make(chan struct{})
	close(barrier) // there is nothing to wait for yet
	b := &bridge{front: f, barrier: barrier, endUserWait: func() {},
		calls: make(map[string]*call), owned: make(map[string]*call)}
	b.life, b.end = context.WithCancel(f.life)
	b.turns.last = barrier
	b.responses = make(chan struct{}, responsesAtOnce)
	b.up.bridge, b.up.legacy.up = b, &b.up
	b.up.users = new(sync.WaitGroup)
	b.up.long = make(chan struct{}, together)
	b.up.tools = make(map[string][]parameter)
	b.up.inquiries, b.up.unhelpful = make(map[shape]*inquiry), make(map[shape]unhelpful)
	b.up.lateCalls.posted = make(map[*call]bool)
	b.up.serverRequests.open = make(map[string]*serverRequest)
	b.placeholder.bridge = b
	b.era.bridge, b.era.modern.eras, b.era.legacy.eras = b, &b.era, &b.era
	b.era.modern.resources = make(map[string]bool)
	b.era.modern.hostRequests = make(map[string]chan *message)
	b.era.legacy.parked = make(map[string]*parked)
	return b
}

// start begins what goes on beside a session's messages.
func (b *bridge) start() {
	b.User.listen(b.userChanged)
	b.userChanged() // it may be so already
	if b.Ping > 0 {
		b.do(func() { b.ping(b.background(b.life)) })
	}
}

// ping keeps a session busy.
func (b *bridge) ping(ctx context.Context) {
	for pause(ctx, b.Ping) {
		if b.era.serverEra() != legacyEra || b.placeholder.active() {
			continue
		}
		pingCtx, cancel := context.WithTimeout(ctx, b.Ping)
		if _, err := b.up.request(pingCtx, b.newRequest("ping")); err != nil {
			b.Logger.Debug("a ping had no response", "err", err)
		}
		cancel()
	}
}

// newRequest returns a request of the bridge's own, with more members by name and value.
func (b *bridge) newRequest(method string, more ...any) []byte {
	return object(append([]any{"jsonrpc", "2.0", "id", b.nextID(), "method", method}, more...)...)
}

// do runs a piece of work that Run waits for.
func (b *bridge) do(f func()) {
	b.work.Go(func() {
		stack.Grow8K()
		f()
	})
}

// linger waits for what is under way when standard input has ended.
func (b *bridge) linger(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lingerTime)
	defer cancel()
	for _, c := range b.due() {
		if c.is("subscriptions/listen") {
			continue // it has no end of its own
		}
		if wait(ctx, c.ended) != nil {
			return
		}
	}
	_ = wait(ctx, begun(b.sent.Wait))
}

// abandon ends what is still under way with an error. A host that reads no
// more is not waited for.
func (b *bridge) abandon() {
	sent := begun(func() {
		for _, c := range b.due() {
			if !c.is("subscriptions/listen") {
				c.fail(b.cutShort(c, "standard input ended"))
			}
		}
	})
	select {
	case <-sent:
	case <-time.After(endSessionTimeout / 4):
	}
}

// cutShort returns the error of a request that ends for a reason before it has its response.
func (b *bridge) cutShort(c *call, because string) *Trouble {
	if c.left.Load() {
		return newTrouble(CodeUncertain, "ended", because+" before the response came"+perhapsDone)
	}
	because += " before the request was sent"
	if a := b.placeholder.current(); a != nil {
		t := *b.placeholder.timeoutError(a)
		t.Message = because + ": " + t.Message
		return &t
	}
	return newTrouble(CodeUnreachable, "ended", because)
}

// endSession notifies the server that its session is over.
func (b *bridge) endSession(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endSessionTimeout)
	defer cancel()
	b.up.close(ctx)
}

// pipeSize is what a pipe holds by default, in bytes.
const pipeSize = 64 << 10

// output is the host's end: whole lines, one writer at a time.
type output struct {
	onError func() // called when the host does not read any more

	mu   sync.Mutex // guards w, err and wide; held while writing, so that lines do not mix
	w    io.Writer
	err  error
	wide bool
}

// write writes a message as one line. The bytes are the output's from then on.
func (o *output) write(line []byte) {
	parts := [][]byte{line, {'\n'}}
	if len(line) < cap(line) || len(line) < shortMessage {
		parts = [][]byte{append(line, '\n')}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return
	}
	if len(line) > pipeSize && !o.wide {
		o.wide = true
		widen(o.w)
	}
	for _, part := range parts {
		if _, err := o.w.Write(part); err != nil {
			o.err = errors.Join(errors.New("bridge: the host does not read any more"), err)
			o.onError()
			return
		}
	}
}
