package main

import (
	"slices"
	"time"
)

// denied plays a host that calls a tool that the bridge is to keep back, in a spelling
// of its own. Spelled lines have the id 10.
func denied(lines ...string) func(p *play) {
	return func(p *play) {
		s := p.serve(nil)
		h := p.session(s, "--ignore-tool", "danger")
		h.echoed("before", soon)
		for _, l := range lines {
			h.send("%s", l)
		}
		h.serial = 20
		h.echoed("after", soon)
		if s.count(func(x *exchange) bool { return x.contains("SPELLED") }) > 0 {
			p.wrong("the call of the tool reaches the server")
		}
		if l, found := h.find(responds("10")); found && l.message["error"] == nil {
			p.wrong("the call has a result")
		}
	}
}

// ambiguous plays a host whose message has two readings. It has an error, and is not
// forwarded.
func ambiguous(l string) func(p *play) {
	return func(p *play) {
		s := p.serve(nil)
		h := p.session(s)
		h.send("%s", l)
		h.serial = 20
		h.echoed("after", soon)
		if s.count(func(x *exchange) bool { return x.contains("SPELLED") }) > 0 {
			p.wrong("it reaches the server")
		}
		if _, found := h.find(func(l line) bool { return l.message["error"] != nil }); !found {
			p.wrong("the host gets no error")
		}
	}
}

const dangerous = `"name":"danger","arguments":{"x":"SPELLED"}`

