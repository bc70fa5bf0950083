package main

import (
	"io"
	"strings"
	"time"
)

var pending = []behaviour{
	{
		name:   "notification-without-response",
		kind:   "the POST of a notification never gets a response",
		met:    "vocs#484, modelcontextprotocol#2755",
		now:    "requests go on beside it",
		before: "no response within 5 s",
		play: func(p *play) {
			s := p.serve(func(x *exchange) bool {
				if x.method == "" || x.id != "" {
					return false
				}
				x.hang()
				return true
			})
			h := p.bridge(s.url)
			h.initialize()
			h.echoed("first", soon)
			h.send(`{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`)
			h.echoed("second", soon)
		},
	},
	{
		name:   "notifications-in-order",
		kind:   "the server takes its time for a notification, and the next one comes meanwhile",
		met:    "neighbour: progress of the host",
		now:    "notifications arrive in the order of the host",
		before: "they arrive as 214",
		play: func(p *play) {
			s := p.serve(func(x *exchange) bool {
				return x.method == "notifications/progress" && x.contains(`"progress":1}`) && !x.wait(500*time.Millisecond)
			})
			h := p.bridge(s.url)
			h.initialize()
			for _, n := range []string{"1", "2", "3", "4"} {
				h.send(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":%s}}`, n)
			}
			s.got("the last notification", soon, func(x *exchange) bool { return x.contains(`"progress":4}`) })
			var order string
			s.count(func(x *exchange) bool {
				if x.method == "notifications/progress" {
					order += x.message.at("params", "progress")
				}
				return false
			})
			if order != "1234" {
				p.wrong("they arrive as %s", order)
			}
		},
	},
	{
		name: "redirect-301",
		kind: "301 to a request, within the server: it would turn POST into GET",
		met:  "toolhive#492, vscode#246753; a slash at the end",
		now:  "an error that says so",
		play: responding(redirectWithin(301), fails(2*soon, "redirect", "301")),
	},
	{
		name:   "redirect-303",
		kind:   "303 likewise",
		met:    "neighbour of the same",
		now:    "the same",
		before: "no response within 10 s",
		play:   responding(redirectWithin(303), fails(2*soon, "redirect", "303")),
	},
	{
		name:   "endpoint-stream-for-a-post",
		kind:   "the response to a POST is the stream of HTTP+SSE and its `endpoint` event",
		met:    "servers that mount one handler for all methods",
		now:    "an error, or the response, in bounded time",
		before: "no response within 32 s",
		play: responding(func(x *exchange) {
			x.stream("event: endpoint\ndata: /messages?session=1\n\n")
			x.hang()
		}, func(_ *play, _ *server, h *host, id string) { h.response(id, empty) }),
	},
	{
		name:   "202-without-a-stream",
		kind:   "202 to a request, and there is no stream on which the response could come",
		met:    "gateways that accept everything",
		now:    "an error that says so within 30 s",
		before: "no response within 32 s",
		play:   withoutStream(func(x *exchange) { x.status(202, "", "") }, fails(empty, "202", "empty", "accepted")),
	},
	{
		name:   "empty-200",
		kind:   "200 without a body, likewise",
		met:    "neighbour of the same",
		now:    "the same",
		before: "no response within 32 s",
		play:   withoutStream(func(x *exchange) { x.status(200, "application/json", "") }, fails(empty)),
	},
	{
		name: "empty-stream",
		kind: "an event stream that ends without an event, likewise",
		met:  "neighbour of the same",
		now:  "the same",
		play: withoutStream(func(x *exchange) { x.stream(": nothing\n\n") }, fails(empty)),
	},
	{
		name:   "202-with-the-response",
		kind:   "202 with the response in its body",
		met:    "frameworks whose default status is 202",
		now:    "it is the response",
		before: "no response within 5 s",
		play:   responding(func(x *exchange) { x.status(202, "application/json", x.response(x.reply())) }, succeeds(soon)),
	},
	{
		name: "201-with-the-response",
		kind: "201 with the response in its body",
		met:  "neighbour: NestJS responses POST with 201",
		now:  "it is the response",
		play: responding(func(x *exchange) { x.status(201, "application/json", x.response(x.reply())) }, succeeds(soon)),
	},
	{
		name: "page-for-a-response",
		kind: "200 with a web page",
		met:  "captive portals, single sign-on in front of the server",
		now:  "an error that says so",
		play: responding(func(x *exchange) { x.status(200, "text/html", "<html><title>Log in</title></html>") }, fails(soon, "text/html", "html")),
	},
	{
		name: "never-ending-response",
		kind: "a response that does not come, and a host that cancels",
		met:  "long tools",
		now:  "the request ends with the host's cancellation; the next one works",
		play: responding(func(x *exchange) { x.hang() }, func(p *play, s *server, h *host, id string) {
			s.got("the call", soon, echo("odd"))
			h.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s}}`, id)
			s.got("the cancellation", soon, method("notifications/cancelled"))
		}),
	},
	{
		name:   "line-over-the-limit",
		kind:   "the host sends a line of 80 MiB",
		met:    "files in arguments",
		now:    "it has its response, with its id, and the next one works",
		before: "no response within 20 s",
		play: func(p *play) {
			s := p.serve(func(x *exchange) bool {
				if len(x.body) < 1<<20 {
					return false
				}
				x.mu.Lock()
				x.seen[len(x.seen)-1].body = nil
				x.mu.Unlock()
				x.body = nil
				x.result(`{"content":[]}`)
				return true
			})
			h := p.bridge(s.url)
			h.initialize()
			h.serial++
			_, err := io.Copy(h.in, io.MultiReader(
				strings.NewReader(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{"text":"`),
				io.LimitReader(filler{}, 80<<20), strings.NewReader("\"}}}\n")))
			if err != nil {
				p.wrong("the bridge has ended: %s", h.lastWords())
			}
			h.response("2", 20*time.Second)
			h.echoed("after", 2*soon)
		},
	},
}

