package main

import (
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// healthy is how long a connection that carries nothing any more may keep a request.
const healthy = 30 * time.Second

var network = []behaviour{
	{
		name:   "http2-goes-silent",
		kind:   "an HTTP/2 connection that carries nothing any more: sleep, another network, a NAT entry that was forgotten",
		met:    "connect-go#829, golang/go#30702, hermes#17003",
		now:    "pings find it out: one call is lost at most, the next one works",
		before: "no response within 5 s",
		play: func(p *play) {
			s := p.serveTLS(nil)
			m := p.between(s)
			h := p.session(s)
			h.echoed("before", soon)
			m.silence()
			p.pause(6 * time.Second)
			first := h.call("first")
			h.p.until(healthy, h.change, func() bool { _, found := h.find(responds(first)); return found })
			h.echoed("second", soon)
		},
	},
	{
		name:   "http2-goes-silent-in-a-call",
		kind:   "the same in the middle of a call",
		met:    "the same",
		now:    "the call ends with an error, the next one works",
		before: "no response within 30 s",
		play: func(p *play) {
			s := p.serveTLS(toCall("under way", (*exchange).hang))
			m := p.between(s)
			h := p.session(s)
			id := h.call("under way")
			s.got("the call", soon, echo("under way"))
			m.silence()
			h.failure(id, healthy)
			h.echoed("second", soon)
		},
	},
	{
		name:   "stream-goes-silent",
		kind:   "the same for the session's own stream",
		met:    "the same",
		now:    "the stream is opened again, and notifications arrive",
		before: "no notification within 30 s",
		play: func(p *play) {
			s := p.serveTLS(nil)
			m := p.between(s)
			h := p.session(s)
			s.listened(soon)
			m.silence()
			if !p.until(healthy, tick, func() bool {
				s.say(`{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}`)
				_, found := h.find(func(l line) bool { return l.message.text("method") == "notifications/prompts/list_changed" })
				return found
			}) {
				p.wrong("no notification within %s", seconds(healthy))
			}
		},
	},
	{
		name: "connections-are-reset",
		kind: "all connections are reset while nothing is under way",
		met:  "a laptop that wakes in another network",
		now:  "the next call works",
		play: func(p *play) {
			s := p.serve(nil)
			m := p.between(s)
			h := p.session(s)
			h.echoed("before", soon)
			m.cut()
			p.pause(300 * time.Millisecond)
			h.echoed("after", soon)
			s.once("after")
		},
	},
	{
		name: "bridge-stands-still",
		kind: "the bridge stands still for 3 s in the middle of a call",
		met:  "a laptop's lid, a paused container",
		now:  "the call has its response",
		play: func(p *play) {
			s := p.serve(func(x *exchange) bool { return x.text() == "slow" && !x.wait(time.Second) })
			h := p.session(s)
			id := h.call("slow")
			s.got("the call", soon, echo("slow"))
			p.must(freeze(h.cmd.Process))
			p.pause(3 * time.Second)
			p.must(thaw(h.cmd.Process))
			h.isEcho(id, "slow", soon)
			h.echoed("after", soon)
		},
	},
}

// signsIn reports whether a tool speaks of signing in.
func signsIn(tools []string) bool { return slices.Contains(tools, "sign_in") }

// asleep is a server that responds to nothing until some time after the first request.
func asleep(d time.Duration) func(x *exchange) bool {
	return func(x *exchange) bool {
		x.mu.Lock()
		first := x.seen[0].at
		x.mu.Unlock()
		return !x.wait(time.Until(first.Add(d)))
	}
}

var slowServers = []behaviour{
	{
		name:   "slow-to-wake",
		kind:   "an open server needs 2 s to wake",
		met:    "serverless and free plans that sleep; scale to zero",
		now:    "`initialize` waits for it; no word of signing in",
		before: "a sign_in tool at an open server",
		play: func(p *play) {
			s := p.serve(asleep(2 * time.Second))
			h := p.bridge(s.url)
			h.initializeWithin(beginning + p.slow)
			if tools := h.tools(soon); signsIn(tools) {
				p.wrong("a sign_in tool at an open server")
			} else if !slices.Contains(tools, "echo") {
				p.wrong("the tools are %v", tools)
			}
		},
	},
	{
		name:   "slower-than-a-host-waits",
		kind:   "an open server needs 8 s to wake",
		met:    "the same, beside hosts that wait 5 s for `initialize` (Claude Code, opencode)",
		now:    "the bridge responds to `initialize` in time in the server's place, without a tool that speaks of signing in; the lists are announced when the server is there",
		before: "a sign_in tool at an open server",
		play: func(p *play) {
			s := p.serve(asleep(8 * time.Second))
			h := p.bridge(s.url)
			h.initializeWithin(beginning + p.slow)
			tools := h.tools(12 * time.Second)
			if signsIn(tools) {
				p.wrong("a sign_in tool at an open server")
			}
			if !slices.Contains(tools, "echo") {
				h.note("notifications/tools/list_changed", 12*time.Second)
				if tools := h.tools(soon); !slices.Contains(tools, "echo") {
					p.wrong("the tools are %v", tools)
				}
			}
			h.echoed("after", soon)
		},
	},
	{
		name:   "never-wakes",
		kind:   "a server takes the connection and never says anything",
		met:    "a proxy in front of a dead container",
		now:    "the bridge responds to `initialize` in time, without a tool that speaks of signing in",
		before: "a sign_in tool at an open server",
		play: func(p *play) {
			s := p.serve(func(x *exchange) bool { x.hang(); return true })
			h := p.bridge(s.url)
			h.response(h.request("initialize", greeting), beginning+p.slow)
			h.initialized()
			list := h.request("tools/list", "")
			p.until(2*time.Second, h.change, func() bool { _, found := h.find(responds(list)); return found })
			if l, found := h.find(responds(list)); found && signsIn(toolNames(l.message)) {
				p.wrong("a sign_in tool at an open server")
			}
		},
	},
	{
		name: "starts-later",
		kind: "the server begins to listen 2 s after the host has started the bridge",
		met:  "compose files, dev servers",
		now:  "the bridge waits for it",
		play: func(p *play) {
			s := p.serve(nil)
			s.stop()
			h := p.bridge(s.url)
			id := h.request("initialize", greeting)
			p.pause(2 * time.Second)
			s.start(s.address)
			h.result(id, beginning+p.slow)
			h.initialized()
			if tools := h.tools(2 * soon); !slices.Contains(tools, "echo") {
				h.note("notifications/tools/list_changed", 2*soon)
			}
			h.echoed("after", soon)
		},
	},
}

// restartIn plays a restart in the middle of a call that the server begins to respond to
// somehow.
func restartIn(begin func(x *exchange)) func(p *play) {
	return func(p *play) {
		restartUnderWay(p, p.serve(toCall("under way", func(x *exchange) {
			begin(x)
			x.hang()
		})))
	}
}

// restartUnderWay restarts a server while a call is under way that it does not respond to.
func restartUnderWay(p *play, s *server) {
	h := p.session(s)
	id := h.call("under way")
	s.got("the call", soon, echo("under way"))
	p.pause(200 * time.Millisecond) // for the response to begin
	s.restart(200 * time.Millisecond)
	h.response(id, 20*time.Second)
	h.echoed("after", 2*soon)
	s.once("under way")
}

var restarts = []behaviour{
	{
		name: "restart-before-the-response",
		kind: "the server restarts in the middle of a call that has no response yet",
		met:  "every deploy",
		now:  "one error, and the next call works in a new session; the call is not repeated",
		play: restartIn(func(*exchange) {}),
	},
	{
		name: "restart-in-the-response",
		kind: "the same within a JSON response",
		met:  "the same",
		now:  "the same",
		play: restartIn(func(x *exchange) {
			x.w.Header().Set("Content-Length", "1000")
			x.status(http.StatusOK, "application/json", `{"jsonrpc":"2.0",`)
			x.flush()
		}),
	},
	{
		name: "restart-in-a-stream",
		kind: "the same within an event stream",
		met:  "the same",
		now:  "the same",
		play: restartIn(func(x *exchange) {
			x.stream(event(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}`))
		}),
	},
	{
		name:   "restart-in-a-stream-with-ids",
		kind:   "the same within an event stream that could be resumed",
		met:    "the same",
		now:    "the same; the resumption meets a server that knows nothing of it",
		before: "no response within 20 s",
		play: restartIn(func(x *exchange) {
			x.stream("id: 1\n" + event(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}`))
		}),
	},
	{
		name: "restart-of-http-sse",
		kind: "a server of HTTP+SSE restarts in the middle of a call",
		met:  "the same",
		now:  "the same",
		play: func(p *play) {
			restartUnderWay(p, p.serveSSE(toCall("under way", func(x *exchange) {
				x.status(http.StatusAccepted, "", "")
			})))
		},
	},
	{
		name: "away-for-3s",
		kind: "calls while the server is away for 3 s",
		met:  "a deploy without an overlap",
		now:  "each has one response, and when the server is back all is well",
		play: func(p *play) {
			s := p.serve(nil)
			h := p.session(s)
			s.stop()
			s.forget()
			var ids []string
			for i := range 3 {
				ids = append(ids, h.call(fmt.Sprint("away ", i)))
				p.pause(time.Second)
			}
			s.start(s.address)
			for _, id := range ids {
				h.response(id, 20*time.Second)
			}
			h.echoed("after", 2*soon)
		},
	},
	{
		name: "gateway-502-for-3s",
		kind: "a gateway returns 502 with a web page for 3 s, and the new server knows no sessions",
		met:  "a deploy behind nginx, Traefik or a cloud's load balancer",
		now:  "the same",
		play: func(p *play) {
			var away atomic.Bool
			s := p.serve(func(x *exchange) bool {
				if !away.Load() {
					return false
				}
				x.status(http.StatusBadGateway, "text/html", "<html><h1>502 Bad Gateway</h1></html>")
				return true
			})
			h := p.session(s)
			away.Store(true)
			s.forget()
			for i := range 3 {
				h.response(h.call(fmt.Sprint("away ", i)), 2*soon)
				p.pause(time.Second)
			}
			away.Store(false)
			h.echoed("after", 2*soon)
		},
	},
	{
		name:   "state-of-a-replaced-session",
		kind:   "log level and resource subscriptions of a session that was replaced",
		met:    "SwiftMCP#179",
		now:    "they are set again, what was unsubscribed is not; the host is notified that lists may have changed",
		before: "the log level of before does not reach the server within 5 s",
		play: func(p *play) {
			s := p.serve(nil)
			h := p.session(s)
			h.result(h.request("logging/setLevel", `{"level":"debug"}`), soon)
			h.result(h.request("resources/subscribe", `{"uri":"file:///kept"}`), soon)
			h.result(h.request("resources/subscribe", `{"uri":"file:///left"}`), soon)
			h.result(h.request("resources/unsubscribe", `{"uri":"file:///left"}`), soon)
			base, old := s.initializes(), s.session()
			s.forget()
			h.echoed("after", soon)
			s.replacedOnce(base)
			again := func(m, text string) func(x *exchange) bool {
				return func(x *exchange) bool {
					return x.method == m && x.session != old && x.contains(text)
				}
			}
			s.got("the log level of before", soon, again("logging/setLevel", "debug"))
			s.got("the subscription of before", soon, again("resources/subscribe", "file:///kept"))
			if s.count(again("resources/subscribe", "file:///left")) > 0 {
				p.wrong("what was unsubscribed is subscribed again")
			}
			h.note("notifications/tools/list_changed", soon)
		},
	},
	{
		name: "roots-of-a-replaced-session",
		kind: "a server wants the host's roots in a session that was replaced",
		met:  "the same",
		now:  "the host's response reaches the new session",
		play: func(p *play) {
			s := p.serve(nil)
			h := p.session(s)
			s.listened(soon)
			s.forget()
			s.endStreams()
			h.echoed("after", soon)
			if !p.until(soon, tick, func() bool { return s.say(`{"jsonrpc":"2.0","id":"roots-1","method":"roots/list"}`) }) {
				p.wrong("the new session has no stream")
			}
			h.note("roots/list", soon)
			h.send(`{"jsonrpc":"2.0","id":"roots-1","result":{"roots":[{"uri":"file:///r"}]}}`)
			s.got("the host's response", soon, func(x *exchange) bool { return x.method == "" && x.contains("file:///r") })
		},
	},
}
