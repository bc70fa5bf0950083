package bridge_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/handstamp/handstamp/bridge"
)

// The ways in which a server's message comes to the bridge.
var ways = []struct {
	name  string
	write func(w http.ResponseWriter, s *sessions, message string)
}{
	{"as a body", func(w http.ResponseWriter, _ *sessions, message string) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, message)
	}},
	{"as an event", func(w http.ResponseWriter, _ *sessions, message string) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, event(message))
		_ = http.NewResponseController(w).Flush()
	}},
	{"on the stream of the session", func(w http.ResponseWriter, s *sessions, message string) {
		s.stream <- event(message)
		w.WriteHeader(http.StatusAccepted)
	}},
}

// TestInvalidMessageOfTheServer lets a server respond with what is not valid
// JSON-RPC: the host gets what can only mean one thing, or an error with its id.
func TestInvalidMessageOfTheServer(t *testing.T) {
	const broken = "" // an error
	for _, tt := range []struct{ name, message, want string }{
		{"a byte that is not UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"b\xffc\"}}", `{"jsonrpc":"2.0","id":1,"result":{"a":"b` + "\uFFFD" + `c"}}`},
		{"Latin-1", "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"caf\xe9\"}}", `{"jsonrpc":"2.0","id":1,"result":{"a":"caf` + "\uFFFD" + `"}}`},
		{"a character that breaks off", "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"\xe2\x82\"}}", `{"jsonrpc":"2.0","id":1,"result":{"a":"` + "\uFFFD" + `"}}`},
		{"an encoded surrogate", "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"\xed\xa0\x80\"}}", `{"jsonrpc":"2.0","id":1,"result":{"a":"` + "\uFFFD\uFFFD\uFFFD" + `"}}`},
		{"an escaped surrogate", `{"jsonrpc":"2.0","id":1,"result":{"a":"\ud800"}}`, `{"jsonrpc":"2.0","id":1,"result":{"a":"\ud800"}}`},
		{"a byte that is not UTF-8 in a name", "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"\xff\":1.0}}", `{"jsonrpc":"2.0","id":1,"result":{"` + "\uFFFD" + `":1.0}}`},
		{"an error that is null", `{"jsonrpc":"2.0","id":1,"result":{"x":1.0},"error":null}`, `{"jsonrpc":"2.0","id":1,"result":{"x":1.0}}`},
		{"an error that is null, first", `{"error" : null, "jsonrpc":"2.0","result":{},"id":1}`, `{"jsonrpc":"2.0","result":{},"id":1}`},
		{"an escaped error that is null", `{"jsonrpc":"2.0","id":1,"result":{},"\u0065rror":null}`, `{"jsonrpc":"2.0","id":1,"result":{}}`},
		{"a result that is null", `{"jsonrpc":"2.0","id":1,"result":null,"error":{"code":-5,"message":"m"}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-5,"message":"m"}}`},
		{"all that is not there as null", `{"jsonrpc":"2.0","method":null,"params":null,"id":1,"result":{},"error":null}`, `{"jsonrpc":"2.0","id":1,"result":{}}`},
		{"parameters that are null", `{"jsonrpc":"2.0","params":null,"id":1,"result":{"x":1.0}}`, `{"jsonrpc":"2.0","id":1,"result":{"x":1.0}}`},
		{"a null _meta", `{"jsonrpc":"2.0","id":1,"result":{"x":1.0, "_meta" : null , "y":[]},"z":0}`, `{"jsonrpc":"2.0","id":1,"result":{"x":1.0,"y":[]},"z":0}`},
		{"an escaped null _meta", `{"jsonrpc":"2.0","id":1,"result":{"\u005fmeta":null}}`, `{"jsonrpc":"2.0","id":1,"result":{}}`},
		{"other members that are null", `{"jsonrpc":"2.0","id":1,"result":{"a":null,"b":{"_meta":null}},"_meta":null}`, `{"jsonrpc":"2.0","id":1,"result":{"a":null,"b":{"_meta":null}},"_meta":null}`},
		{"a repeated method", `{"jsonrpc":"2.0","method":"x","id":1,"result":{}}`, `{"jsonrpc":"2.0","id":1,"result":{}}`},
		{"no version", `{"id":1,"result":{"x":1.0}}`, `{"jsonrpc":"2.0","id":1,"result":{"x":1.0}}`},
		{"another version", `{"jsonrpc":"1.0","id":1,"result":{}}`, `{"jsonrpc":"2.0","id":1,"result":{}}`},
		{"a version that is null", `{"jsonrpc":null,"id":1,"result":{}}`, `{"jsonrpc":"2.0","id":1,"result":{}}`},
		{"a version that is a number", `{"jsonrpc":2.0,"id":1,"result":{}}`, `{"jsonrpc":"2.0","id":1,"result":{}}`},
		{"an escaped version", `{"jsonrpc":"2\u002e0","id":1,"result":{}}`, `{"jsonrpc":"2\u002e0","id":1,"result":{}}`},
		{"two results", `{"jsonrpc":"2.0","id":1,"result":{"a":1},"result":{"b":2}}`, `{"jsonrpc":"2.0","id":1,"result":{"b":2}}`},
		{"a byte order mark", "\uFEFF{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", `{"jsonrpc":"2.0","id":1,"result":{}}`},
		{"a result and an error", `{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"m"}}`, broken},
		{"NaN", `{"jsonrpc":"2.0","id":1,"result":{"x":NaN}}`, broken},
		{"NaN before the id", `{"jsonrpc":"2.0","result":{"x":NaN},"id":1}`, broken},
		{"-Infinity", `{"jsonrpc":"2.0","id":1,"result":-Infinity}`, broken},
		{"a control character", "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"\x01\"}}", broken},
		{"a tab", "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"\t\"}}", broken},
		{"a line end in a string", "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"b\nc\"}}", broken},
		{"a comma too many", `{"jsonrpc":"2.0","id":1,"result":{"a":[1,],}}`, broken},
		{"single quotes", `{'jsonrpc':'2.0','id':1,'result':{}}`, broken},
		{"cut off", `{"jsonrpc":"2.0","id":1,"result":{"a":`, broken},
		{"two values", `{"jsonrpc":"2.0","id":1,"result":{}}{"x":1}`, broken},
		{"an invalid escape", `{"jsonrpc":"2.0","id":1,"result":"\x41"}`, broken},
		{"a leading zero", `{"jsonrpc":"2.0","id":1,"result":01}`, broken},
		{"a comment", `{"jsonrpc":"2.0","id":1,/* yes */"result":{}}`, broken},
		{"True", `{"jsonrpc":"2.0","id":1,"result":True}`, broken},
		{"neither result nor error", `{"jsonrpc":"2.0","id":1}`, broken},
		{"nothing but an error that is null", `{"jsonrpc":"2.0","id":1,"error":null}`, broken},
		{"a deep nest", `{"jsonrpc":"2.0","id":1,"result":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, broken},
		{"a nest within the bound", `{"jsonrpc":"2.0","id":1,"result":` + strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999) + `}`,
			`{"jsonrpc":"2.0","id":1,"result":` + strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999) + `}`},
	} {
		for _, way := range ways {
			if tt.name == "single quotes" && way.name == "on the stream of the session" {
				continue // without its id it belongs to no request
			}
			t.Run(tt.name+"/"+way.name, func(t *testing.T) {
				t.Parallel()
				s := &sessions{stream: make(chan string)}
				s.serve = func(w http.ResponseWriter, r *http.Request, got request) {
					if got.id == "2" {
						result(w, got.id, `{}`)
						return
					}
					way.write(w, s, tt.message)
					if way.name == "as an event" {
						<-r.Context().Done() // the message itself has to be enough
					}
				}
				h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP)})
				h.hello()
				h.send(toolCall(1))
				got := h.response("1")
				want := tt.want
				if way.name != "as a body" {
					want = strings.ReplaceAll(want, "\n", " ")
				}
				if want != broken && got != want {
					t.Errorf("got  %.300s\nwant %.300s", got, want)
				}
				if want == broken && get(t, got, "error", "code") != strconv.Itoa(bridge.CodeProtocol) {
					t.Errorf("got %.300s", got)
				}
				h.send(`{"jsonrpc":"2.0","id":2,"method":"ping"}`)
				h.response("2")
				for _, line := range h.all() {
					if !json.Valid([]byte(line)) || !utf8.ValidString(line) || len(line) < 1000 && strings.Contains(line, `"id":1,`) && line != got {
						t.Errorf("the host got %q", line)
					}
				}
			})
		}
	}
}

// TestInvalidRequestOfTheServer: a request of the server that cannot be read is rejected
// to the server; the host does not see it, and what comes after it arrives.
func TestInvalidRequestOfTheServer(t *testing.T) {
	s := &sessions{stream: make(chan string)}
	h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP)})
	h.hello()
	s.stream <- event(`{"jsonrpc":"2.0","id":"q","method":"roots/list","params":{"x":NaN}}`)
	s.stream <- event(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"x":Infinity}}`)
	s.stream <- "data: [DONE]\n\ndata: keep-alive\n\ndata: {}\n\n"
	s.stream <- event(`{"method":"notifications/message","params":null,"error":null,"id":null}`)
	if got, want := h.note("notifications/message"), `{"jsonrpc":"2.0","method":"notifications/message"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	waitFor(t, "an error for the server's request", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, got := range s.seen {
			if got.id == `"q"` && strings.Contains(got.body, "-32700") {
				return true
			}
		}
		return false
	})
	if n := len(h.all()); n != 2 {
		t.Errorf("the host got %d lines", n)
	}
}

// TestNullMembersOfTheServer: a host that reads strictly loses a notification, and never
// responds to a request, with a null member that MCP does not know.
func TestNullMembersOfTheServer(t *testing.T) {
	s := &sessions{stream: make(chan string)}
	h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP)})
	h.hello()
	for _, tt := range []struct{ method, message, want string }{
		{"x/note", `{"jsonrpc":"2.0","method":"x/note","params":null,"id":null}`, `{"jsonrpc":"2.0","method":"x/note"}`},
		{"x/id", `{"jsonrpc":"2.0", "id" : null, "method":"x/id","params":{"a":1.0}}`, `{"jsonrpc":"2.0","method":"x/id","params":{"a":1.0}}`},
		{"x/ask", `{"jsonrpc":"2.0","id":7,"method":"x/ask","params" : null}`, `{"jsonrpc":"2.0","id":7,"method":"x/ask"}`},
		{"x/meta", `{"jsonrpc":"2.0","id":8,"method":"x/meta","params":{"a":null,"_meta":null}}`, `{"jsonrpc":"2.0","id":8,"method":"x/meta","params":{"a":null}}`},
		{"x/metas", `{"jsonrpc":"2.0","id":9,"method":"x/metas","params":{"_meta":{"a":1},"_meta":null}}`, `{"jsonrpc":"2.0","id":9,"method":"x/metas","params":{}}`},
		{"x/last", `{"jsonrpc":"2.0","method":"x/last","params":{"_meta":null,"_meta":{}}}`, `{"jsonrpc":"2.0","method":"x/last","params":{"_meta":null,"_meta":{}}}`},
		{"x/params", `{"jsonrpc":"2.0","method":"x/params","params":{"_meta":null},"params":{"b":2}}`, `{"jsonrpc":"2.0","method":"x/params","params":{"b":2}}`},
		{"x/batch", `[{"jsonrpc":"2.0","method":"x/batch","params":null,"id":null}]`, `{"jsonrpc":"2.0","method":"x/batch"}`},
		{"x/error", `{"jsonrpc":"2.0","method":"x/error","id":null,"error":{"code":1,"message":"m"}}`, `{"jsonrpc":"2.0","method":"x/error","id":null,"error":{"code":1,"message":"m"}}`},
	} {
		s.stream <- event(tt.message)
		got := h.wait(tt.method, func(line string) bool { return strings.Contains(line, strconv.Quote(tt.method)) })
		if got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// TestBatchOfTheServer: each part is mended or rejected by itself, and there is no
// batch in a batch.
func TestBatchOfTheServer(t *testing.T) {
	s := &sessions{}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if body, ok := batchBody(r); ok {
			_ = body
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, "[[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"nested\"}],{\"id\":2,\"result\":\"\xff\",\"error\":null},{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":1,\"error\":{}},{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}]")
			return
		}
		s.ServeHTTP(w, r)
	})
	h := start(t, bridge.Options{URL: url})
	h.hello()
	h.send(`[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","id":2,"method":"b"},{"jsonrpc":"2.0","id":3,"method":"c"}]`)
	if got := h.response("1"); got != `{"jsonrpc":"2.0","id":1,"result":{}}` {
		t.Errorf("got %s", got)
	}
	if got := h.response("2"); got != `{"jsonrpc":"2.0","id":2,"result":"`+"\uFFFD"+`"}` {
		t.Errorf("got %s", got)
	}
	if got := h.response("3"); get(t, got, "error", "code") != strconv.Itoa(bridge.CodeProtocol) {
		t.Errorf("got %s", got)
	}
}

// batchBody returns the body of a POST that is a batch, and leaves any other for
// the next reader.
func batchBody(r *http.Request) (string, bool) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	return string(body), strings.HasPrefix(string(body), "[")
}

// TestHostLineOverTheLimit: the host learns which of its requests was too long, and
// the server which of its own has no response.
func TestHostLineOverTheLimit(t *testing.T) {
	long := strings.Repeat("x", 300_000)
	deep := strings.Repeat("[", 200_000)
	for _, tt := range []struct{ name, line, id string }{
		{"the id first", `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"` + long + `"}}`, "7"},
		{"the id last", `{"jsonrpc":"2.0","method":"tools/call","params":{"a":["\"` + long + `","id",{"id":3}]},"id":"last \u0031"}`, `"last \u0031"`},
		{"an escaped name", `{"\u0069d":8,"method":"x","params":"` + long + `"}`, "8"},
		{"nested", `{"method":"x","params":` + deep + strings.ReplaceAll(deep, "[", "]") + `,"id":9}`, "9"},
		{"a long id", `{"id":"` + long + `","method":"x"}`, "null"},
		{"two ids", `{"id":1,"id":2,"method":"x","params":"` + long + `"}`, "null"},
		{"a notification", `{"method":"x","params":"` + long + `"}`, "null"},
		{"no JSON", long, "null"},
		{"a response", `{"jsonrpc":"2.0","id":"q","result":"` + long + `"}`, "null"},
		{"an id of another kind", `{"id":{"id":1},"method":"x","params":"` + long + `"}`, "null"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &sessions{}
			h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), MaxMessage: 100_000})
			h.hello()
			h.send(tt.line)
			if got := h.response(tt.id); get(t, got, "error", "code") != "-32600" || get(t, got, "error", "data", "reason") != `"too_large"` {
				t.Errorf("got %s", got)
			}
			h.send(`{"jsonrpc":"2.0","id":10,"method":"ping"}`)
			h.response("10")
			if tt.name == "a response" {
				waitFor(t, "an error for the server", func() bool {
					s.mu.Lock()
					defer s.mu.Unlock()
					for _, got := range s.seen {
						if got.id == `"q"` && strings.Contains(got.body, `"error"`) {
							return true
						}
					}
					return false
				})
			}
			for _, method := range s.methods() {
				if method == "x" || method == "tools/call" {
					t.Errorf("the server got %s", method)
				}
			}
		})
	}
}

