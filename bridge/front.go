package bridge

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"
)

// front is the MCP host's side of a run: what lasts while the host begins one session
// after another.
type front struct {
	Options
	life context.Context
	out  *output
	work sync.WaitGroup // everything but the reader

	mu      sync.Mutex // guards what follows
	session *bridge    // of the host's present session
}

// newFront returns the front of a run that lasts as long as life.
func newFront(life context.Context, o Options) *front {
	if o.HTTP == nil {
		o.HTTP = &http.Client{}
	}
	if o.Name == "" {
		o.Name, o.Version = "bridge", "0"
	}
	if o.MaxMessage <= 0 {
		o.MaxMessage = maxMessage
	}
	if o.InitializeWait == 0 {
		o.InitializeWait = initializeWait
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Person == nil {
		o.Person = new(Person)
	}
	if o.Stdout == nil {
		o.Stdout = io.Discard
	}
	f := &front{Options: o, life: life, out: &output{w: o.Stdout}}
	f.session = newBridge(f)
	f.session.start()
	return f
}

// current returns the bridge of the host's present session.
func (f *front) current() *bridge {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.session
}

// accept handles one message of the host's.
func (f *front) accept(line []byte) { f.current().accept(line) }

// greet returns the bridge for an initialize of the host's: the present one, or a new
// one where that has begun a session already. Only the reader calls it.
func (f *front) greet(hello *message) *bridge {
	b := f.current()
	for !b.era.begin(hello.raw) {
		b = f.succeed(b)
	}
	b.room.leave()
	return b
}

// succeed ends a session, with all that the server and the bridge keep for it, and
// returns the bridge of the next one. Each request that is still open gets an error.
func (f *front) succeed(old *bridge) *bridge {
	f.Logger.Debug("the host begins another session")
	next := newBridge(f)
	old.mu.Lock()
	next.serial = old.serial // the host may still respond to a request of the old session's
	old.mu.Unlock()
	ended := make(chan struct{})
	next.before = ended
	f.mu.Lock()
	f.session = next
	f.mu.Unlock()
	for _, c := range old.due() {
		c.fail(superseded)
	}
	old.end()
	old.do(func() {
		defer close(ended)
		old.part(f.life)
	})
	next.start()
	return next
}

// superseded is the error of a request whose session the host has ended by beginning
// another.
var superseded = &Trouble{Code: CodeUncertain, Reason: "ended",
	Message: "the host began another session before the response came; the request may or may not have been carried out"}
