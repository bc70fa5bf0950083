package bridge

import (
	"context"
	"slices"
	"sync"
)

// legacyServer translates for a host of 2026-07-28 or later on a server of
// before.
type legacyServer struct {
	eras *eras

	mu            sync.Mutex // guards what follows
	subscriptions []*call    // the host's subscriptions/listen
	underWay      []*call    // what is under way at the server, in order
	parked        map[string]*parked
}

// noDiscover has a host that speaks both eras fall back to initialize: in
// one era with its server it has more than any translation gives.
var noDiscover = newTrouble(codeNoMethod, "legacy_server", "the server is of the time before "+
	firstModern+" and knows no server/discover: begin with initialize")

// inputKey is the name of the one input that is requested at a time.
const inputKey = "input"

// serve carries out a request of the host.
func (t *legacyServer) serve(c *call) error {
	if err := t.ready(c); err != nil {
		return err
	}
	if t.eras.serverEra() == modernEra { // which it was only slow to respond
		return t.eras.native(c)
	}
	switch c.name() {
	case "server/discover":
		c.reply(t.discovered())
		return nil
	case "subscriptions/listen":
		return t.subscribe(c)
	}
	if state := text(member(c.params, "requestState")); state != "" {
		if p := t.unpark(state); p != nil {
			return t.resume(c, p)
		}
		return newTrouble(codeInvalidArgs, "input",
			"the request that this input is for is over: send it again")
	}
	raw := set(t.strip(c.raw), "id", t.eras.nextID())
	m, err := parse(raw)
	if err != nil {
		return err
	}
	p := &parked{inner: t.eras.own(t.eras.life, m), err: make(chan error, 1)}
	p.inner.sent, p.inner.inputRequests = c.sent, make(chan *message, 16)
	c.left.Store(true)
	t.eras.do(func() {
		t.enter(p.inner)
		defer t.leave(p.inner)
		defer p.inner.cancel()
		if err := t.eras.up.call(p.inner); err != nil && !p.inner.responded() {
			p.err <- err
		}
	})
	return t.await(c, p)
}

func (t *legacyServer) enter(inner *call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.underWay = append(t.underWay, inner)
}

func (t *legacyServer) leave(inner *call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.underWay = slices.DeleteFunc(t.underWay, func(other *call) bool { return other == inner })
}

// carrier returns a call that can carry a request of the server that belongs to no call, as all
// of them do over HTTP+SSE; nil: none is under way. The host responds to the request and not to
// the call, so that any will do; the last is the most likely to be the reason.
func (t *legacyServer) carrier() *call {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.underWay); n > 0 {
		return t.underWay[n-1]
	}
	return nil
}

