package bridge

import (
	"context"
	"errors"
	"sync"
)

// inputRounds bounds how often a server may respond to one request by requesting more
// input.
const inputRounds = 16

// modernServer translates for a host of before 2026-07-28 on a server of it or
// later.
type modernServer struct {
	eras *eras

	mu           sync.Mutex // guards what follows
	version      string
	client       []byte // clientInfo of the host's initialize; nil: none
	capabilities []byte
	level        []byte // the log level that the host has set; nil: none
	offers       []byte // capabilities of the server
	resources    map[string]bool
	streams      []*listening // of notifications, in the order in which they began
	hostRequests map[string]chan *message
}

// discover sends server/discover with what the host sent in its initialize,
// and returns the response to that.
func (t *modernServer) discover(ctx context.Context, hello []byte) (*message, error) {
	t.speak(hello, firstModern)
	var response *message
	for try := 0; ; try++ {
		var err error
		response, err = t.eras.up.request(ctx, t.modernize(t.eras.newRequest("server/discover")))
		if err == nil && response.error == nil {
			break
		}
		if response != nil && response.error != nil && errorCode(response) == codeVersion && try == 0 {
			if version := modernIn(member(response.error, "data", "supported")); version != "" {
				t.speak(hello, version)
				continue
			}
		}
		if err == nil {
			err = errors.New("bridge: no server/discover")
		}
		return nil, err
	}
	if modernIn(member(response.result, "supportedVersions")) == "" {
		return nil, errors.New("bridge: server/discover without a modern version")
	}
	return t.introduced(hello, response.result)
}

// speak sets what requests carry about the host that has sent hello, and of their version.
func (t *modernServer) speak(hello []byte, version string) {
	params := member(hello, "params")
	t.mu.Lock()
	defer t.mu.Unlock()
	t.version = version
	t.client = member(params, "clientInfo")
	t.capabilities = orElse(member(params, "capabilities"), "{}")
}

// introduced returns the response to hello, from the server's description of itself; nil: none.
func (t *modernServer) introduced(hello, result []byte) (*message, error) {
	offers := orElse(member(result, "capabilities"), "{}")
	t.mu.Lock()
	t.offers = offers
	t.mu.Unlock()
	made := []any{"protocolVersion", legacyVersion(member(hello, "params")), "capabilities", offers,
		"serverInfo", orElse(member(result, "_meta", metaServer), string(t.eras.itself()))}
	if instructions := member(result, "instructions"); instructions != nil {
		made = append(made, "instructions", instructions)
	}
	return parse(object("jsonrpc", "2.0", "id", member(hello, "id"), "result", object(made...)))
}

// modernize adds to a request what modern ones carry.
func (t *modernServer) modernize(raw []byte) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	params := orElse(member(raw, "params"), "{}")
	meta := orElse(member(params, "_meta"), "{}")
	if t.level != nil {
		meta = set(meta, metaLogLevel, t.level)
	}
	meta = set(meta, metaCapabilities, t.capabilities)
	if t.client != nil {
		meta = set(meta, metaClient, t.client)
	}
	meta = set(meta, metaVersion, encode(t.version))
	return set(raw, "params", set(params, "_meta", meta))
}

// setLevel notes the log level that the host wants.
func (t *modernServer) setLevel(m *message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.level = member(m.params, "level")
}

// capabilitiesOfServer returns what the server sent that it can do.
func (t *modernServer) capabilitiesOfServer() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.offers
}

// serve carries out a request of the host.
func (t *modernServer) serve(c *call) error {
	switch c.name() {
	case "ping":
		c.reply([]byte("{}"))
		return nil
	case "logging/setLevel":
		t.setLevel(c.message)
		c.reply([]byte("{}"))
		return nil
	case "resources/subscribe", "resources/unsubscribe":
		if err := t.subscribe(c); err != nil {
			return err
		}
		c.reply([]byte("{}"))
		return nil
	}
	raw := t.modernize(c.raw)
	c.left.Store(true)
	for range inputRounds {
		// Its notifications go to the host, and the end of the call ends its stream.
		response, err := t.eras.up.requestBy(c.ctx, raw, func(inner *call) error {
			inner.sent = c.sent
			return t.eras.up.callModern(inner)
		})
		if response == nil {
			return err
		}
		if text(member(response.result, "resultType")) != "input_required" {
			t.eras.deliverResponse(c, response, true)
			return nil
		}
		if raw, err = t.supplyInput(c, raw, response.result); err != nil {
			return err
		}
	}
	return newTrouble(CodeTranslation, "input", "the server requests more input again and again")
}

// supplyInput requests from the host what the server wants to know ("Multi Round-Trip
// Requests"), as requests of the server's own, and returns the request to send
// again.
func (t *modernServer) supplyInput(c *call, raw, result []byte) ([]byte, error) {
	inputs := member(result, "inputRequests")
	responses := []byte("{}")
	var err error
	_ = members(inputs, func(f field) bool {
		var response *message
		if response, err = t.requestHost(c.ctx, inputs[f.from:f.to]); err != nil {
			return false
		}
		if response.error != nil {
			err = newTrouble(CodeTranslation, "input", "the host did not give the input that the server "+
				"requests: "+text(member(response.error, "message")))
			return false
		}
		responses = set(responses, text(inputs[f.at:f.name]), response.result)
		return true
	})
	if err != nil {
		return nil, err
	}
	params := set(cut(member(raw, "params"), "requestState"), "inputResponses", responses)
	if state := member(result, "requestState"); state != nil {
		params = set(params, "requestState", state)
	}
	return set(set(raw, "params", params), "id", t.eras.nextID()), nil
}

// requestHost sends the host a request and waits for its response.
func (t *modernServer) requestHost(ctx context.Context, request []byte) (*message, error) {
	id := t.eras.nextID()
	reply := make(chan *message, 1)
	t.mu.Lock()
	t.hostRequests[idKey(id)] = reply
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		delete(t.hostRequests, idKey(id))
		t.mu.Unlock()
	}()
	t.eras.out.write(set(set(request, "id", id), "jsonrpc", []byte(`"2.0"`)))
	select {
	case m := <-reply:
		return m, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// replied passes a response of the host to the request that waits for it.
func (t *modernServer) replied(m *message) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	reply := t.hostRequests[idKey(m.id)]
	if reply == nil {
		return false
	}
	select {
	case reply <- m:
	default:
	}
	return true
}