var names = []behaviour{
	{
		name:   "filter-escaped-method",
		kind:   "`\"tools\\/call\"`, as PHP writes it, with a filter of tools",
		met:    "toolhive#5745, deploy-gate#59, lobu#1328, pipelock PR 335",
		now:    "the filter holds",
		before: "the call of the tool reaches the server",
		play:   denied(`{"jsonrpc":"2.0","id":10,"method":"tools\/call","params":{` + dangerous + `}}`),
	},
	{
		name: "filter-escaped-name",
		kind: "the tool's name with `\\u` escapes",
		met:  "the same",
		now:  "the same",
		play: denied(`{"jsonrpc":"2.0","id":10,"method":"tools/call","params":{"name":"d\u0061nger","arguments":{"x":"SPELLED"}}}`),
	},
	{
		name: "filter-escaped-members",
		kind: "escaped names of members",
		met:  "the same",
		now:  "the same",
		play: denied(`{"jsonrpc":"2.0","id":10,"m\u0065thod":"tools/call","par\u0061ms":{"n\u0061me":"danger","arguments":{"x":"SPELLED"}}}`),
	},
	{
		name:   "filter-batch",
		kind:   "the call in a batch",
		met:    "the same",
		now:    "the same",
		before: "the call of the tool reaches the server",
		play:   denied(`[{"jsonrpc":"2.0","id":11,"method":"ping"},{"jsonrpc":"2.0","id":10,"method":"tools/call","params":{` + dangerous + `}}]`),
	},
	{
		name:   "filter-batch-in-a-batch",
		kind:   "the call in a batch in a batch",
		met:    "the same",
		now:    "the same",
		before: "the call of the tool reaches the server",
		play:   denied(`[[{"jsonrpc":"2.0","id":10,"method":"tools/call","params":{` + dangerous + `}}]]`),
	},
	{
		name:   "filter-duplicate-name",
		kind:   "two names in one call",
		met:    "the same",
		now:    "the same",
		before: "the call of the tool reaches the server",
		play: denied(`{"jsonrpc":"2.0","id":10,"method":"tools/call","params":{"name":"echo","name":"danger","arguments":{"x":"SPELLED"}}}`,
			`{"jsonrpc":"2.0","id":12,"method":"tools/call","params":{"name":"danger","name":"echo","arguments":{"x":"SPELLED"}}}`),
	},
	{
		name:   "filter-notification",
		kind:   "the call without an id",
		met:    "neighbour of the same",
		now:    "the same",
		before: "the call of the tool reaches the server",
		play:   denied(`{"jsonrpc":"2.0","method":"tools/call","params":{` + dangerous + `}}`),
	},
	{
		name:   "filter-list",
		kind:   "a list of tools whose member names are escaped",
		met:    "neighbour of the same",
		now:    "the filter holds for the list, too",
		before: "the list has the tool",
		play: func(p *play) {
			s := p.serve(func(x *exchange) bool {
				if x.method != "tools/list" {
					return false
				}
				x.result(`{"t\u006fols":[{"name":"echo","inputSchema":{"type":"object"}},{"n\u0061me":"d\u0061nger","inputSchema":{"type":"object"}}]}`)
				return true
			})
			h := p.session(s, "--ignore-tool", "danger")
			if slices.Contains(h.tools(soon), "danger") {
				p.wrong("the list has the tool")
			}
		},
	},
	{
		name:   "escaped-initialized",
		kind:   "`\"notifications\\/initialized\"`",
		met:    "hosts in PHP",
		now:    "the stream opens, and notifications arrive",
		before: "no stream is opened within 5 s",
		play: func(p *play) {
			s := p.serve(nil)
			h := p.bridge(s.url)
			h.result(h.request("initialize", greeting), 4*beginning)
			h.send(`{"jsonrpc":"2.0","method":"notifications\/initialized"}`)
			s.listened(soon)
			s.say(changedTools)
			h.note("notifications/tools/list_changed", soon)
		},
	},
	{
		name:   "duplicate-method",
		kind:   "a message with two methods",
		met:    "parsers that differ in which one they take",
		now:    "an error; it is not forwarded",
		before: "it reaches the server",
		play:   ambiguous(`{"jsonrpc":"2.0","id":10,"method":"ping","method":"tools/call","params":{"name":"echo","arguments":{"text":"SPELLED"}}}`),
	},
	{
		name:   "duplicate-id",
		kind:   "a message with two ids",
		met:    "the same",
		now:    "the same",
		before: "it reaches the server",
		play:   ambiguous(`{"jsonrpc":"2.0","id":10,"id":11,"method":"tools/call","params":{"name":"echo","arguments":{"text":"SPELLED"}}}`),
	},
	{
		name:   "duplicate-params",
		kind:   "a message with two `params`, one of them escaped",
		met:    "the same",
		now:    "the same",
		before: "it reaches the server",
		play:   ambiguous(`{"jsonrpc":"2.0","id":10,"method":"tools/call","params":{"name":"echo","arguments":{"text":"SPELLED"}},"p\u0061rams":{"name":"echo"}}`),
	},
	{
		name: "names-in-another-case",
		kind: "`Method` in place of `method`",
		met:  "Go's encoding/json takes both",
		now:  "an error; it is not forwarded",
		play: ambiguous(`{"jsonrpc":"2.0","id":10,"Method":"tools/call","params":{"name":"echo","arguments":{"text":"SPELLED"}}}`),
	},
	{
		name:   "batch-in-a-batch",
		kind:   "a batch in a batch",
		met:    "parsers that call themselves",
		now:    "an error; it is not forwarded",
		before: "it reaches the server",
		play:   ambiguous(`[[{"jsonrpc":"2.0","id":10,"method":"tools/call","params":{"name":"echo","arguments":{"text":"SPELLED"}}}]]`),
	},
	{
		name: "rejected-for-good",
		kind: "registration is rejected, and the host goes on making requests every 250 ms",
		met:  "servers that know no dynamic registration, hosts that poll",
		now:  "the attempt is not repeated every time",
		play: func(p *play) {
			a := p.authorize()
			a.noRegistration = true
			h := p.bridge(a.mcp.url)
			h.response(h.request("initialize", greeting), 4*beginning)
			h.initialized()
			before := a.count("/register") // what one attempt negotiates
			for range 20 {
				h.request("tools/list", "")
				p.pause(250 * time.Millisecond)
			}
			if n := a.count("/register") - before; n > 3 {
				p.wrong("%d more registrations in 5 s", n)
			}
			if n := a.mcp.count(anything); n > 60 {
				p.wrong("%d requests to the server in 5 s", n)
			}
		},
	},
}
