package bridge

import (
	"context"
	"errors"
	"strings"
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
		r.open, r.used, r.stale, r.trying, r.failure = true, true, true, true, nil
		r.left, r.wanted = make(chan struct{}), make(chan struct{}, 1)
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

// again makes contact anew.
func (r *room) again() *flight {
	r.mu.Lock()
	r.trying = true
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
		c.reply(said(c, "You are signed in. The server's own tools are available now: list the tools again."))
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

// reply answers a request in the server's place, and reports false if the server
// has come meanwhile and is to do it.
func (r *room) reply(c *call) bool {
	modern := modernVersion(c.message) != ""
	result := func(name string, list []byte) {
		if modern {
			c.reply(object(name, list, "resultType", "complete", "ttlMs", 0, "cacheScope", "private"))
		} else {
			c.reply(object(name, list))
		}
	}
	switch c.name() {
	case "ping", "logging/setLevel":
		c.reply([]byte("{}"))
	case "server/discover":
		c.reply(object("resultType", "complete", "supportedVersions", []string{firstModern}, "capabilities", offers, "ttlMs", 0,
			"cacheScope", "private", "_meta", object(metaServer, object("name", r.Name, "version", r.Version))))
	case "tools/list":
		result("tools", []byte(`[{"name":"`+signInTool+`","title":"Sign in","description":"This server needs somebody to sign in. Says what to do, and begins anew if the last try has failed.","inputSchema":{"type":"object","properties":{}}}]`))
	case "prompts/list":
		result("prompts", []byte("[]"))
	case "resources/list":
		result("resources", []byte("[]"))
	case "resources/templates/list":
		result("resourceTemplates", []byte("[]"))
	case "subscriptions/listen":
		return r.subscribe(c)
	default:
		if c.isSignIn() {
			r.signIn(c)
			return true
		}
		return r.patient(c)
	}
	return true
}

// isSignIn reports whether a call is for the room's own tool.
func (c *call) isSignIn() bool {
	return c.is("tools/call") && text(c.target) == signInTool
}

// said returns a tool's result that is a text.
func said(c *call, message string) []byte {
	pairs := []any{"content", []any{map[string]string{"type": "text", "text": message}}}
	if modernVersion(c.message) != "" {
		pairs = append(pairs, "resultType", "complete")
	}
	return object(pairs...)
}

// signIn says what somebody has to do, and sees to it that it can be done.
func (r *room) signIn(c *call) {
	r.mu.Lock()
	failure := r.failure
	again := !r.trying
	r.trying = true
	r.mu.Unlock()
	if again {
		r.wanted <- struct{}{} // there is room for one, and nobody else wants
	}
	var words strings.Builder
	if again && failure != nil {
		words.WriteString("The last try ended: " + failure.Message + ". It is tried again. ")
	}
	_, awaited, text := r.Person.status()
	switch {
	case awaited:
		words.WriteString(text)
	case failure == nil:
		words.WriteString("Somebody has to sign in to this server. A browser opens for that on this machine.")
	}
	words.WriteString(" The server's tools appear by themselves once that is done.")
	if failure != nil && failure.Command != "" {
		words.WriteString(" Or run: " + failure.Command)
	}
	c.reply(said(c, words.String()))
}

// patient waits for the server, and tells the host if that takes too long. It
// reports false if the server is there.
func (r *room) patient(c *call) bool {
	r.mu.Lock()
	left := r.left
	r.mu.Unlock()
	timer := time.NewTimer(callPatience)
	defer timer.Stop()
	select {
	case <-left:
		return false
	case <-timer.C:
		r.mu.Lock()
		failure := r.failure
		r.mu.Unlock()
		_, awaited, text := r.Person.status()
		if failure != nil && !awaited {
			c.fail(failure)
			break
		}
		if text == "" {
			text = "somebody has to sign in to this server first"
		}
		c.fail(&Trouble{Code: CodeSignIn, Reason: "auth_required", Retry: true, Message: strings.TrimSuffix(text, ".")})
	case <-c.ctx.Done():
	}
	return true
}

// subscribe keeps a subscription until the server is there to have it.
func (r *room) subscribe(c *call) bool {
	filter := member(c.params, "notifications")
	if filter == nil {
		filter = []byte("{}")
	}
	r.mu.Lock()
	c.resumed = make(chan struct{})
	r.heard = append(r.heard, c)
	r.mu.Unlock()
	r.out.write(acknowledged(c.id, filter))
	select {
	case <-c.resumed:
		return false
	case <-c.ctx.Done():
		return true
	}
}

// soften returns a response as a host gets it that was greeted here, and so
// believes in capabilities that the server may not have.
func (r *room) soften(c *call, m *message, line []byte) []byte {
	if m.error == nil || errorCode(m) != codeNoMethod {
		return line
	}
	r.mu.Lock()
	used := r.used
	r.mu.Unlock()
	if !used {
		return line
	}
	empty := map[string]string{
		"tools/list": "tools", "prompts/list": "prompts",
		"resources/list": "resources", "resources/templates/list": "resourceTemplates",
	}[c.name()]
	if empty == "" {
		return line
	}
	return object("jsonrpc", "2.0", "id", c.id, "result", object(empty, []byte("[]")))
}

// introduce sends a host's server/discover and notes what the answer says of the
// server.
func (e *eras) introduce(ctx context.Context, raw []byte) (*message, error) {
	answer, err := e.up.ask(ctx, raw)
	refused, isRefusal := errors.AsType[*refusal](err)
	switch {
	case err == nil && answer.result != nil:
		e.setServer(modernEra)
	case err == nil && errorCode(answer) == codeVersion && supportsModern(answer):
		e.setServer(modernEra)
	case err == nil:
		e.setServer(legacyEra)
	case isRefusal && refused.old():
		e.setServer(legacyEra)
		if refused.body == nil {
			return nil, noDiscover
		}
	case isRefusal && refused.body != nil:
		e.setServer(modernEra)
	}
	return answer, err
}

// probe asks in a host's name what the server is.
func (e *eras) probe(ctx context.Context, meta []byte) (*message, error) {
	return e.introduce(ctx, object("jsonrpc", "2.0", "id", e.nextID(), "method", "server/discover", "params", object("_meta", meta)))
}
