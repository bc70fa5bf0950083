package bridge

import (
	"context"
	"sync"
	"time"
)

const (
	// greetingPatience is how long the answer to a host's first request may take
	// where somebody will probably have to sign in.
	greetingPatience = 700 * time.Millisecond

	// watchInterval is how often it is looked whether a login was done elsewhere.
	watchInterval = 2 * time.Second
)

// signInTool is the tool that a host is offered while somebody has to sign in.
const signInTool = "sign_in"

// room is the waiting room: while a person signs in, the bridge answers in the
// server's place, so that the host has a server that works and says what it
// waits for. When the server is there, the host is told that the lists have
// changed.
type room struct {
	*bridge

	mu      sync.Mutex // guards what follows
	open    bool
	used    bool          // the host was greeted here, with more capabilities than the server may have
	stale   bool          // the host may still believe in the tool
	modern  []byte        // _meta of a modern host's first request; nil: the host is of before
	left    chan struct{} // closed when the server is there
	failure *Trouble      // how the last try ended
	trying  bool
	ended   chan struct{} // closed when the try under way has failed
	heard   []*call       // subscriptions/listen that wait for the server
	wanted  chan struct{} // the host wants another try
}

// occupied reports whether the host is being answered here.
func (r *room) occupied() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}

// initialize answers the host's initialize: as the server does, or in its place
// where that has to wait for a person.
func (b *bridge) initialize(c *call) {
	b.era.begin(c.raw)
	f := b.era.contact(b.era.connect)
	if !b.room.wait(c, f) {
		return
	}
	if f.answer == nil {
		c.fail(b.explain(f.err))
		return
	}
	b.conclude(c, f.answer, false)
}

// wait waits for the first contact, and reports whether it is over. If it has to
// wait for a person, the call is answered here and the host stays.
func (r *room) wait(c *call, f *flight) bool {
	timer := time.NewTimer(greetingPatience)
	defer timer.Stop()
	for {
		select {
		case <-f.done:
			return true
		case <-r.Person.awaiting():
		case <-timer.C:
			if expected, _, _ := r.Person.status(); !expected {
				continue
			}
		case <-c.ctx.Done():
			return false
		}
		r.enter(c, f)
		return false
	}
}

// enter lets the host in.
func (r *room) enter(c *call, f *flight) {
	r.mu.Lock()
	if !r.open {
		r.open, r.used, r.stale, r.failure = true, true, true, nil
		r.left, r.wanted = make(chan struct{}), make(chan struct{}, 1)
		r.begin()
		if modernVersion(c.message) != "" {
			r.modern = c.meta
		}
		r.do(func() { r.stay(f) })
	}
	r.mu.Unlock()
	r.Logger.Debug("answering in the server's place until somebody has signed in")
	if !c.is("initialize") {
		r.reply(c)
		return
	}
	version := text(member(c.params, "protocolVersion"))
	if version == "" || version >= firstModern {
		version = "2025-11-25"
	}
	c.reply(object("protocolVersion", version, "capabilities", offers, "serverInfo", object("name", r.Name, "version", r.Version)))
}

// offers are the capabilities that a server may turn out to have.
var offers = []byte(`{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"listChanged":true}}`)

// stay waits until the server is there.
func (r *room) stay(f *flight) {
	for {
		select {
		case <-f.done:
		case <-r.life.Done():
			return
		}
		if r.arrived(f) {
			return
		}
		if f = r.nextTry(f); f == nil {
			return
		}
	}
}

// nextTry waits for a reason to try again: the host asks for it, or somebody has
// signed in elsewhere.
func (r *room) nextTry(f *flight) *flight {
	failure := r.explainFlight(f)
	r.mu.Lock()
	r.trying, r.failure = false, failure
	close(r.ended)
	r.mu.Unlock()
	watch := time.NewTicker(watchInterval)
	defer watch.Stop()
	for {
		select {
		case <-r.wanted:
			return r.again()
		case <-watch.C:
		case <-r.life.Done():
			return nil
		}
		// Where nobody is needed, it may work by itself. What the server refuses
		// to somebody who has signed in, it does not give to who knocks again.
		needed := failure.Code == CodeSignIn
		if !needed && failure.Retry || needed && r.SignedIn != nil && r.SignedIn(r.life) {
			return r.again()
		}
	}
}

