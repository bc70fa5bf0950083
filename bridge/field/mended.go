package main

import (
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
)

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
