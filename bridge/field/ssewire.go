package main

import (
	"net/http"
	"strconv"
)

// serveSSE starts a server of 2024-11-05: one stream for all that it sends, and an endpoint
// that the stream names.
func (p *play) serveSSE(odd func(x *exchange) bool) *server {
	s := p.serve(odd)
	s.sse = true
	s.url = "http://" + s.address + "/sse"
	return s
}

// legacy responds as HTTP+SSE has it.
func (x *exchange) legacy() {
	switch {
	case x.r.URL.Path == "/sse" && x.r.Method == http.MethodGet:
		x.mu.Lock()
		x.begun++
		x.session = "sse-" + strconv.Itoa(x.begun)
		x.live[x.session] = true
		x.mu.Unlock()
		x.listen("event: endpoint\ndata: /messages?session=" + x.session + "\n\n")
	case x.r.URL.Path == "/sse":
		x.status(http.StatusMethodNotAllowed, "text/plain", "not allowed")
	case x.r.URL.Path != "/messages":
		x.status(http.StatusNotFound, "text/plain", "not found")
	default:
		x.legacyPost()
	}
}

func (x *exchange) legacyPost() {
	x.session = x.r.URL.Query().Get("session")
	x.mu.Lock()
	known := x.live[x.session]
	x.mu.Unlock()
	if !known {
		x.status(http.StatusNotFound, "text/plain", "no such session")
		return
	}
	x.status(http.StatusAccepted, "text/plain", "Accepted")
	if x.id == "" || x.method == "" {
		return
	}
	answer := x.answer()
	if x.method == "initialize" {
		answer = `{"protocolVersion":"2024-11-05","capabilities":` + abilities + `,"serverInfo":{"name":"field-server","version":"1"}}`
	}
	x.sayTo(x.session, x.response(answer))
}

// sayTo sends a message on the streams of a session.
func (s *server) sayTo(session, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for open := range s.open {
		if open.session == session {
			open.events <- event(message)
		}
	}
}
