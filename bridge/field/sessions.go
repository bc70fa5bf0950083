package main

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// forgotten plays a server that forgets the session between two calls and reports it in a way
// of its own.
func forgottenAs(say func(x *exchange)) func(p *play) {
	return func(p *play) {
		s := p.serve(nil)
		s.unknown = say
		h := p.session(s)
		h.echoed("before", soon)
		base := s.initializes()
		s.forget()
		h.echoed("after", 2*soon)
		s.replacedOnce(base)
		h.echoed("later", soon)
		s.replacedOnce(base)
	}
}

// asError tells of a forgotten session with a status and an error without an id.
func asError(status, code int, text string) func(x *exchange) {
	return func(x *exchange) { x.status(status, "application/json", failure("", code, text)) }
}

func asText(status int, text string) func(x *exchange) {
	return func(x *exchange) { x.status(status, "text/plain", text) }
}

var forgotten = []behaviour{
	{
		name: "forgotten-404",
		kind: "the server forgets the session and returns 404, as specified",
		met:  "the specification",
		now:  "one new session, and the request is sent again",
		play: forgottenAs(nil),
	},
	{
		name:   "forgotten-400",
		kind:   "a forgotten session gets 400 and an error without an id",
		met:    "server-everything 2026.8.31, supergateway 3.4.3; affine#301, claude-code#27425, supergateway#123, MCP-Nest#106, mcphub#405",
		now:    "one `ping` decides it, one new session, and the request is sent again",
		before: "error -32000: Bad Request: No valid session ID provided",
		play:   forgottenAs(asError(400, -32000, "Bad Request: No valid session ID provided")),
	},
	{
		name:   "forgotten-400-text",
		kind:   "with 400 and plain text",
		met:    "neighbour of the same",
		now:    "the same",
		before: "error -31006: the server responds with HTTP status 400 (Bad Request)",
		play:   forgottenAs(asText(400, "Invalid or missing session ID")),
	},
	{
		name:   "forgotten-410",
		kind:   "with 410",
		met:    "gateways with a session store",
		now:    "one new session, and the request is sent again",
		before: "error -31006: the server responds with HTTP status 410 (Gone)",
		play:   forgottenAs(asText(410, "Gone")),
	},
	{
		name:   "forgotten-409",
		kind:   "with 409",
		met:    "neighbour of the same",
		now:    "one `ping` decides it, one new session",
		before: "error -31006: the server responds with HTTP status 409 (Conflict)",
		play:   forgottenAs(asText(409, "session conflict")),
	},
	{
		name:   "forgotten-422",
		kind:   "with 422",
		met:    "neighbour: Rust servers",
		now:    "the same",
		before: "error -31006: the server responds with HTTP status 422 (Unprocessable Entity)",
		play:   forgottenAs(asText(422, "Unexpected message, expect initialize request")),
	},
	{
		name:   "forgotten-503",
		kind:   "with 503, unknown on this instance",
		met:    "neotoma PR 1750",
		now:    "the same",
		before: "error -32000: Session unknown on this instance",
		play:   forgottenAs(asError(503, -32000, "Session unknown on this instance")),
	},
	{
		name:   "forgotten-200-32600",
		kind:   "with 200 and the error -32600 with `id: null`",
		met:    "servers that respond over HTTP with 200 only",
		now:    "the same",
		before: "error -32600: Session not found",
		play:   forgottenAs(asError(200, -32600, "Session not found")),
	},
	{
		name:   "forgotten-200-32001",
		kind:   "with 200 and the error -32001 with `id: null`",
		met:    "the same",
		now:    "the same",
		before: "error -32001: Session not found",
		play:   forgottenAs(asError(200, -32001, "Session not found")),
	},
	{
		name:   "forgotten-200-stream",
		kind:   "with the same error in an event stream",
		met:    "neighbour of the same",
		now:    "the same",
		before: "error -32001: Session not found",
		play:   forgottenAs(func(x *exchange) { x.stream(event(failure("", -32001, "Session not found"))) }),
	},
	{
		name:   "forgotten-sse",
		kind:   "on HTTP+SSE: 404 to the POST, while the stream is open",
		met:    "supergateway, load balancers without affinity",
		now:    "a new stream and session, and the request is sent again",
		before: "error -31006: the server responds with HTTP status 404 (Not Found)",
		play: func(p *play) {
			s := p.serveSSE(nil)
			h := p.session(s)
			h.echoed("before", soon)
			base := s.initializes()
			s.forget()
			h.echoed("after", 2*soon)
			s.replacedOnce(base)
		},
	},
}

