package bridge

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"
)

// A session that replaces another begins where that one ended: the server gets what
// the MCP host had sent to it, and the host is notified that the server's lists may have changed.

const (
	// restoreTimeout bounds the requests that restore a session: what it does not let
	// through is lost, and the host's own requests are not kept waiting for it.
	restoreTimeout = 5 * time.Second

	// restoredAtOnce is how many subscriptions are restored at once.
	restoredAtOnce = 8
)

// sessionState is what the host has sent to the server that lasts for a session. The zero value is
// nothing. It is safe for concurrent use.
type sessionState struct {
	mu        sync.Mutex // guards what follows
	level     []byte     // parameters of logging/setLevel; nil: none
	resources []resource // that are subscribed to, in order
}

type resource struct {
	uri    string
	params []byte
}

// note remembers what a response has made true.
func (k *sessionState) note(c *call, m *message) {
	if m.result == nil {
		return
	}
	if !c.batch {
		k.noteRequest(c.message)
		return
	}
	c.each(func(part *message) {
		if part.id != nil && idKey(part.id) == idKey(m.id) {
			k.noteRequest(part)
		}
	})
}

// noteRequest remembers a request that the server has carried out.
func (k *sessionState) noteRequest(m *message) {
	switch {
	case m.is("logging/setLevel"):
		k.mu.Lock()
		defer k.mu.Unlock()
		k.level = bytes.Clone(m.params)
	case m.is("resources/subscribe"), m.is("resources/unsubscribe"):
		uri := text(member(m.params, "uri"))
		k.mu.Lock()
		defer k.mu.Unlock()
		same := func(r resource) bool { return r.uri == uri }
		k.resources = slices.DeleteFunc(slices.Clone(k.resources), same)
		if m.is("resources/subscribe") {
			k.resources = append(k.resources, resource{uri, bytes.Clone(m.params)})
		}
	}
}

// restorable returns what is to be sent again.
func (k *sessionState) restorable() (level []byte, resources []resource) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.level, k.resources[:len(k.resources):len(k.resources)]
}

// restore sends a server whose session has replaced another what the host had sent in the one
// before, and notifies the host which lists may have changed, of those that the server offers.
func (u *upstream) restore(ctx context.Context, offers []byte) {
	known := u.era.now()
	if known.confirmation == nil {
		return // the host has not begun itself
	}
	inTime, cancel := context.WithTimeout(u.background(ctx), restoreTimeout)
	defer cancel()
	level, resources := u.sessionState.restorable()
	if level != nil {
		u.resend(inTime, "logging/setLevel", level)
	}
	u.resubscribe(inTime, resources)
	if member(known.hello, "params", "capabilities", "roots") != nil {
		// The server requests again what it knew in the session before.
		m := notification("notifications/roots/list_changed")
		if _, err := u.send(&call{message: m, ctx: inTime, plain: true}); err != nil {
			u.Logger.Debug("the roots could not be restored in a new session", "err", err)
		}
	}
	for _, kind := range []string{"tools", "prompts", "resources"} {
		if member(offers, kind) != nil {
			u.deliver(notification("notifications/"+kind+"/list_changed"), nil)
		}
	}
}

// resubscribe subscribes to resources, several at once.
func (u *upstream) resubscribe(ctx context.Context, resources []resource) {
	var all sync.WaitGroup
	slots := make(chan struct{}, restoredAtOnce)
	for _, r := range resources {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			u.resend(ctx, "resources/subscribe", r.params)
		})
	}
	all.Wait()
}

// resend sends a request of the host once more.
func (u *upstream) resend(ctx context.Context, method string, params []byte) {
	response, err := u.requestOn(ctx, u.newRequest(method, "params", cut(params, "_meta")), true)
	if err == nil && response.error != nil {
		err = &Trouble{Message: "code " + string(member(response.error, "code"))}
	}
	if err != nil {
		u.Logger.Debug("a part of the session before could not be restored", "method", method, "err", err)
	}
}

// notification returns a notification of the bridge's own, with more members by name and value.
func notification(method string, more ...any) *message {
	raw := object(append([]any{"jsonrpc", "2.0", "method", method}, more...)...)
	return &message{raw: raw, method: encode(method)}
}