// filler is an endless text.
type filler struct{}

func (filler) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

func redirectWithin(status int) func(x *exchange) {
	return func(x *exchange) {
		x.w.Header().Set("Location", "/mcp/")
		x.w.WriteHeader(status)
	}
}

var words = []behaviour{
	{
		name:   "text-of-a-rejection",
		kind:   "403 with a sentence for the user",
		met:    "csharp-sdk#816, bounty-challenge#10750, agenta#6908",
		now:    "the error has the server's own text",
		before: "the error does not say what came: the server responds with HTTP status 403 (Forbidden)",
		play:   responding(asText(403, "Your plan does not include this tool."), fails(soon, "your plan does not include this tool")),
	},
	{
		name:   "text-of-a-rejection-in-json",
		kind:   "the same as the `message` of a JSON document",
		met:    "the same",
		now:    "the same",
		before: "the error does not say what came: the server responds with HTTP status 429 (Too Many Requests)",
		play: responding(func(x *exchange) {
			x.status(429, "application/json", `{"error":"quota","message":"Your quota ends at noon."}`)
		}, fails(2*soon, "your quota ends at noon")),
	},
	{
		name: "secret-in-a-rejection",
		kind: "a rejection that repeats the request's secret header",
		met:  "servers that quote what they reject",
		now:  "the error does not show it",
		play: func(p *play) {
			s := p.serve(rejecting(func(x *exchange) {
				x.status(403, "text/plain", "No access with key "+x.r.Header.Get("X-Api-Key")+".")
			}))
			h := p.bridge(s.url, "--header", "X-Api-Key:secret-8c1f72b6")
			h.initialize()
			h.echoed("fine", soon)
			if got := h.failure(h.call("other"), soon); strings.Contains(got.at("error"), "8c1f72b6") {
				p.wrong("the host is shown the secret")
			}
		},
	},
	{
		name:   "user-agent",
		kind:   "a server that wants to know who its client is",
		met:    "firewalls that reject what has no name or a library's",
		now:    "`User-Agent` names the bridge and its version",
		before: "it is \"Go-http-client/1.1\"",
		play: func(p *play) {
			s := p.serve(nil)
			h := p.bridge(s.url)
			h.initialize()
			h.echoed("after", soon)
			var agent string
			s.count(func(x *exchange) bool { agent = x.r.UserAgent(); return true })
			if !strings.Contains(agent, p.name) {
				p.wrong("it is %q", short(agent))
			}
		},
	},
}