// rejecting rejects the calls whose text is not "fine", in a session that lives.
func rejecting(reject func(x *exchange)) func(x *exchange) bool {
	return func(x *exchange) bool {
		if x.method != "tools/call" || x.text() == "fine" {
			return false
		}
		reject(x)
		return true
	}
}

// kept plays calls that are rejected in a session that lives.
func kept(reject func(x *exchange), texts ...string) func(p *play) {
	return func(p *play) {
		s := p.serve(rejecting(reject))
		h := p.session(s)
		h.echoed("fine", soon)
		base := s.initializes()
		for _, text := range texts {
			h.failure(h.call(text), 2*soon)
			s.once(text)
		}
		h.echoed("fine", soon)
		s.sameSession(base)
	}
}

var keptSessions = []behaviour{
	{
		name: "rejected-in-a-session-that-lives",
		kind: "403, 407, 408, 413, 415, 425, 429, 500, 502, 504 to a call, while the session lives",
		met:  "rate limits, body limits, gateways",
		now:  "an error; the session stays",
		play: kept(func(x *exchange) {
			var status int
			_, _ = fmt.Sscanf(x.text(), "status %d", &status)
			x.status(status, "text/plain", http.StatusText(status))
		}, "status 403", "status 407", "status 408", "status 413", "status 415", "status 425", "status 429", "status 500", "status 502", "status 504"),
	},
	{
		name: "rejected-arguments",
		kind: "400 to a call with arguments that the server rejects, while the session lives",
		met:  "frameworks that validate before the protocol",
		now:  "one `ping` shows that the session lives; the call gets the error and is not repeated",
		play: kept(asText(400, "text is too short"), "a", "b", "c"),
	},
	{
		name: "rejected-without-an-id",
		kind: "200 and an error with `id: null` to a call, while the session lives",
		met:  "servers whose error handler has lost the id",
		now:  "the same",
		play: kept(asError(200, -32600, "Invalid Request"), "a", "b", "c"),
	},
	{
		name: "suspicion-without-response",
		kind: "400 to a call, and no response to anything after it",
		met:  "a server that is going down",
		now:  "an error; nothing is sent again",
		play: func(p *play) {
			var down atomic.Bool
			s := p.serve(func(x *exchange) bool {
				switch {
				case down.Load():
					x.hang()
				case x.text() == "last":
					down.Store(true)
					x.status(400, "text/plain", "Bad Request")
				default:
					return false
				}
				return true
			})
			h := p.session(s)
			h.failure(h.call("last"), 20*time.Second)
			s.once("last")
		},
	},
	{
		name: "every-session-is-forgotten-at-once",
		kind: "the server rejects every call with 400 and every session's ping",
		met:  "two instances behind a balancer without affinity",
		now:  "an error for each call, at most one new session in 30 s",
		play: func(p *play) {
			s := p.serve(func(x *exchange) bool {
				if x.method != "tools/call" && x.method != "ping" {
					return false
				}
				x.status(400, "application/json", failure("", -32000, "No valid session ID provided"))
				return true
			})
			h := p.session(s)
			base := s.initializes()
			for i := range 6 {
				h.failure(h.call(fmt.Sprint("call ", i)), 2*soon)
			}
			if n := s.initializes() - base; n > 1 {
				p.wrong("the session is replaced %s", times(n))
			}
		},
	},
	{
		name:   "second-initialize",
		kind:   "the host initializes a second time",
		met:    "hosts that reload their servers",
		now:    "the first session is ended at the server",
		before: "the end of the first session does not reach the server within 5 s",
		play: func(p *play) {
			s := p.serve(nil)
			h := p.session(s)
			first := s.session()
			h.initialize()
			h.echoed("after", soon)
			s.got("the end of the first session", soon, func(x *exchange) bool {
				return x.r.Method == http.MethodDelete && x.session == first
			})
		},
	},
}