// begin notes that a try is under way, and reports whether it begins with that. The
// caller holds mu.
func (r *room) begin() bool {
	if r.trying {
		return false
	}
	r.trying, r.ended = true, make(chan struct{})
	return true
}

// again makes contact anew.
func (r *room) again() *flight {
	r.mu.Lock()
	r.begin() // unless the host has, who wants it
	select {
	case <-r.wanted: // this is it
	default:
	}
	modern := r.modern
	r.mu.Unlock()
	if modern != nil {
		return r.era.contact(func(ctx context.Context) (*message, error) { return r.era.probe(ctx, modern) })
	}
	return r.era.contact(r.era.connect)
}

func (r *room) explainFlight(f *flight) *Trouble {
	if f.err != nil {
		return r.explain(f.err)
	}
	return &Trouble{Code: CodeRefused, Reason: "refused", Message: "the server refuses a session: " + text(member(f.answer.error, "message"))}
}

// arrived sends the host on to the server, if that is there.
func (r *room) arrived(f *flight) bool {
	r.mu.Lock()
	modern := r.modern != nil
	r.mu.Unlock()
	there := f.err == nil && f.answer.error == nil
	if modern {
		there = r.era.serverEra() != unknownEra // whatever it said
	}
	if !there {
		return false
	}
	r.mu.Lock()
	heard := r.heard
	r.open, r.heard, r.trying = false, nil, false
	r.mu.Unlock()
	if !modern {
		if err := r.era.settle(r.life); err != nil {
			r.Logger.Debug("the server could not be told that the session has begun", "err", err)
		}
	}
	close(r.left)
	r.Logger.Debug("the server is there")
	for _, kind := range []string{"tools", "prompts", "resources"} {
		line := []byte(`{"jsonrpc":"2.0","method":"notifications/` + kind + `/list_changed"}`)
		if !modern {
			r.out.write(line)
			continue
		}
		for _, c := range heard {
			if string(member(c.params, "notifications", kind+"ListChanged")) == "true" {
				r.out.write(setAt(line, c.id, "params", "_meta", metaSubscription))
			}
		}
	}
	for _, c := range heard {
		c.quiet = true // it was acknowledged here
		close(c.resumed)
	}
	return true
}

// serve answers a request of a host that waits here.
func (r *room) serve(c *call) (done bool, err error) {
	if c.batch {
		return false, nil
	}
	r.mu.Lock()
	open, stale := r.open, r.stale
	if !open && c.is("tools/list") {
		r.stale = false
	}
	r.mu.Unlock()
	switch {
	case open:
		return r.reply(c), nil
	case stale && c.isSignIn():
		c.reply(said(c, signedInNow))
		return true, nil
	case modernVersion(c.message) != "" && r.era.serverEra() == unknownEra:
		return r.meet(c)
	}
	return false, nil
}

// meet makes the first contact for a modern host.
func (r *room) meet(c *call) (done bool, err error) {
	meta := c.meta
	f := r.era.contact(func(ctx context.Context) (*message, error) {
		if c.is("server/discover") {
			return r.era.introduce(ctx, c.raw)
		}
		return r.era.probe(ctx, meta)
	})
	if !r.wait(c, f) {
		return true, nil
	}
	if c.is("server/discover") && f.answer != nil {
		r.conclude(c, f.answer, true)
		return true, nil
	}
	if f.err != nil && (c.is("server/discover") || r.era.serverEra() == unknownEra) {
		return true, f.err
	}
	return false, nil
}
