package chaos

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// behaviour is what a server does with one request.
type behaviour struct {
	name   string
	weight int
	fault  bool
	at     []string // the servers that have it
	do     func(x *exchange)
}

func (b behaviour) fits(server string) bool { return slices.Contains(b.at, server) }

var (
	posts      = []string{"legacy", "stateless", "modern"}
	before     = []string{"legacy", "stateless"}
	everywhere = []string{"legacy", "stateless", "modern", "sse"}
	asking     = []string{"legacy", "stateless", "sse"}
)

// fine are the behaviours of each server that are no faults.
var fine = map[string][]behaviour{}

var behaviours []behaviour

func init() {
	behaviours = slices.Concat(healthy, statuses, suspicions, breaks, shapes, invalid, silences, redirects, sseFaults)
	for _, b := range behaviours {
		for _, server := range b.at {
			if !b.fault {
				fine[server] = append(fine[server], b)
			}
		}
	}
}

// carry carries a call out.
func (x *exchange) carry() {
	if x.m.Method != "tools/call" || x.n == 0 {
		return
	}
	x.ledger.mu.Lock()
	defer x.ledger.mu.Unlock()
	f := x.fact(x.n)
	if f.carried++; f.carried > 1 {
		x.findLocked("call number %d was carried out %d times", x.n, f.carried)
	}
}

// result is the response to a request.
func (x *exchange) result() string { return x.resultFor(string(x.m.ID)) }

func (x *exchange) resultFor(id string) string {
	result := map[string]string{
		"tools/call":               fmt.Sprintf(`"content":[],"said":%d`, x.n),
		"tools/list":               `"tools":[{"name":"x","inputSchema":{"type":"object"}}]`,
		"prompts/list":             `"prompts":[]`,
		"resources/list":           `"resources":[]`,
		"resources/templates/list": `"resourceTemplates":[]`,
		"server/discover":          `"supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true}}`,
	}[x.m.Method]
	if result == "" {
		result = `"ok":true`
	}
	if x.server.server == "modern" {
		result += `,"resultType":"complete","ttlMs":0,"cacheScope":"private"`
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{%s}}`, id, result)
}

// notice is a notification of the server's, which the host gets once at most.
func (x *exchange) notice() string {
	serial := "s" + strconv.Itoa(x.next())
	x.ledger.mu.Lock()
	x.notices[serial]++
	x.ledger.mu.Unlock()
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1,"serial":%q}}`, serial)
}

func event(body string) string { return "data: " + body + "\n\n" }

// whole notes that a valid response is on its way as a whole.
func (x *exchange) whole() {
	if x.r.Context().Err() != nil {
		return
	}
	x.ledger.mu.Lock()
	defer x.ledger.mu.Unlock()
	if a := x.asked[x.ids[x.n]]; a != nil && a.method != x.m.Method {
		return // a request of the bridge's own, with the _meta of the host's
	}
	x.fact(x.n).whole = time.Now()
}

// status ends a POST with a status, and a body in plain text.
func (x *exchange) status(code int, body string) {
	x.w.WriteHeader(code)
	io.WriteString(x.w, body)
}

