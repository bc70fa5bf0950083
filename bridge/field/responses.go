package main

import (
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// responding plays one call that the server responds to in a way of its own, and one after it
// that works.
func responding(response func(x *exchange), check func(p *play, s *server, h *host, id string)) func(p *play) {
	return func(p *play) {
		s := p.serve(odd(response))
		h := p.bridge(s.url)
		h.initialize()
		base := s.initializes()
		check(p, s, h, h.call("odd"))
		h.echoed("after", soon)
		s.sameSession(base)
	}
}

// fails wants an error for the call that names what came.
func fails(limit time.Duration, names ...string) func(p *play, s *server, h *host, id string) {
	return func(p *play, s *server, h *host, id string) {
		got := h.failure(id, limit)
		text := strings.ToLower(got.text("error", "message") + got.at("error", "data"))
		if len(names) > 0 && !slices.ContainsFunc(names, func(name string) bool { return strings.Contains(text, name) }) {
			p.wrong("the error does not say what came: %s", short(got.text("error", "message")))
		}
	}
}

// succeeds wants the result for the call, which the server gets once.
func succeeds(limit time.Duration) func(p *play, s *server, h *host, id string) {
	return func(p *play, s *server, h *host, id string) {
		h.isEcho(id, "odd", limit)
		s.once("odd")
	}
}

// empty is how long a request may wait whose response ended without a response.
const empty = 32 * time.Second

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

// odd takes over the call with the text "odd".
func odd(response func(x *exchange)) func(x *exchange) bool {
	return func(x *exchange) bool {
		if x.text() != "odd" {
			return false
		}
		response(x)
		return true
	}
}

// withoutStream plays a server that offers no stream.
func withoutStream(response func(x *exchange), check func(p *play, s *server, h *host, id string)) func(p *play) {
	return func(p *play) {
		s := p.serve(odd(response))
		s.noStream = true
		h := p.bridge(s.url)
		h.initialize()
		base := s.initializes()
		check(p, s, h, h.call("odd"))
		h.echoed("after", soon)
		s.sameSession(base)
	}
}

// onTheStream responds on the session's stream.
func onTheStream(x *exchange) { x.sayTo(x.session, x.response(x.reply())) }

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

// bodied responds to the odd call with a body that is written as given; ID is the id.
func bodied(body string) func(x *exchange) {
	return func(x *exchange) { x.status(200, "application/json", strings.ReplaceAll(body, "ID", x.id)) }
}

// is wants the bytes of a result.
func is(want string) func(p *play, s *server, h *host, id string) {
	return func(p *play, _ *server, h *host, id string) {
		if got := string(h.result(id, 2*soon)["result"]); got != want {
			p.wrong("it comes as %s", short(got))
		}
	}
}

// isLine wants the bytes of a whole line.
func isLine(want string) func(p *play, s *server, h *host, id string) {
	return func(p *play, _ *server, h *host, id string) {
		if got := string(h.response(id, 2*soon).raw); got != strings.ReplaceAll(want, "ID", id) {
			p.wrong("it comes as %s", short(got))
		}
	}
}

// finishes wants one response that a strict host can read, whatever it is.
func finishes(_ *play, _ *server, h *host, id string) { h.response(id, 2*soon) }

var mended = []behaviour{
	{
		name:   "not-utf8",
		kind:   "a byte in a response that is not UTF-8",
		met:    "python-sdk#2454, PR 2873",
		now:    "U+FFFD in its place",
		before: "the host gets a line that is not UTF-8",
		play:   responding(bodied("{\"jsonrpc\":\"2.0\",\"id\":ID,\"result\":{\"t\":\"a\xffb\"}}"), is("{\"t\":\"a\uFFFDb\"}")),
	},
	{
		name:   "not-utf8-in-a-stream",
		kind:   "the same in an event",
		met:    "neighbour of the same",
		now:    "the same",
		before: "the host gets a line that is not UTF-8",
		play: responding(func(x *exchange) {
			x.stream(event("{\"jsonrpc\":\"2.0\",\"id\":" + x.id + ",\"result\":{\"t\":\"a\xc3\"}}"))
		}, is("{\"t\":\"a\uFFFD\"}")),
	},
	{
		name:   "error-null",
		kind:   "`\"error\": null` beside the result",
		met:    "hermes#46099",
		now:    "the member is dropped",
		before: "the host gets a line that has a result and an error",
		play:   responding(bodied(`{"jsonrpc":"2.0","id":ID,"result":{"ok":true},"error":null}`), is(`{"ok":true}`)),
	},
	{
		name:   "result-null-beside-an-error",
		kind:   "`\"result\": null` beside the error",
		met:    "neighbour of the same",
		now:    "the member is dropped",
		before: "the host gets a line that has a result and an error",
		play: responding(bodied(`{"jsonrpc":"2.0","id":ID,"result":null,"error":{"code":-7,"message":"own"}}`), func(p *play, _ *server, h *host, id string) {
			if code := h.failure(id, soon).at("error", "code"); code != "-7" {
				p.wrong("error %s in place of the server's", code)
			}
		}),
	},
	{
		name:   "nan",
		kind:   "`NaN` in a response",
		met:    "Wazuh-MCP#59; Python's json module",
		now:    "an error with the request's id",
		before: "no response within 10 s",
		play:   responding(bodied(`{"jsonrpc":"2.0","id":ID,"result":{"n":NaN}}`), fails(2*soon)),
	},
	{
		name:   "nan-in-a-stream",
		kind:   "the same in an event",
		met:    "neighbour of the same",
		now:    "the same",
		before: "no response within 10 s",
		play: responding(func(x *exchange) {
			x.stream(event(`{"jsonrpc":"2.0","id":` + x.id + `,"result":{"n":-Infinity}}`))
			x.hang()
		}, fails(2*soon)),
	},
	{
		name:   "control-characters",
		kind:   "raw control characters in a string",
		met:    "servers that put JSON together by hand",
		now:    "one response that every host can read",
		before: "no response within 10 s",
		play:   responding(bodied("{\"jsonrpc\":\"2.0\",\"id\":ID,\"result\":{\"t\":\"a\tb\x01\"}}"), finishes),
	},
	{
		name:   "without-jsonrpc",
		kind:   "a response without `jsonrpc`",
		met:    "servers that were written by hand",
		now:    "the member is added",
		before: "the host gets a line that lacks jsonrpc",
		play:   responding(bodied(`{"id":ID,"result":{"ok":true}}`), is(`{"ok":true}`)),
	},
	{
		name: "id-as-a-string",
		kind: "the id comes back as a string",
		met:  "neighbour: servers with typed ids",
		now:  "the response has the host's id",
		play: responding(bodied(`{"jsonrpc":"2.0","id":"ID","result":{"ok":true}}`), is(`{"ok":true}`)),
	},
	{
		name: "valid-json-stays",
		kind: "valid JSON that a parser would write in another way: order, large numbers, escapes, unknown members",
		met:  "servers in Java, Go, PHP",
		now:  "byte for byte the server's",
		play: responding(bodied(`{"result":{"b":1,"a":12345678901234567890.10,"c":"\/\u00e4\ud83d\ude00","d":1E400},"id":ID,"x":[1.0,-0],"jsonrpc":"2.0"}`),
			isLine(`{"result":{"b":1,"a":12345678901234567890.10,"c":"\/\u00e4\ud83d\ude00","d":1E400},"id":ID,"x":[1.0,-0],"jsonrpc":"2.0"}`)),
	},
	{
		name:   "byte-order-mark",
		kind:   "a byte order mark before the JSON",
		met:    "servers on .NET and Windows",
		now:    "it is ignored",
		before: "error -31003: the server's response is no JSON-RPC response",
		play:   responding(func(x *exchange) { x.status(200, "application/json", "\uFEFF"+x.response(x.reply())) }, succeeds(soon)),
	},
	{
		name: "byte-order-mark-in-a-stream",
		kind: "the same before the first event",
		met:  "neighbour of the same",
		now:  "the same",
		play: responding(func(x *exchange) { x.stream("\uFEFF" + event(x.response(x.reply()))) }, succeeds(soon)),
	},
	{
		name:   "deflate",
		kind:   "`Content-Encoding: deflate` (zlib)",
		met:    "middleware that compresses without a request for it",
		now:    "it is decoded",
		before: "error -31003: the server's response is no JSON-RPC response",
		play:   responding(compressed("deflate", func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }), succeeds(soon)),
	},
	{
		name:   "deflate-raw",
		kind:   "the same without zlib's frame",
		met:    "the same",
		now:    "the same",
		before: "error -31003: the server's response is no JSON-RPC response",
		play: responding(compressed("deflate", func(w io.Writer) io.WriteCloser {
			c, _ := flate.NewWriter(w, flate.DefaultCompression)
			return c
		}), succeeds(soon)),
	},
	{
		name: "gzip",
		kind: "`Content-Encoding: gzip`",
		met:  "the same",
		now:  "the same",
		play: responding(compressed("gzip", func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }), succeeds(soon)),
	},
}

func compressed(name string, encoder func(io.Writer) io.WriteCloser) func(x *exchange) {
	return func(x *exchange) {
		x.w.Header().Set("Content-Encoding", name)
		x.w.Header().Set("Content-Type", "application/json")
		e := encoder(x.w)
		_, _ = io.WriteString(e, x.response(x.reply()))
		_ = e.Close()
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