// ready begins a session, once, with what the host's request holds for it.
func (t *legacyServer) ready(c *call) error {
	e := t.eras
	e.mu.Lock()
	e.known.translates = true
	if e.known.hello == nil {
		params := object("protocolVersion", lastLegacy,
			"capabilities", orElse(member(c.meta, metaCapabilities), "{}"),
			"clientInfo", orElse(member(c.meta, metaClient), string(e.itself())))
		e.known.hello = object("jsonrpc", "2.0", "id", "handstamp-0",
			"method", "initialize", "params", params)
		e.known.confirmation = notification("notifications/initialized")
	}
	greeted := e.known.greeted
	e.mu.Unlock()
	if greeted {
		return nil
	}
	err := e.handshake(c.ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known.translates = e.known.server != modernEra
	e.known.greeted = e.known.greeted || err == nil
	return err
}

// strip takes out of a request what a server of before may take for a sign of
// another era.
func (t *legacyServer) strip(raw []byte) []byte {
	params := member(raw, "params")
	meta := member(params, "_meta")
	for _, name := range []string{metaVersion, metaClient, metaCapabilities, metaLogLevel} {
		meta = cut(meta, name)
	}
	if i := skipSpace(meta, 1); i < len(meta) && meta[i] == '}' {
		return set(raw, "params", cut(params, "_meta"))
	}
	return set(raw, "params", set(params, "_meta", meta))
}

// discovered returns what server/discover would have sent.
func (t *legacyServer) discovered() []byte {
	response := t.eras.now().initializeResult
	made := []any{"resultType", "complete", "supportedVersions", []string{firstModern},
		"ttlMs", 0, "cacheScope", "private",
		"capabilities", orElse(member(response, "capabilities"), "{}")}
	if instructions := member(response, "instructions"); instructions != nil {
		made = append(made, "instructions", instructions)
	}
	if info := member(response, "serverInfo"); info != nil {
		made = append(made, "_meta", object(metaServer, info))
	}
	return object(made...)
}

// await gives the host the response of a request under way, or what the server
// requests instead.
func (t *legacyServer) await(c *call, p *parked) error {
	select {
	case <-p.inner.ended:
		if p.inner.failed != nil {
			return p.inner.failed
		}
		t.eras.deliverResponse(c, t.complete(c, p.inner.got), false)
		return nil
	case err := <-p.err:
		return err
	case request := <-p.inner.inputRequests:
		p.inputRequestID = request.id
		state := t.park(c, p)
		input := object("method", request.method)
		if request.params != nil {
			input = object("method", request.method, "params", request.params)
		}
		result := object("resultType", "input_required",
			"inputRequests", object(inputKey, input), "requestState", state)
		if !c.reply(result) {
			t.abandon(c.id) // the host has cancelled it meanwhile
		}
		return nil
	case <-c.ctx.Done():
		t.abandonOne(p)
		return c.ctx.Err()
	}
}

// resume gives the server the input that the host has brought.
func (t *legacyServer) resume(c *call, p *parked) error {
	response := member(c.params, "inputResponses", inputKey)
	reply := object("jsonrpc", "2.0", "id", p.inputRequestID, "result", response)
	if response == nil {
		reply = newTrouble(codeInvalidArgs, "input", "the host gave no input").response(p.inputRequestID)
	}
	m, err := parse(reply)
	if err == nil {
		err = t.eras.up.notify(c.ctx, m)
	}
	if err != nil {
		t.abandonOne(p)
		return err
	}
	c.sent.continues.Store(p.inner.sent)
	return t.await(c, p)
}

// complete adds to a result what modern ones have to have.
func (t *legacyServer) complete(c *call, m *message) *message {
	result := m.result
	if result == nil {
		return m
	}
	switch c.name() {
	case "tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read":
		if member(result, "ttlMs") == nil {
			result = set(set(result, "cacheScope", []byte(`"private"`)), "ttlMs", []byte("0"))
		}
	}
	if member(result, "resultType") == nil {
		result = set(result, "resultType", []byte(`"complete"`))
	}
	if made, err := parse(set(m.raw, "result", result)); err == nil {
		return made
	}
	return m
}

// subscribe keeps a subscriptions/listen open.
func (t *legacyServer) subscribe(c *call) error {
	filter := orElse(member(c.params, "notifications"), "{}")
	uris := member(filter, "resourceSubscriptions")
	_ = elements(uris, func(uri []byte) bool { return t.update(c.ctx, "resources/subscribe", uri) })
	t.mu.Lock()
	t.subscriptions = append(t.subscriptions, c)
	t.mu.Unlock()
	if !c.quiet {
		t.eras.out.write(acknowledgement(c.id, filter))
	}
	<-c.ctx.Done()
	t.mu.Lock()
	t.subscriptions = slices.DeleteFunc(t.subscriptions, func(other *call) bool { return other == c })
	t.mu.Unlock()
	_ = elements(uris, func(uri []byte) bool {
		return t.wanted(uri) || t.update(t.eras.background(t.eras.life), "resources/unsubscribe", uri)
	})
	return c.ctx.Err()
}

// update sends a request for a resource and reports whether it had a response.
func (t *legacyServer) update(ctx context.Context, method string, uri []byte) bool {
	_, err := t.eras.up.request(ctx, t.eras.newRequest(method, "params", object("uri", uri)))
	return err == nil
}

// wanted reports whether a subscription of the host is for a resource.
func (t *legacyServer) wanted(uri []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.subscriptions, func(c *call) bool { return subscribed(c, uri) })
}

// subscribed reports whether a subscription is for a resource.
func subscribed(c *call, uri []byte) bool {
	return lists(member(c.params, "notifications", "resourceSubscriptions"), text(uri))
}

// acknowledgement returns the first message of a subscription.
func acknowledgement(id, filter []byte) []byte {
	return object("jsonrpc", "2.0", "method", "notifications/subscriptions/acknowledged",
		"params", object("_meta", object(metaSubscription, id), "notifications", filter))
}

// carry deals with a request of the server.
func (t *legacyServer) forward(m *message, c *call) {
	var reply []byte
	switch m.name() {
	case "ping":
		reply = object("jsonrpc", "2.0", "id", m.id, "result", []byte("{}"))
	case "elicitation/create", "sampling/createMessage", "roots/list":
		if c == nil || c.inputRequests == nil {
			c = t.carrier()
		}
		if c != nil {
			select {
			case c.inputRequests <- m:
				return
			default:
			}
		}
	}
	if reply == nil {
		reply = newTrouble(codeNoMethod, "translation", "the host is of an era in which servers send no "+
			"requests, and none of its own is under way that could carry this one").response(m.id)
	}
	t.eras.respondToServer(reply)
}

// fromServer returns a message of the server's as the host gets it.
func (t *legacyServer) fromServer(m *message, c *call) []byte {
	if m.request() {
		t.forward(m, c)
		return nil
	}
	kind := map[string]string{
		"notifications/tools/list_changed":     "toolsListChanged",
		"notifications/prompts/list_changed":   "promptsListChanged",
		"notifications/resources/list_changed": "resourcesListChanged",
	}[m.name()]
	if kind == "" && !m.is("notifications/resources/updated") {
		return m.raw
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.subscriptions {
		wanted := kind == "" && subscribed(c, member(m.params, "uri"))
		if kind != "" {
			wanted = string(member(c.params, "notifications", kind)) == "true"
		}
		if wanted {
			t.eras.out.write(setAt(m.raw, c.id, "params", "_meta", metaSubscription))
		}
	}
	return nil
}
