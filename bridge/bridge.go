// Package bridge is a stdio MCP server in front of a remote one: what a host
// writes on standard input goes to the server, and what the server answers comes
// back as one line each, byte for byte. It speaks Streamable HTTP in all its
// revisions and the older HTTP+SSE, and translates where host and server are of
// different eras. It knows an *http.Client and no OAuth: whatever signs requests
// in does so below it, and tells it through Options.Person and Options.Explain
// when a person is needed.
package bridge

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Options say what a bridge connects. Only URL, Stdin and Stdout are needed.
type Options struct {
	// URL is the MCP server's endpoint.
	URL string

	// HTTP carries the requests. It must have no Timeout: an answer may be a
	// stream that goes on for days. Nil is a client without one.
	HTTP *http.Client

	// Stdin and Stdout are the host's. Stdout is written in whole lines.
	Stdin  io.Reader
	Stdout io.Writer

	// Wire is how to speak to the server. The zero value finds out.
	Wire Wire

	// Header is sent with each request.
	Header http.Header

	// Ping is how often the server is pinged in a session, so that nothing between
	// takes an idle one for dead. Zero: never. Since 2026-07-28 there are no
	// sessions, and no pings.
	Ping time.Duration

	// Tool says which tools the host may see and call. Nil: all.
	Tool func(name string) bool

	// Name and Version are what the bridge calls itself where it has to answer
	// in the server's place. Empty: "bridge" and "0".
	Name, Version string

	// Person tells that a login waits for somebody. Nil: nobody is ever waited
	// for.
	Person *Person

	// SignedIn reports whether a request could go through without a person, as
	// far as is known on this machine. It is asked every few seconds while the
	// last login has failed, so that one done elsewhere is noticed. Nil: unknown.
	SignedIn func(ctx context.Context) bool

	// Explain says what an error of HTTP means to the host. Nil, or a nil
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
	// WireAuto is Streamable HTTP, or HTTP+SSE where the server refuses that as
	// the specification describes ("Backwards Compatibility").
	WireAuto Wire = iota
	WireHTTP      // Streamable HTTP only (2025-03-26 and later)
	WireSSE       // HTTP+SSE only (2024-11-05)
)

const (
	maxMessage = 64 << 20

	// lingering is how long a bridge whose standard input has ended waits for
	// the answers that are due, and parting how long it takes its leave of the
	// server after that.
	lingering = 3250 * time.Millisecond
	parting   = time.Second
)

// Run bridges until standard input ends, standard output breaks or ctx ends. The
// end of standard input leaves the answers that are due a few seconds; the end
// of ctx leaves them none. It returns nil in both cases.
func Run(ctx context.Context, o Options) error {
	b := newBridge(o)
	life, end := context.WithCancel(ctx)
	defer end()
	b.life = life
	b.out.broken = end
	if o.Ping > 0 {
		b.do(func() { b.ping(life) })
	}
	read := make(chan error, 1)
	go func() { read <- b.read() }()
	var err error
	select {
	case err = <-read:
		b.linger(life)
		b.abandon()
	case <-life.Done():
	}
	end()
	b.mu.Lock()   // who is in enter has entered
	b.mu.Unlock() //lint:ignore SA2001 the lock is a barrier: from here on nobody enters
	worked := make(chan struct{})
	go func() {
		b.work.Wait()
		close(worked)
	}()
	b.part(ctx)
	// Whoever writes to a host that does not read is not waited for.
	timer := time.NewTimer(parting / 4)
	defer timer.Stop()
	select {
	case <-worked:
	case <-timer.C:
		return err
	}
	if b.out.err != nil && ctx.Err() == nil {
		return b.out.err
	}
	return err
}

// bridge is one run.
type bridge struct {
	Options
	life context.Context
	work sync.WaitGroup // everything but the reader
	sent sync.WaitGroup // what the host has sent that has no answer
	out  *output
	up   upstream
	room room
	era  eras

	lines lineMemory // of what the host sends

	mu      sync.Mutex // guards what follows
	calls   map[string]*call
	owned   map[string]*call // calls of the bridge's own that are answered on a stream for all
	barrier <-chan struct{}  // what is read now waits until it is closed; nil: nothing to wait for
	serial  int              // counts the ids of requests of our own
}

func newBridge(o Options) *bridge {
	if o.HTTP == nil {
		o.HTTP = &http.Client{}
	}
	if o.Name == "" {
		o.Name, o.Version = "bridge", "0"
	}
	if o.MaxMessage <= 0 {
		o.MaxMessage = maxMessage
	}
	if o.MaxMemory <= 0 {
		o.MaxMemory = defaultMemory
	}
	third := thirds(o.MaxMemory)
	o.MaxMessage = min(o.MaxMessage, int(third)-1)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Person == nil {
		o.Person = new(Person)
	}
	b := &bridge{Options: o, out: &output{w: o.Stdout}, calls: make(map[string]*call)}
	b.up.bridge, b.up.wire, b.up.legacy.up = b, o.Wire, &b.up
	b.up.memory, b.lines.size = newMemory(third), third
	b.room.bridge = b
	b.era.bridge, b.era.modern.eras, b.era.legacy.eras = b, &b.era, &b.era
	o.Person.listen(func() {
		for _, c := range b.due() {
			b.impatient(c)
		}
	})
	return b
}

// ping keeps a session busy.
func (b *bridge) ping(ctx context.Context) {
	for pause(ctx, b.Ping) {
		if b.era.serverEra() != legacyEra || b.room.occupied() {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, b.Ping)
		if _, err := b.up.ask(asking, object("jsonrpc", "2.0", "id", b.nextID(), "method", "ping")); err != nil {
			b.Logger.Debug("a ping was not answered", "err", err)
		}
		cancel()
	}
}

// do runs a piece of work that Run waits for.
func (b *bridge) do(f func()) {
	b.work.Add(1)
	go func() {
		defer b.work.Done()
		f()
	}()
}

// linger waits for what is under way when standard input has ended.
func (b *bridge) linger(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lingering)
	defer cancel()
	for _, c := range b.due() {
		if c.is("subscriptions/listen") {
			continue // it has no end of its own
		}
		select {
		case <-c.ended:
		case <-ctx.Done():
			return
		}
	}
	sent := make(chan struct{})
	go func() {
		b.sent.Wait()
		close(sent)
	}()
	select {
	case <-sent:
	case <-ctx.Done():
	}
}

// abandon answers what is still under way with an error. A host that reads no
// more is not waited for.
func (b *bridge) abandon() {
	told := make(chan struct{})
	go func() {
		defer close(told)
		for _, c := range b.due() {
			if !c.is("subscriptions/listen") {
				c.fail(&Trouble{Code: CodeUncertain, Reason: "ended",
					Message: "standard input ended before the answer came; the request may or may not have been carried out"})
			}
		}
	}()
	timer := time.NewTimer(parting / 4)
	defer timer.Stop()
	select {
	case <-told:
	case <-timer.C:
	}
}

// part tells the server that its session is over.
func (b *bridge) part(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), parting)
	defer cancel()
	b.up.close(ctx)
}

// pipeSize is what a pipe holds where nobody has asked for more, in bytes.
const pipeSize = 64 << 10

// output is the host's end: whole lines, one writer at a time.
type output struct {
	mu     sync.Mutex
	w      io.Writer
	broken func() // called when nobody reads any more
	err    error
	wide   bool
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
			o.broken()
			return
		}
	}
}
