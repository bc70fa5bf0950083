package chaos

import (
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// suspicions are rejections of a living session's requests that look as if the
// session were over.
var suspicions = []behaviour{
	suspicion("400 in words", 400, "Bad Request: No valid session ID provided"),
	suspicion("409", 409, ""),
	suspicion("422", 422, "no"),
	suspicion("503 without a time", 503, "unknown on this instance"),
	suspicion("400 with an error without id", 400, fmt.Sprintf(withoutID, -32000)),
	suspicion("200 with an error without id", 200, fmt.Sprintf(withoutID, -32600)),
	suspicion("405", 405, ""),
}

func suspicion(name string, status int, body string) behaviour {
	return behaviour{name, 1, true, posts, func(x *exchange) {
		if x.m.Method == "ping" {
			x.doubt() // it may be the one that decides a suspicion
		}
		if strings.HasPrefix(body, "{") {
			x.w.Header().Set("Content-Type", "application/json")
		}
		x.status(status, body)
	}}
}

// mended is a behaviour whose response is JSON but for a change.
func changed(name string, change func(response string) string) behaviour {
	return behaviour{name, 1, true, posts, func(x *exchange) {
		x.carry()
		body := change(x.result())
		if x.json {
			x.sendJSON(body)
			return
		}
		x.sendEvents(event(body))
	}}
}

func inResult(more string) func(string) string {
	return func(response string) string { return strings.Replace(response, `"result":{`, `"result":{`+more+`,`, 1) }
}

// invalid are responses that are not quite JSON-RPC.
var invalid = []behaviour{
	changed("a byte order mark", func(response string) string { return "\ufeff" + response }),
	changed("bytes that are not UTF-8", inResult("\"bad\":\"\xff\xc3\"")),
	changed("a raw control character", inResult("\"bad\":\"\x01\"")),
	changed("NaN", inResult(`"bad":NaN`)),
	changed("an error that is null", func(response string) string {
		return strings.Replace(response, `"result":`, `"error":null,"result":`, 1)
	}),
	changed("no jsonrpc", func(response string) string { return strings.Replace(response, `"jsonrpc":"2.0",`, "", 1) }),
	changed("another jsonrpc", func(response string) string { return strings.Replace(response, `"2.0"`, `"1.0"`, 1) }),
	changed("line ends between tokens", func(response string) string { return strings.ReplaceAll(response, `,"`, ",\n \"") }),
	changed("duplicate members", func(response string) string { return strings.Replace(response, `"id":`, `"id":999999,"id":`, 1) }),
	changed("escaped names", func(response string) string { return strings.Replace(response, `"result"`, `"res\u0075lt"`, 1) }),
	changed("two values", func(response string) string { return response + response }),
	changed("result and error", func(response string) string {
		return strings.TrimSuffix(response, "}") + `,"error":{"code":-1,"message":"also"}}`
	}),
	changed("an error that is text", func(response string) string {
		return response[:strings.Index(response, `"result"`)] + `"error":"failed"}`
	}),
	changed("deeply nested", inResult(`"deep":`+strings.Repeat("[", 20000)+strings.Repeat("]", 20000))),
	changed("a large number", inResult(`"big":1234567890123456789012345678901234567890.5e400`)),
	{"deflate", 1, true, posts, func(x *exchange) {
		x.carry()
		x.w.Header().Set("Content-Type", "application/json")
		x.w.Header().Set("Content-Encoding", "deflate")
		z := zlib.NewWriter(x.w)
		io.WriteString(z, x.result())
		z.Close()
	}},
	{"gzip", 1, true, posts, func(x *exchange) {
		x.carry()
		x.w.Header().Set("Content-Type", "text/event-stream")
		x.w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(x.w)
		io.WriteString(z, event(x.result()))
		z.Close()
	}},
	{"JSON without a type", 1, true, posts, func(x *exchange) {
		x.carry()
		x.w.Header()["Content-Type"] = nil
		io.WriteString(x.w, x.result())
	}},
	{"JSON as text", 1, true, posts, func(x *exchange) {
		x.carry()
		x.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(x.w, x.result())
	}},
}

// silences are responses that end without having sent anything.
var silences = []behaviour{
	{"202", 1, true, posts, func(x *exchange) {
		x.carry()
		x.accept()
	}},
	{"204", 1, true, posts, func(x *exchange) {
		x.carry()
		x.w.WriteHeader(http.StatusNoContent)
	}},
	{"an empty 200", 1, true, posts, func(x *exchange) {
		x.carry()
		x.w.Header().Set("Content-Type", "application/json")
		x.w.Header().Set("Content-Length", "0")
	}},
	{"an empty 200 in chunks", 1, true, posts, func(x *exchange) {
		x.carry()
		x.flush()
	}},
	{"202 with the response", 1, true, posts, func(x *exchange) {
		x.carry()
		x.w.Header().Set("Content-Type", "application/json")
		x.w.WriteHeader(http.StatusAccepted)
		io.WriteString(x.w, x.result())
	}},
	{"an empty stream, and the response on the session's", 1, true, []string{"legacy"}, func(x *exchange) {
		x.carry()
		x.sendEvents(": nothing\n\n")
		x.push(x.s, x.result())
	}},
	{"an endpoint event", 1, true, posts, func(x *exchange) {
		x.sendEvents("event: endpoint\ndata: /messages?session=1\n\n")
	}},
	{"an endpoint event, held open", 1, true, posts, func(x *exchange) {
		x.sendEvents("event: endpoint\ndata: /messages?session=1\n\n")
		x.holding()
	}},
	{"half a header, held open", 1, true, posts, func(x *exchange) {
		x.w.Header().Set("Content-Type", "application/json")
		x.flush()
		x.holding()
	}},
}

// redirects lead to the same server and to others.
var redirects = []behaviour{
	redirect("307 to the same origin", 307, "/moved"),
	redirect("308 to the same origin", 308, "http://"+serverHost+"/moved"),
	redirect("302 to the same origin", 302, "/moved"),
	redirect("303 to the same origin", 303, "/moved"),
	redirect("307 to another host", 307, "http://"+foreignHost+"/mcp"),
	redirect("307 to another port", 307, "http://"+serverHost+":8080/mcp"),
	redirect("302 to another host", 302, "http://"+foreignHost+"/login"),
	redirect("307 to nowhere", 307, ""),
	{"a redirect loop", 1, true, posts, func(x *exchange) {
		x.w.Header().Set("Location", x.r.URL.Path)
		x.w.WriteHeader(http.StatusTemporaryRedirect)
	}},
}

func redirect(name string, status int, to string) behaviour {
	return behaviour{name, 1, true, posts, func(x *exchange) {
		if x.r.URL.Path == "/moved" {
			x.carry()
			x.sendJSON(x.result())
			return
		}
		if to != "" {
			x.w.Header().Set("Location", to)
		}
		x.w.WriteHeader(status)
	}}
}
