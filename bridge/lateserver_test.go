package bridge_test

import (
	"io"
	"net/http"
)

// lateServer is a server with sessions that responds to tool calls with serve, and on the
// session's stream, if it offers one.
type lateServer struct {
	getting
	out chan string // messages for the stream
	cut chan struct{}
}

func newLateServer(offered bool, serve func(w http.ResponseWriter, r *http.Request, got request)) *lateServer {
	l := &lateServer{out: make(chan string, 16), cut: make(chan struct{})}
	l.serve = serve
	l.get = func(w http.ResponseWriter, r *http.Request, _ int) {
		if !offered {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		openStream(w)
		for {
			select {
			case message := <-l.out:
				io.WriteString(w, event(message))
				_ = http.NewResponseController(w).Flush()
			case <-l.cut:
				return
			case <-r.Context().Done():
				return
			}
		}
	}
	return l
}

// withoutResponse are responses to a POST that end without the response to the request.
var withoutResponse = map[string]struct {
	serve func(w http.ResponseWriter)
	says  string // what the error contains
}{
	"202":                   {func(w http.ResponseWriter) { w.WriteHeader(202) }, "202"},
	"202 with words":        {func(w http.ResponseWriter) { writeBody(w, 202, "text/plain", "Accepted") }, "202"},
	"202 with a page":       {func(w http.ResponseWriter) { writeBody(w, 202, "text/html", "<p>Accepted") }, "202"},
	"202 with JSON":         {func(w http.ResponseWriter) { writeBody(w, 202, "application/json", `{"status":"accepted"}`) }, "202"},
	"202 with null":         {func(w http.ResponseWriter) { writeBody(w, 202, "application/json", "null") }, "202"},
	"200 without a body":    {func(w http.ResponseWriter) { w.WriteHeader(200) }, "200"},
	"200 with white space":  {func(w http.ResponseWriter) { writeBody(w, 200, "application/json", " \n") }, "200"},
	"204":                   {func(w http.ResponseWriter) { w.WriteHeader(204) }, "204"},
	"205":                   {func(w http.ResponseWriter) { w.WriteHeader(205) }, "205"},
	"a page without a body": {func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/html"); w.WriteHeader(200) }, "200"},
	"empty array":           {func(w http.ResponseWriter) { writeBody(w, 200, "application/json", "[]") }, "200"},
	"empty stream":          {func(w http.ResponseWriter) { writeBody(w, 200, "text/event-stream", "") }, "event stream"},
	"stream of comments":    {func(w http.ResponseWriter) { writeBody(w, 200, "text/event-stream", ": a\n\n: b\n\n") }, "event stream"},
	"stream of another type": {func(w http.ResponseWriter) {
		writeBody(w, 200, "text/event-stream", "event: debug\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n")
	}, "event stream"},
	"stream of a notification": {func(w http.ResponseWriter) {
		writeBody(w, 200, "text/event-stream; charset=utf-8", event(`{"jsonrpc":"2.0","method":"notifications/message"}`))
	}, "one message"},
	"stream of someone else's response": {func(w http.ResponseWriter) {
		writeBody(w, 200, "text/event-stream", event(`{"jsonrpc":"2.0","id":"no one","result":{}}`))
	}, "one message"},
	"half an event": {func(w http.ResponseWriter) { writeBody(w, 200, "text/event-stream", "data: {\"jsonrpc\"") }, "event stream"},
}

func writeBody(w http.ResponseWriter, status int, kind, body string) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	io.WriteString(w, body)
}

func flushHead(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

func afterBusy(w http.ResponseWriter, busy bool) {
	if busy {
		w.WriteHeader(503)
		return
	}
	writeBody(w, 200, "text/event-stream", event(`{"jsonrpc":"2.0","id":1,"result":{}}`))
}
