package main

import (
	"net/http"
	"strings"
	"time"
)

const secret = "secret-8c1f72b6"

// elsewhere plays a server that redirects to another origin what is odd, and wants nothing to
// arrive there, in any form, and an error that names the new address.
func elsewhere(odd func(x *exchange) bool, status int, path string, flags ...string) func(p *play) {
	return func(p *play) {
		other := p.serve(nil)
		other.stateless = true
		s := p.serve(func(x *exchange) bool {
			if !odd(x) {
				return false
			}
			x.w.Header().Set("Location", "http://"+other.address+path)
			x.w.WriteHeader(status)
			return true
		})
		h := p.bridge(s.url, flags...)
		id := h.request("initialize", greeting)
		initialize := h.response(id, 4*beginning)
		h.initialized()
		got := initialize.message
		if got["result"] != nil {
			got = h.response(h.call("odd"), 2*soon).message
		}
		if other.count(func(x *exchange) bool { return x.contains(secret) }) > 0 {
			p.wrong("the other origin gets the secret header")
		}
		if n := other.count(anything); n > 0 {
			p.wrong("the other origin gets %s", requests(n))
		}
		if !strings.Contains(got.at("error"), other.address) {
			p.wrong("the error does not name the new address: %s", short(got.text("error", "message")))
		}
	}
}

func everything(*exchange) bool { return true }

func call(x *exchange) bool { return x.method == "tools/call" }

var redirects = []behaviour{
	{
		name: "redirect-to-another-port",
		kind: "307 to another port, with a secret in `--header`",
		met:  "rust-sdk PR 936, hermes PR 62929, aisix#879",
		now:  "an error that names the new address; nothing arrives there",
		play: elsewhere(call, 307, "/mcp", "--header", "X-Api-Key:"+secret),
	},
	{
		name: "redirect-to-another-port-at-first",
		kind: "the same at the first request",
		met:  "a server that has moved",
		now:  "the same",
		play: elsewhere(everything, 308, "/mcp", "--header", "X-Api-Key:"+secret),
	},
	{
		name: "redirect-with-authorization",
		kind: "the same with `Authorization` in `--header`",
		met:  "the same",
		now:  "the same",
		play: elsewhere(everything, 307, "/mcp", "--header", "Authorization:Bearer "+secret),
	},
	{
		name: "redirect-302-to-another-port",
		kind: "302 to another port",
		met:  "a login page",
		now:  "the same",
		play: elsewhere(call, 302, "/login", "--header", "X-Api-Key:"+secret),
	},
	{
		name: "redirect-with-an-access-token",
		kind: "307 to another port, with a token in `HANDSTAMP_ACCESS_TOKEN`",
		met:  "the same",
		now:  "the same; mcp-remote has the token in `--header`",
		play: func(p *play) {
			if p.name == "handstamp" {
				p.env = append(p.env, "HANDSTAMP_ACCESS_TOKEN="+secret)
				elsewhere(everything, 307, "/mcp")(p)
				return
			}
			elsewhere(everything, 307, "/mcp", "--header", "Authorization:Bearer "+secret)(p)
		},
	},
	{
		name: "redirect-into-the-clear",
		kind: "307 from https to http, with a secret in `--header`",
		met:  "a proxy that ends TLS in front of a server that makes URLs of its own",
		now:  "the same",
		play: func(p *play) {
			other := p.serve(nil)
			other.stateless = true
			s := p.serveTLS(func(x *exchange) bool {
				x.w.Header().Set("Location", other.url)
				x.w.WriteHeader(http.StatusTemporaryRedirect)
				return true
			})
			h := p.bridge(s.url, "--header", "X-Api-Key:"+secret)
			h.response(h.request("initialize", greeting), 4*beginning)
			if other.count(anything) > 0 {
				p.wrong("the secret goes into the clear")
			}
		},
	},
	{
		name: "redirect-of-the-stream",
		kind: "the GET of the stream is redirected to another port",
		met:  "neighbour of the same",
		now:  "nothing arrives there; the session stays",
		play: func(p *play) {
			other := p.serve(nil)
			other.stateless = true
			s := p.serve(func(x *exchange) bool {
				if x.r.Method != http.MethodGet {
					return false
				}
				x.w.Header().Set("Location", other.url)
				x.w.WriteHeader(http.StatusTemporaryRedirect)
				return true
			})
			h := p.session(s, "--header", "X-Api-Key:"+secret)
			s.got("a GET", soon, verb(http.MethodGet))
			p.pause(time.Second)
			h.echoed("after", soon)
			if other.count(anything) > 0 {
				p.wrong("the other origin gets the secret header")
			}
		},
	},
	{
		name: "redirect-within-the-origin",
		kind: "307 and 308 within the origin",
		met:  "a slash at the end",
		now:  "followed, with method and body",
		play: func(p *play) {
			s := p.serve(func(x *exchange) bool {
				if x.r.URL.Path != "/mcp" || x.r.Method != http.MethodPost {
					return false
				}
				status := http.StatusTemporaryRedirect
				if x.method == "tools/call" {
					status = http.StatusPermanentRedirect
				}
				x.w.Header().Set("Location", "/mcp/")
				x.w.WriteHeader(status)
				return true
			})
			h := p.session(s, "--header", "X-Api-Key:"+secret)
			h.echoed("text", soon)
			if s.count(func(x *exchange) bool {
				return x.r.URL.Path == "/mcp/" && x.text() == "text" && x.r.Header.Get("X-Api-Key") == secret
			}) != 1 {
				p.wrong("the call does not arrive as it was sent")
			}
		},
	},
	{
		name: "redirect-loop",
		kind: "redirects in a circle",
		met:  "two rules of a proxy",
		now:  "an error that says so, and not that the call may have been carried out",
		play: responding(func(x *exchange) {
			x.w.Header().Set("Location", "/mcp")
			x.w.WriteHeader(http.StatusTemporaryRedirect)
		}, func(p *play, _ *server, h *host, id string) {
			got := h.failure(id, 2*soon)
			text := got.text("error", "message")
			if strings.Contains(text, "may or may not") || strings.Contains(text, "may have been") {
				p.wrong("the error claims that the call may have been carried out")
			}
			if !strings.Contains(strings.ToLower(text), "redirect") {
				p.wrong("the error does not speak of redirects: %s", short(text))
			}
		}),
	},
	{
		name:   "sse-endpoint-elsewhere",
		kind:   "a server of HTTP+SSE names an endpoint on another origin",
		met:    "a server behind a proxy that makes URLs of its own; a hostile server",
		now:    "nothing arrives there; the error names the origin",
		before: "the error does not name the origin: the server responds with HTTP status 405 (Method Not Allowed)",
		play: func(p *play) {
			other := p.serve(nil)
			other.stateless = true
			s := p.serveSSE(func(x *exchange) bool {
				if x.r.Method != http.MethodGet {
					return false
				}
				x.stream("event: endpoint\ndata: http://" + other.address + "/mcp\n\n")
				x.hang()
				return true
			})
			h := p.bridge(s.url, "--header", "X-Api-Key:"+secret)
			got := h.response(h.request("initialize", greeting), 4*beginning)
			if other.count(anything) > 0 {
				p.wrong("the other origin gets the secret header")
			}
			if !strings.Contains(got.message.at("error"), other.address) {
				p.wrong("the error does not name the origin: %s", short(got.message.text("error", "message")))
			}
		},
	},
}
