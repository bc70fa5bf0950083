package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ending is how long a bridge may live after its input has ended, or after SIGTERM.
const ending = 5 * time.Second

// endsWhile plays the end of a bridge whose server responds to the call "odd" somehow, and never
// responds to DELETE.
func endsWhile(response func(x *exchange), end func(h *host)) func(p *play) {
	return func(p *play) {
		s := p.serve(func(x *exchange) bool {
			switch {
			case x.r.Method == http.MethodDelete:
				x.hang()
			case x.text() == "odd":
				response(x)
			default:
				return false
			}
			return true
		})
		h := p.session(s)
		h.call("odd")
		s.got("the call", soon, echo("odd"))
		end(h)
		if !h.ends(ending) {
			p.wrong("the process lives after %s", seconds(ending))
		}
	}
}

func closeInput(h *host) { _ = h.in.Close() }

func terminate(h *host) { _ = h.cmd.Process.Signal(syscall.SIGTERM) }

// flood sends notifications for as long as they are taken.
func flood(x *exchange) {
	x.stream()
	text := event(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"` + strings.Repeat("x", 4<<10) + `"}}`)
	for x.r.Context().Err() == nil && x.p.ctx.Err() == nil {
		if _, err := io.WriteString(x.w, text); err != nil {
			return
		}
		if !x.wait(time.Millisecond) {
			return
		}
	}
}

// bigSize is the length of each of many responses that a bridge has in hand at once.
const (
	bigSize = 40 << 20
	bigOnes = 10
)

var limits = []behaviour{
	{
		name:   "nested-arrays",
		kind:   "a response with 160 KB of nested arrays",
		met:    "fuzzers; hostile servers",
		now:    "it has its response in a moment",
		before: "no response within 4 s",
		play: responding(func(x *exchange) {
			x.result(strings.Repeat("[", 80<<10) + strings.Repeat("]", 80<<10))
		}, func(p *play, _ *server, h *host, id string) {
			p.until(4*time.Second, h.change, func() bool { _, found := h.find(responds(id)); return found })
			if _, found := h.find(responds(id)); !found {
				p.wrong("no response within 4 s")
			}
		}),
	},
	{
		name:   "nested-arrays-from-the-host",
		kind:   "the same in a request, beside a filter of tools",
		met:    "neighbour of the same",
		now:    "the same",
		before: "no response within 4 s",
		play: func(p *play) {
			s := p.serve(nil)
			h := p.session(s, "--ignore-tool", "danger")
			id := h.request("tools/call", `{"name":"echo","arguments":{"text":"x","deep":`+strings.Repeat(`{"a":`, 30<<10)+"1"+strings.Repeat("}", 30<<10)+`}}`)
			p.until(4*time.Second, h.change, func() bool { _, found := h.find(responds(id)); return found })
			if _, found := h.find(responds(id)); !found {
				p.wrong("no response within 4 s")
			}
			h.echoed("after", soon)
		},
	},
	{
		name:   "many-large-responses",
		kind:   strconv.Itoa(bigOnes) + " responses of 40 MiB at once",
		met:    "servers that return files; hostile servers",
		now:    "each has a response; the process takes 256 MiB at most",
		before: "it takes 500 MiB",
		play: func(p *play) {
			text := strings.Repeat("x", 1<<20)
			s := p.serve(func(x *exchange) bool {
				if x.method != "tools/call" || x.text() == "after" {
					return false
				}
				x.w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(x.w, `{"jsonrpc":"2.0","id":`+x.id+`,"result":{"content":[{"type":"text","text":"`)
				for range bigSize >> 20 {
					_, _ = io.WriteString(x.w, text)
				}
				_, _ = io.WriteString(x.w, `"}]}}`)
				return true
			})
			h := p.session(s)
			var ids []string
			for i := range bigOnes {
				ids = append(ids, h.call(fmt.Sprint("big ", i)))
			}
			for _, id := range ids {
				h.response(id, 20*time.Second)
			}
			h.echoed("after", soon)
			h.takesAtMost(256)
		},
	},
	{
		name: "line-without-an-end",
		kind: "an event that never ends",
		met:  "hostile servers",
		now:  "an error, and the process takes 256 MiB at most",
		play: responding(func(x *exchange) {
			x.stream("data: ")
			text := strings.Repeat("x", 1<<20)
			for range 400 {
				if _, err := io.WriteString(x.w, text); err != nil {
					return
				}
			}
			x.hang()
		}, func(p *play, _ *server, h *host, id string) {
			h.failure(id, 20*time.Second)
			h.takesAtMost(256)
		}),
	},
	{
		name: "third-response",
		kind: "three responses to one request on its stream, and others behind them",
		met:  "servers that repeat themselves",
		now:  "the first one counts, nothing blocks",
		play: responding(func(x *exchange) {
			for range 3 {
				x.stream(event(x.response(x.reply())))
			}
		}, func(_ *play, _ *server, h *host, id string) { h.isEcho(id, "odd", soon) }),
	},
	{
		name: "third-response-on-the-session-stream",
		kind: "the same on the session's stream",
		met:  "neighbour of the same",
		now:  "the same",
		play: func(p *play) {
			s := p.serve(odd(func(x *exchange) {
				for range 3 {
					x.sayTo(x.session, x.response(x.reply()))
				}
				x.status(202, "", "")
			}))
			h := p.session(s)
			s.listened(soon)
			h.isEcho(h.call("odd"), "odd", soon)
			s.say(`{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}`)
			h.note("notifications/prompts/list_changed", soon)
			h.echoed("after", soon)
		},
	},
	{
		name: "ends-with-its-input",
		kind: "the host closes standard input, while a call and DELETE never get a response",
		met:  "hosts that close and wait",
		now:  "the process ends within 5 s",
		play: endsWhile(func(x *exchange) { x.hang() }, closeInput),
	},
	{
		name: "ends-on-sigterm",
		kind: "SIGTERM likewise",
		met:  "hosts that end their servers",
		now:  "the same",
		play: endsWhile(func(x *exchange) { x.hang() }, terminate),
	},
	{
		name: "ends-in-a-flood",
		kind: "the end of standard input, while the server sends without an end",
		met:  "neighbour of the same",
		now:  "the same",
		play: endsWhile(flood, closeInput),
	},
}
