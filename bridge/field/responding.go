package main

import (
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
