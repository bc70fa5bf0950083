package main

import (
	"net/http"
	"sync/atomic"
	"time"
)

// noRoute plays a server that has no route for GET. All else is right, its sessions too.
func noRoute(reject func(x *exchange)) func(p *play) {
	return func(p *play) {
		s := p.serve(toGet(reject))
		h := p.session(s)
		base := s.initializes()
		for range 4 {
			h.echoed("text", soon)
			p.pause(time.Second)
		}
		s.sameSession(base)
		if n := s.count(verb(http.MethodGet)); n > 20 {
			p.wrong("%d GET requests in 4 s", n)
		}
	}
}

// change announces that a list has changed.
const changedTools = `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`

var streams = []behaviour{
	{
		name:   "no-get-route-express",
		kind:   "404 with a web page to the GET of the stream; the session lives",
		met:    "Express without a GET route; kin of malloyyo#134, webtrees#27",
		now:    "there is no stream; the session stays",
		before: "a living session is replaced twice",
		play: noRoute(func(x *exchange) {
			x.status(404, "text/html", "<!DOCTYPE html><pre>Cannot GET /mcp</pre>")
		}),
	},
	{
		name:   "no-get-route-fastify",
		kind:   "the same with a JSON document",
		met:    "Fastify without a GET route",
		now:    "the same",
		before: "a living session is replaced 3 times",
		play: noRoute(func(x *exchange) {
			x.status(404, "application/json", `{"message":"Route GET:/mcp not found","error":"Not Found","statusCode":404}`)
		}),
	},
	{
		name:   "no-get-route-hono",
		kind:   "the same with plain text",
		met:    "Hono without a GET route",
		now:    "the same",
		before: "a living session is replaced once",
		play:   noRoute(asText(404, "404 Not Found")),
	},
	{
		name: "get-is-400",
		kind: "400 to the GET of the stream",
		met:  "servers that take a GET for a request without a body",
		now:  "the same",
		play: noRoute(asText(400, "Bad Request")),
	},
	{
		name: "get-is-500",
		kind: "500 to the GET of the stream, always",
		met:  "frameworks that throw where there is no body",
		now:  "each try comes later than the one before",
		play: noRoute(asText(500, "Internal Server Error")),
	},
	{
		name: "get-is-a-page",
		kind: "200 with a web page to the GET of the stream",
		met:  "a site's front page under every path",
		now:  "there is no stream",
		play: noRoute(func(x *exchange) { x.status(200, "text/html", "<html>hello</html>") }),
	},
	{
		name:   "stream-ends-at-once",
		kind:   "the stream ends as soon as it was opened, and wants to be opened again after 1 ms",
		met:    "supergateway#126, auto-mobile#1942, python-sdk#3257, #3356",
		now:    "each try comes later than the one before",
		before: "3530 GET requests in 6 s",
		play:   endsAtOnce(6, func(x *exchange) { x.stream("retry: 1\n\n") }),
	},
	{
		name:   "stream-ends-at-once-with-an-id",
		kind:   "the same after an event with an id",
		met:    "neighbour of the same",
		now:    "the same",
		before: "3571 GET requests in 6 s",
		play: endsAtOnce(10, func(x *exchange) {
			x.stream("retry: 1\nid: 1\n" + event(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}`))
		}),
	},
	{
		name:   "stream-rejected-for-a-while-409",
		kind:   "a stream that was open breaks, and 409 is returned for 3 s",
		met:    "render#26: the server still holds the old stream",
		now:    "it is tried again, and notifications arrive",
		before: "the stream is not opened again within 15 s",
		play:   rejectedForAWhile(409),
	},
	{
		name:   "stream-rejected-for-a-while-400",
		kind:   "the same with 400",
		met:    "neighbour of the same",
		now:    "the same",
		before: "the stream is not opened again within 15 s",
		play:   rejectedForAWhile(400),
	},
	{
		name: "stream-rejected-for-a-while-503",
		kind: "the same with 503",
		met:  "neighbour of the same",
		now:  "the same",
		play: rejectedForAWhile(503),
	},
}

// endsAtOnce plays a stream that ends as soon as it was opened, and counts how often it is tried.
func endsAtOnce(most int, stream func(x *exchange)) func(p *play) {
	return func(p *play) {
		s := p.serve(toGet(stream))
		h := p.session(s)
		p.pause(6 * time.Second)
		h.echoed("after", soon)
		if n := s.count(verb(http.MethodGet)); n > most {
			p.wrong("%d GET requests in 6 s", n)
		}
	}
}

// rejectedForAWhile plays a stream that breaks and cannot be opened for 3 s.
func rejectedForAWhile(status int) func(p *play) {
	return func(p *play) {
		var busy atomic.Bool
		s := p.serve(func(x *exchange) bool {
			if x.r.Method != http.MethodGet || !busy.Load() {
				return false
			}
			x.status(status, "text/plain", http.StatusText(status))
			return true
		})
		h := p.session(s)
		s.listened(soon)
		base := s.initializes()
		busy.Store(true)
		s.endStreams()
		p.pause(3 * time.Second)
		busy.Store(false)
		if !p.until(15*time.Second, tick, func() bool { return s.say(changedTools) }) {
			p.wrong("the stream is not opened again within 15 s")
		}
		h.note("notifications/tools/list_changed", soon)
		s.sameSession(base)
	}
}

// probed plays a host that probes with server/discover and then initializes, as some do.
func probed(probe func(x *exchange)) func(p *play) {
	return func(p *play) {
		s := p.serve(func(x *exchange) bool {
			if x.method != "server/discover" {
				return false
			}
			probe(x)
			return true
		})
		h := p.bridge(s.url)
		h.request("server/discover", `{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"field","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}`)
		p.pause(300 * time.Millisecond)
		got := h.result(h.request("initialize", greeting), beginning+p.slow)
		if got.at("result", "protocolVersion") == "" || got.at("result", "serverInfo") == "" {
			p.wrong("`initialize` gets the probe's response")
		}
		h.initialized()
		h.echoed("after", 2*soon)
	}
}

var contacts = []behaviour{
	{
		name:   "probe-is-slow",
		kind:   "a host probes with `server/discover`, which takes 3 s, and initializes meanwhile",
		met:    "copilot-cli#4525, Python SDK 2.3, rust-sdk PR 1149",
		now:    "each contact has its own response",
		before: "error -31006: the server responds with HTTP status 404 (Not Found)",
		play: probed(func(x *exchange) {
			if x.wait(3 * time.Second) {
				x.status(200, "application/json", failure(x.id, -32601, "Method not found"))
			}
		}),
	},
	{
		name:   "probe-has-no-response",
		kind:   "the probe has no response at all",
		met:    "slicc#3350, snow-app#56",
		now:    "the same",
		before: "no response within 10 s",
		play:   probed(func(x *exchange) { x.hang() }),
	},
	{
		name: "probe-is-404",
		kind: "the probe meets 404",
		met:  "neighbour: a router by method",
		now:  "the same",
		play: probed(asText(404, "Not Found")),
	},
	{
		name: "probe-is-400",
		kind: "the probe meets 400, for want of a session",
		met:  "server-everything, the TypeScript SDK's servers",
		now:  "the same",
		play: probed(asError(400, -32000, "Bad Request: Server not initialized")),
	},
	{
		name:   "probe-is-202",
		kind:   "the probe meets 202 without a body",
		met:    "neighbour: servers that accept everything",
		now:    "the same",
		before: "no response within 10 s",
		play:   probed(func(x *exchange) { x.status(202, "", "") }),
	},
	{
		name: "probe-is-500",
		kind: "the probe meets 500",
		met:  "neighbour: servers that throw at an unknown method",
		now:  "the same",
		play: probed(asText(500, "Internal Server Error")),
	},
	{
		name:   "probe-is-a-stream",
		kind:   "the probe meets an event stream without an event",
		met:    "neighbour of the silent one",
		now:    "the same",
		before: "no response within 10 s",
		play:   probed(func(x *exchange) { x.stream(": hello\n\n"); x.hang() }),
	},
}
