package main

import (
	"net/http"
	"strings"
	"time"
)

// fallsBack plays a server of HTTP+SSE whose address responds to POST with a status.
func fallsBack(status int, kind, body string) func(p *play) {
	return func(p *play) {
		s := p.serveSSE(func(x *exchange) bool {
			if x.r.URL.Path != "/sse" || x.r.Method != http.MethodPost {
				return false
			}
			x.status(status, kind, strings.ReplaceAll(body, "ID", x.id))
			return true
		})
		h := p.bridge(s.url)
		h.result(h.request("initialize", greeting), beginning+p.slow)
		h.initialized()
		h.echoed("after", soon)
		s.once("after")
	}
}

var misplaced = []behaviour{
	{
		name:   "response-under-404",
		kind:   "an error response with the request's id under 404",
		met:    "mcp-toolbox#3588 (-32601)",
		now:    "it is the response; nothing is sent twice, the session stays",
		before: "the call reaches the server 2 times",
		play: responding(func(x *exchange) {
			x.status(404, "application/json", failure(x.id, -32601, "Method not found"))
		}, func(p *play, s *server, h *host, id string) {
			if code := h.failure(id, soon).at("error", "code"); code != "-32601" {
				p.wrong("error %s in place of the server's", code)
			}
			s.once("odd")
		}),
	},
	{
		name:   "result-under-404",
		kind:   "a result with the request's id under 404",
		met:    "neighbour of the same",
		now:    "the same",
		before: "the call reaches the server 2 times",
		play: responding(func(x *exchange) { x.status(404, "application/json", x.response(x.reply())) }, func(_ *play, s *server, h *host, id string) {
			h.response(id, soon)
			s.once("odd")
		}),
	},
	{
		name: "response-under-500",
		kind: "an error response with the request's id under 500",
		met:  "neighbour of the same",
		now:  "the same",
		play: responding(func(x *exchange) {
			x.status(500, "application/json", failure(x.id, -32603, "Internal error"))
		}, func(p *play, s *server, h *host, id string) {
			if code := h.failure(id, soon).at("error", "code"); code != "-32603" {
				p.wrong("error %s in place of the server's", code)
			}
			s.once("odd")
		}),
	},
	{
		name:   "response-on-the-stream-after-an-empty-one",
		kind:   "an event stream ends without an event, and the response comes on the session's stream",
		met:    "mcp-js#185",
		now:    "it is the response",
		before: "error -31004: the connection to the server broke before the response came; the request may or may not have…",
		play:   func(p *play) { responseOnTheStream(p, func(x *exchange) { x.stream(": see the other\n\n") }) },
	},
	{
		name: "response-on-the-stream-after-202",
		kind: "202, and the response comes on the session's stream",
		met:  "early servers of Streamable HTTP",
		now:  "it is the response",
		play: func(p *play) { responseOnTheStream(p, func(x *exchange) { x.status(202, "", "") }) },
	},
	{
		name:   "sse-server-404-32601",
		kind:   "a server of HTTP+SSE responds to the POST to its address with 404 and -32601",
		met:    "routers that speak JSON-RPC",
		now:    "fallback to HTTP+SSE",
		before: "error -32601: Method not found",
		play:   fallsBack(404, "application/json", failure("ID", -32601, "Method not found")),
	},
	{
		name: "sse-server-405",
		kind: "the same with 405",
		met:  "the specification",
		now:  "the same",
		play: fallsBack(405, "text/plain", "Method Not Allowed"),
	},
	{
		name: "sse-server-400",
		kind: "the same with 400",
		met:  "the specification",
		now:  "the same",
		play: fallsBack(400, "text/plain", "Bad Request"),
	},
	{
		name: "sse-server-404-page",
		kind: "the same with 404 and a web page",
		met:  "Express: Cannot POST /sse",
		now:  "the same",
		play: fallsBack(404, "text/html", "<pre>Cannot POST /sse</pre>"),
	},
}

func responseOnTheStream(p *play, first func(x *exchange)) {
	s := p.serve(func(x *exchange) bool {
		if x.text() != "odd" {
			return false
		}
		first(x)
		x.flush()
		// The response comes when the first one has ended.
		time.AfterFunc(300*time.Millisecond, func() { onTheStream(x) })
		return true
	})
	h := p.bridge(s.url)
	h.initialize()
	s.listened(soon)
	base := s.initializes()
	h.isEcho(h.call("odd"), "odd", 2*soon)
	s.once("odd")
	s.sameSession(base)
}