// failed is an error of the server's own.
func (x *exchange) failed(status, code int) {
	x.w.Header().Set("Content-Type", "application/json")
	x.w.WriteHeader(status)
	fmt.Fprintf(x.w, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":"own"}}`, x.m.ID, code)
}

var healthy = []behaviour{
	{"JSON", 10, false, posts, func(x *exchange) {
		x.carry()
		x.sendJSON(x.result())
		x.whole()
	}},
	{"event", 10, false, posts, func(x *exchange) {
		x.carry()
		x.sendEvents(event(x.result()))
		x.whole()
	}},
	{"notifications, then the response", 5, false, posts, func(x *exchange) {
		x.carry()
		for range x.dice.IntN(4) {
			x.sendEvents(event(x.notice()))
			x.pause(time.Duration(x.dice.IntN(50)) * time.Millisecond)
		}
		x.sendEvents("id: 1\nevent: message\n" + event(x.result()))
		x.whole()
	}},
	{"slow", 4, false, posts, func(x *exchange) {
		x.carry()
		x.pause(time.Duration(x.dice.IntN(4000)) * time.Millisecond)
		x.sendJSON(x.result())
		x.whole()
	}},
	{"long with comments", 1, false, posts, func(x *exchange) {
		x.carry()
		for range 8 {
			if x.m.Method == "server/discover" {
				break // nothing waits for that so long
			}
			x.sendEvents(": still there\n\n")
			x.pause(15 * time.Second)
		}
		x.sendEvents(event(x.result()))
		x.whole()
	}},
	{"an error of its own", 2, false, everywhere, func(x *exchange) {
		x.respond(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32602,"message":"own"}}`, x.m.ID))
	}},
	{"on the session's stream", 2, false, []string{"legacy"}, func(x *exchange) {
		x.carry()
		if !x.push(x.s, x.result()) {
			x.sendJSON(x.result())
			return
		}
		x.accept()
	}},
	{"something for the session's stream", 2, false, []string{"legacy"}, func(x *exchange) {
		x.carry()
		x.push(x.s, x.notice())
		x.sendEvents(event(x.result()))
		x.whole()
	}},
	{"asks the host", 4, false, asking, func(x *exchange) {
		x.carry()
		if x.n > 0 {
			x.ask()
		}
		x.respond(x.result())
	}},
	{"byte by byte", 1, false, posts, func(x *exchange) {
		x.carry()
		x.w.Header().Set("Content-Type", "application/json; charset=utf-8")
		for _, c := range []byte(x.result()) {
			_, _ = x.w.Write([]byte{c})
			x.flush()
		}
	}},
	{"on the stream, at once", 20, false, []string{"sse"}, func(x *exchange) {
		x.carry()
		x.accept()
		x.push(x.s, x.result())
	}},
	{"on the stream, before the POST ends", 5, false, []string{"sse"}, func(x *exchange) {
		x.carry()
		x.push(x.s, x.result())
		x.accept()
	}},
	{"on the stream, later", 5, false, []string{"sse"}, func(x *exchange) {
		x.carry()
		x.accept()
		x.push(x.s, x.notice())
		later := time.Duration(x.dice.IntN(3000)) * time.Millisecond
		x.away.Go(func() {
			select {
			case <-time.After(later):
				x.push(x.s, x.result())
			case <-x.over:
			}
		})
	}},
}

// reject is a behaviour that is nothing but a status.
func reject(name string, status int, body string, headers ...string) behaviour {
	return behaviour{name, 2, true, everywhere, func(x *exchange) {
		for i := 0; i < len(headers); i += 2 {
			x.w.Header().Set(headers[i], headers[i+1])
		}
		x.status(status, body)
	}}
}

var statuses = []behaviour{
	reject("401", 401, ""),
	reject("403", 403, "no"),
	reject("429", 429, "", "Retry-After", "1"),
	reject("429 at once", 429, "", "Retry-After", "0"),
	reject("503 later", 503, "", "Retry-After", "2"),
	reject("500", 500, "oops"),
	reject("502", 502, "<html>"),
	reject("504", 504, ""),
	reject("413", 413, ""),
	{"400 with an error", 2, true, posts, func(x *exchange) { x.failed(400, -32602) }},
	{"404 with an error", 1, true, posts, func(x *exchange) { x.failed(404, -32601) }},
	{"404", 1, true, posts, func(x *exchange) {
		x.doubt()
		x.status(404, "")
	}},
}

// doubt notes that the bridge may take the session for over.
func (x *exchange) doubt() {
	x.excuse()
}

var breaks = []behaviour{
	{"dropped before the deed", 2, true, everywhere, func(x *exchange) { panic(http.ErrAbortHandler) }},
	{"dropped after the deed", 3, true, everywhere, func(x *exchange) {
		x.carry()
		panic(http.ErrAbortHandler)
	}},
	{"half a body", 2, true, posts, func(x *exchange) {
		x.carry()
		result := x.result()
		x.w.Header().Set("Content-Type", "application/json")
		x.w.Header().Set("Content-Length", strconv.Itoa(len(result)))
		io.WriteString(x.w, result[:len(result)/2])
		x.flush()
		panic(http.ErrAbortHandler)
	}},
	{"half a stream", 2, true, posts, func(x *exchange) {
		x.carry()
		x.sendEvents(event(x.notice()) + event(x.result())[:20])
		panic(http.ErrAbortHandler)
	}},
	{"half a stream that can be resumed", 4, true, []string{"legacy"}, func(x *exchange) {
		x.carry()
		id := "e" + strconv.Itoa(x.next())
		x.mu.Lock()
		x.resumes[id] = remainder{session_(x.r), event(x.result())}
		x.mu.Unlock()
		x.ledger.mu.Lock()
		x.fact(x.n).resumable = x.intact()
		x.ledger.mu.Unlock()
		x.sendEvents("retry: 10\nid: " + id + "\n" + event(x.notice()) + event(x.result())[:20])
		panic(http.ErrAbortHandler)
	}},
	{"half a stream that cannot be resumed", 2, true, before, func(x *exchange) {
		x.carry()
		x.sendEvents(fmt.Sprintf("id: nowhere-%d\n", x.n) + event(x.notice()))
		panic(http.ErrAbortHandler)
	}},
	{"a session that ends now", 2, true, []string{"legacy"}, func(x *exchange) {
		x.forget()
		x.tellForgotten()
	}},
}

var shapes = []behaviour{
	{"twice", 3, true, posts, func(x *exchange) {
		x.carry()
		x.sendEvents(event(x.result()) + event(x.result()))
		x.whole()
	}},
	{"twice, once on the session's stream", 2, true, []string{"legacy"}, func(x *exchange) {
		x.carry()
		x.push(x.s, x.result())
		x.sendJSON(x.result())
	}},
	{"the id as another type", 2, true, posts, func(x *exchange) {
		x.carry()
		id := strconv.Quote(string(x.m.ID))
		if x.m.ID[0] == '"' {
			id = "9999"
		}
		x.sendJSON(x.resultFor(id))
	}},
	{"an HTML page", 1, true, posts, func(x *exchange) {
		x.w.Header().Set("Content-Type", "text/html")
		x.status(200, "<html>")
	}},
	{"half of the JSON", 2, true, posts, func(x *exchange) {
		x.carry()
		result := x.result()
		x.sendJSON(result[:len(result)-3])
	}},
	{"a notification as the body", 1, true, posts, func(x *exchange) { x.sendJSON(x.notice()) }},
	{"garbage, then the response", 2, true, posts, func(x *exchange) {
		x.carry()
		x.sendEvents("data: {\n\nevent: other\ndata: {}\n\n: c\n\ndata\n\n" + event(x.result()))
		x.whole()
	}},
	{"a stream without the response", 2, true, posts, func(x *exchange) {
		x.carry()
		x.sendEvents(event(x.notice()))
	}},
	{"too large", 1, true, posts, func(x *exchange) {
		x.carry()
		x.sendJSON(strings.Replace(x.result(), `"result":{`, `"result":{"much":"`+strings.Repeat("x", maxMessage+1)+`",`, 1))
	}},
	{"large", 1, true, posts, func(x *exchange) {
		x.carry()
		x.sendEvents(event(strings.Replace(x.result(), `"result":{`, `"result":{"much":"`+strings.Repeat("x", maxMessage/2)+`",`, 1)))
		x.whole()
	}},
	{"held for ever", 1, true, posts, func(x *exchange) {
		x.carry()
		x.holding()
	}},
	{"many notifications", 1, true, posts, func(x *exchange) {
		x.carry()
		for range 100 {
			x.sendEvents(event(x.notice()))
		}
		x.sendEvents(event(x.result()))
		x.whole()
	}},
	{"a batch as the response", 1, true, before, func(x *exchange) {
		x.carry()
		x.sendJSON("[" + x.notice() + "," + x.result() + "]")
		x.whole()
	}},
}

var sseFaults = []behaviour{
	{"the stream ends after the deed", 2, true, []string{"sse"}, func(x *exchange) {
		x.carry()
		x.accept()
		x.endStreams()
	}},
	{"twice on the stream", 3, true, []string{"sse"}, func(x *exchange) {
		x.carry()
		x.push(x.s, x.result())
		x.push(x.s, x.result())
		x.accept()
	}},
	{"garbage on the stream", 2, true, []string{"sse"}, func(x *exchange) {
		x.carry()
		x.push(x.s, "{")
		x.push(x.s, x.result())
		x.accept()
	}},
}
