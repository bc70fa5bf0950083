package bridge

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// front is the MCP host's side of a run: what lasts while the host begins one session
// after another.
type front struct {
	Options
	life context.Context
	out  output
	work sync.WaitGroup // everything but the reader

	memory *memory    // of what the server sends
	lines  lineMemory // of what the host sends

	mu      sync.Mutex // guards what follows
	session *bridge    // of the host's present session
}

// newFront returns the front of a run that lasts as long as life. It calls broken when
// the host does not read any more.
func newFront(life context.Context, broken func(), o Options) *front {
	o.HTTP = newClient(&o)
	o.Version = product(o.Version)
	if o.Name == "" {
		o.Name, o.Version = "bridge", "0"
	}
	if o.MaxMessage <= 0 {
		o.MaxMessage = defaultMaxMessage
	}
	if o.MaxMemory <= 0 {
		o.MaxMemory = defaultMemory
	}
	third := thirds(o.MaxMemory)
	o.MaxMessage = min(o.MaxMessage, int(third)-1)
	o.InitializeWait = cmp.Or(o.InitializeWait, initializeWait)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	o.User = cmp.Or(o.User, new(User))
	if o.Stdout == nil {
		o.Stdout = io.Discard
	}
	f := &front{Options: o, life: life, memory: newMemory(third)}
	f.out.w, f.out.onError = o.Stdout, broken
	f.lines.size = third
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

// sessionFor returns the bridge for an initialize of the host: the present one, or a new
// one where that has begun a session already. Only the reader calls it.
func (f *front) sessionFor(hello *message) *bridge {
	b := f.current()
	for !b.era.begin(hello.raw) {
		b = f.nextSession(b)
	}
	b.placeholder.leave()
	if c := b.find(hello.id); c != nil && c.probe {
		c.drop() // the host restarts its ids: the response with this id is that to initialize
	}
	return b
}

// nextSession ends a session, with all that the server and the bridge keep for it, and
// returns the bridge of the next one. Each request that is still open gets an error.
func (f *front) nextSession(old *bridge) *bridge {
	f.Logger.Debug("the host begins another session")
	next := newBridge(f)
	old.mu.Lock()
	next.serial = old.serial // the host may still respond to a request of the old session's
	old.mu.Unlock()
	next.up.serverRequests.inherit(&old.up.serverRequests)
	ended := make(chan struct{})
	next.before = ended
	f.mu.Lock()
	f.session = next
	f.mu.Unlock()
	for _, c := range old.due() {
		c.fail(old.cutShort(c, "the host began another session"))
		c.cancel()
	}
	old.placeholder.leave()
	old.do(func() {
		begin := sync.OnceFunc(func() { close(ended) })
		defer begin()
		for _, opening := range old.openings() {
			// The server may be about to begin the session that has to end.
			begin()
			select {
			case <-opening:
			case <-time.After(openingWait):
			case <-old.life.Done():
			}
		}
		old.end()
		old.endSession(f.life)
	})
	next.start()
	return next
}

// openingWait is how long a session that the host gives up before it has begun is waited
// for, so that it can be ended at the server.
const openingWait = 30 * time.Second

// openings returns the ends of what may begin a session at the server: the first contact under
// way, and the replacement of a session.
func (b *bridge) openings() (all []<-chan struct{}) {
	if f := b.era.underWay(initializing); f != nil {
		all = append(all, f.done)
	}
	b.up.mu.Lock()
	defer b.up.mu.Unlock()
	if r := b.up.replacement; r != nil {
		all = append(all, r.done)
	}
	return all
}