// TestInvalidMessageOfTheHost: it is not forwarded, and its error has the id that it
// had.
func TestInvalidMessageOfTheHost(t *testing.T) {
	s := &sessions{}
	h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP)})
	h.hello()
	for i, tt := range []struct{ line, id, code string }{
		{`{"jsonrpc":"2.0","id":%d,"method":"x","jsonrpc":"2.0"}`, "", "-32600"},
		{`{"jsonrpc":"2.0","id":%d,"method":"x","method":"y"}`, "", "-32600"},
		{`{"jsonrpc":"2.0","id":%d,"method":"x","m\u0065thod":"y"}`, "", "-32600"},
		{`{"jsonrpc":"2.0","id":%d,"method":"x","params":{},"params":{}}`, "", "-32600"},
		{`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"a","arguments":{},"name":"b"}}`, "", "-32600"},
		{`{"jsonrpc":"2.0","id":%d,"method":"prompts/get","params":{"name":"a","\u006eame":"a"}}`, "", "-32600"},
		{`{"jsonrpc":"2.0","id":%d,"id":500,"method":"x"}`, "null", "-32600"},
		{`{"jsonrpc":"2.0","id":%d,"\u0069d":500,"method":"x"}`, "null", "-32600"},
		{`{"jsonrpc":"2.0","id":null,"id":%d,"method":"x"}`, "null", "-32600"},
		{`{"jsonrpc":"2.0","method":"notifications/x","method":"y"}`, "null", "-32600"},
		{`{"jsonrpc":"2.0","id":%d,"method":"x","params":NaN}`, "", "-32700"},
		{`{"jsonrpc":"2.0","id":%d,"method":"x","params":{"a":"` + "\t" + `"}}`, "", "-32700"},
		{`{"jsonrpc":"2.0","method":"x","params":{"a":1,},"id":%d}`, "", "-32700"},
		{`{"jsonrpc":"2.0","id":%d,"method":"x"} x`, "", "-32700"},
		{`[]`, "null", "-32600"},
		{`{"jsonrpc":"2.0","id":%d,"method":"x","params":` + strings.Repeat("[", 80_000) + strings.Repeat("]", 80_000) + `}`, "", "-32700"},
		{strings.Repeat("[", 80_000), "null", "-32700"},
	} {
		line, id := tt.line, tt.id
		if strings.Contains(line, "%d") {
			line = fmt.Sprintf(line, 100+i)
		}
		if id == "" {
			id = strconv.Itoa(100 + i)
		}
		h.send(line)
		if got := h.response(id); get(t, got, "error", "code") != tt.code {
			t.Errorf("%.200s: got %s", line, got)
		}
	}
	h.send("\uFEFF" + `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	if got := h.response("1"); get(t, got, "result") != "{}" {
		t.Errorf("after a byte order mark: %s", got)
	}
	h.send(`{"jsonrpc":"2.0","ID":5,"Id":6,"id":2,"Method":"y","method":"ping","Params":1}`)
	if got := h.response("2"); get(t, got, "result") != "{}" {
		t.Errorf("names in another case: %s", got)
	}
	if got := strings.Join(s.methods(), " "); got != "initialize notifications/initialized ping ping" {
		t.Errorf("the server got %s", got)
	}
	if got := s.last("ping").body; !strings.Contains(got, `"ID":5`) {
		t.Errorf("the server got %s", got)
	}
}
