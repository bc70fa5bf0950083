package bridge_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// probed are the ways in which a server of before 2026-07-28 may meet server/discover.
func probed() map[string]func(w http.ResponseWriter, r *http.Request, got request) {
	ways := map[string]func(w http.ResponseWriter, r *http.Request, got request){
		"silent": func(_ http.ResponseWriter, r *http.Request, _ request) { takes(r, 24*time.Hour) },
		"silent stream": func(w http.ResponseWriter, r *http.Request, _ request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(200)
			takes(r, 24*time.Hour)
		},
		"ended stream": func(w http.ResponseWriter, _ *http.Request, _ request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(200)
		},
		"resumable stream": func(w http.ResponseWriter, _ *http.Request, _ request) {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "id: 1\nretry: 10\ndata: \n\n")
		},
		"202": func(w http.ResponseWriter, _ *http.Request, _ request) { w.WriteHeader(202) },
		"204": func(w http.ResponseWriter, _ *http.Request, _ request) { w.WriteHeader(204) },
		"empty": func(w http.ResponseWriter, _ *http.Request, _ request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(200)
		},
		"page": func(w http.ResponseWriter, _ *http.Request, _ request) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<html>")
		},
		"no response": func(w http.ResponseWriter, _ *http.Request, _ request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"jsonrpc":"2.0","method":"notifications/message","params":{}}`)
		},
		"another id":       func(w http.ResponseWriter, _ *http.Request, _ request) { result(w, `"other"`, `{}`) },
		"a result at once": func(w http.ResponseWriter, _ *http.Request, got request) { result(w, got.id, `{}`) },
		"a late result": func(w http.ResponseWriter, r *http.Request, got request) {
			takes(r, time.Second)
			result(w, got.id, discovered)
		},
		"a result after long": func(w http.ResponseWriter, r *http.Request, got request) {
			takes(r, 30*time.Second)
			result(w, got.id, discovered)
		},
		"a rejection after long": func(w http.ResponseWriter, r *http.Request, _ request) {
			takes(r, 30*time.Second)
			w.WriteHeader(400)
		},
		"drop": func(http.ResponseWriter, *http.Request, request) { panic(http.ErrAbortHandler) },
		"drop after a second": func(_ http.ResponseWriter, r *http.Request, _ request) {
			takes(r, time.Second)
			panic(http.ErrAbortHandler)
		},
	}
	for _, status := range []int{400, 403, 404, 405, 406, 415, 422, 429, 500, 502, 503, 504} {
		ways[fmt.Sprint(status)] = func(w http.ResponseWriter, _ *http.Request, _ request) { w.WriteHeader(status) }
	}
	for _, code := range []int{-32700, -32600, -32601, -32602, -32603, -32000, -32001, -32020, -32021, -32022, 0, 1} {
		for _, status := range []int{200, 400, 404} {
			ways[fmt.Sprint("error ", code, " with ", status)] = func(w http.ResponseWriter, _ *http.Request, got request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
				fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":"m"}}`, got.id, code)
			}
		}
	}
	return ways
}

const discovered = `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}`

// TestInitializeAfterProbe has a host probe with server/discover in all the ways that
// hosts do, and then initialize: that has the server's response to initialize, whatever
// comes of the probe, which has one response of its own.
func TestInitializeAfterProbe(t *testing.T) {
	const probe = `"probe"`
	hosts := map[string]func(h *host){
		"after the response": func(h *host) {
			h.send(modernRequest(probe, "server/discover", ""))
			h.response(probe)
		},
		"beside it": func(h *host) { h.send(modernRequest(probe, "server/discover", "")) },
		"600 ms later": func(h *host) {
			h.send(modernRequest(probe, "server/discover", ""))
			<-time.After(600 * time.Millisecond)
		},
		"after cancelling": func(h *host) {
			h.send(modernRequest(probe, "server/discover", ""), `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`+probe+`}}`)
		},
		"after another": func(h *host) {
			h.send(modernRequest(`"first"`, "server/discover", ""), modernRequest(probe, "server/discover", ""))
			h.response(probe)
			h.response(`"first"`)
		},
	}
	for name, way := range probed() {
		for how, begin := range hosts {
			t.Run(name+" "+how, func(t *testing.T) {
				inMemory(t, func(t *testing.T) {
					s := waking()
					h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
						got := readRequest(r)
						if got.method == "server/discover" {
							way(w, r, got)
							return
						}
						s.respond(w, r, got)
					}), func(o *bridge.Options) { o.Wire = bridge.WireHTTP })
					begin(h)
					began := time.Now()
					if hello := h.hello(); get(t, hello, "result") != s.hello {
						t.Fatalf("initialize has the response %s", hello)
					}
					if took := time.Since(began); took > 100*time.Millisecond {
						t.Errorf("initialize has its response after %v", took)
					}
					// What the probe comes to later changes nothing, either.
					for i := range 2 {
						h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/list"}`, i))
						if got := h.response(fmt.Sprint(i)); get(t, got, "result", "tools") != `[{"name":"real"}]` {
							t.Fatalf("got %s", got)
						}
						<-time.After(time.Minute)
					}
					responses := 0
					for _, line := range h.all() {
						if strings.Contains(line, `"id":`+probe) {
							responses++
						}
					}
					if want := 1; how != "after cancelling" && responses != want || responses > want {
						t.Errorf("the probe has %d responses", responses)
					}
					if begun, ended := s.counts(); begun-len(ended) != 1 {
						t.Errorf("%d sessions begun, %d ended", begun, len(ended))
					}
				})
			})
		}
	}
}

// TestProbeInOtherForms has hosts probe without what requests of 2026-07-28 say of
// themselves, or with the id that their initialize has, too.
func TestProbeInOtherForms(t *testing.T) {
	for name, probe := range map[string]string{
		"without _meta":           `{"jsonrpc":"2.0","id":"probe","method":"server/discover"}`,
		"with initialize's id":    modernRequest(`"hello"`, "server/discover", ""),
		"without either":          `{"jsonrpc":"2.0","id":"hello","method":"server/discover","params":{}}`,
		"of an unknown revision":  strings.ReplaceAll(modernRequest(`"probe"`, "server/discover", ""), "2026-07-28", "2030-01-01"),
		"of an earlier revision":  strings.ReplaceAll(modernRequest(`"probe"`, "server/discover", ""), "2026-07-28", "2025-11-25"),
		"as a notification, even": `{"jsonrpc":"2.0","method":"server/discover"}`,
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				s := waking()
				h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
					got := readRequest(r)
					if got.method == "server/discover" {
						takes(r, 24*time.Hour)
						return
					}
					s.respond(w, r, got)
				}), nil)
				h.send(probe)
				<-time.After(600 * time.Millisecond)
				if hello := h.hello(); get(t, hello, "result") != s.hello {
					t.Fatalf("initialize has the response %s", hello)
				}
				if strings.Contains(probe, `"probe"`) {
					h.response(`"probe"`)
				}
				<-time.After(time.Hour)
				if h.responses(`"hello"`) != 1 {
					t.Errorf("the host got %q", h.all())
				}
				h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
				if got := h.response("1"); get(t, got, "result", "tools") != `[{"name":"real"}]` {
					t.Errorf("got %s", got)
				}
			})
		})
	}
}

// TestProbeHasItsOwnResponse has both requests of a host under way: each gets what the
// server responds to it.
func TestProbeHasItsOwnResponse(t *testing.T) {
	inMemory(t, func(t *testing.T) {
		s := waking()
		h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
			got := readRequest(r)
			if got.method == "server/discover" {
				takes(r, time.Second)
				result(w, got.id, discovered)
				return
			}
			s.respond(w, r, got)
		}), nil)
		h.send(modernRequest("1", "server/discover", ""), modernRequest("2", "server/discover", ""))
		h.hello()
		for _, id := range []string{"1", "2"} {
			if got := h.response(id); get(t, got, "result") != discovered {
				t.Errorf("the probe has the response %s", got)
			}
		}
	})
}

// TestProbeOfSlowServer has a host of both eras meet a server that is slow to wake, of
// either era: probe and initialize together take no longer than initialize alone, and
// the host gets when the server is there.
func TestProbeOfSlowServer(t *testing.T) {
	for _, era := range []string{"legacy", "modern"} {
		t.Run(era, func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				s, m := waking(), &moderns{serve: func(w http.ResponseWriter, _ *http.Request, got request, _ int) {
					result(w, got.id, `{"resultType":"complete","tools":[{"name":"real"}]}`)
				}}
				began := time.Now()
				h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
					takes(r, time.Until(began.Add(20*time.Second)))
					switch {
					case era == "modern":
						m.ServeHTTP(w, r)
					case r.Header.Get("Mcp-Method") != "":
						w.WriteHeader(400)
					default:
						s.ServeHTTP(w, r)
					}
				}), nil)
				h.send(modernRequest("1", "server/discover", ""))
				if got := h.response("1"); get(t, got, "error", "code") != "-32601" {
					t.Errorf("the probe has the response %s", got)
				}
				hello := h.hello()
				if took := time.Since(began); get(t, hello, "result") == "" || took > 4*time.Second+100*time.Millisecond {
					t.Errorf("after %v initialize has the response %s", took, hello)
				}
				h.note("notifications/tools/list_changed")
				h.send(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
				if got := h.response("2"); get(t, got, "result", "tools") != `[{"name":"real"}]` {
					t.Errorf("got %s", got)
				}
				for _, line := range h.all() {
					if mentionsSignIn(line) {
						t.Errorf("the host reads of a login: %s", line)
					}
				}
			})
		})
	}
}

// TestModernHostOfSilentServer has a host that speaks the modern form only, with a probe
// or without, on a server that leaves what it does not know without a response, or takes
// long to respond at all.
func TestModernHostOfSilentServer(t *testing.T) {
	for _, server := range []string{"legacy", "slow modern"} {
		for _, probes := range []int{0, 1, 2} {
			t.Run(fmt.Sprint(server, " ", probes), func(t *testing.T) {
				inMemory(t, func(t *testing.T) {
					s, m := waking(), &moderns{serve: func(w http.ResponseWriter, _ *http.Request, got request, _ int) {
						result(w, got.id, `{"resultType":"complete","tools":[{"name":"real"}]}`)
					}}
					began := time.Now()
					h := startInMemory(t, memory(func(w http.ResponseWriter, r *http.Request) {
						switch {
						case server == "slow modern":
							takes(r, time.Until(began.Add(15*time.Second)))
							m.ServeHTTP(w, r)
						case r.Header.Get("Mcp-Method") != "":
							takes(r, 24*time.Hour)
						default:
							s.ServeHTTP(w, r)
						}
					}), nil)
					for id := range probes {
						h.send(modernRequest(fmt.Sprint(100+id), "server/discover", ""))
						h.response(fmt.Sprint(100 + id))
					}
					h.send(modernRequest("1", "tools/list", ""))
					if got := h.response("1"); get(t, got, "result", "tools") != `[{"name":"real"}]` || get(t, got, "result", "resultType") != `"complete"` {
						t.Errorf("got %s", got)
					}
					h.send(modernRequest("2", "tools/list", ""))
					h.response("2")
				})
			})
		}
	}
}

// TestProbeWhileLoginIsNeeded has a host of both eras initialize while its probe waits
// for a login: it is one of before from then on.
func TestProbeWhileLoginIsNeeded(t *testing.T) {
	for _, how := range []string{"before the login is needed", "after the placeholder", "twice"} {
		t.Run(how, func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				s := waking()
				user := new(bridge.User)
				d := newDoor(user)
				d.next = memory(func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Mcp-Method") != "" {
						w.WriteHeader(400)
						return
					}
					s.ServeHTTP(w, r)
				})
				h := startInMemory(t, wire(func(r *http.Request) (*http.Response, error) {
					takes(r, 300*time.Millisecond)
					return d.RoundTrip(r)
				}), func(o *bridge.Options) { o.User, o.Explain = user, explainDoor })
				h.send(modernRequest("1", "server/discover", ""))
				if how == "after the placeholder" {
					h.response("1")
				}
				if how == "twice" {
					h.send(modernRequest("11", "server/discover", ""))
				}
				if hello := h.hello(); get(t, hello, "result", "protocolVersion") != `"2025-11-25"` {
					t.Errorf("initialize has the response %s", hello)
				}
				if how != "after the placeholder" {
					h.response("1")
				}
				h.send(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
				if got := h.response("2"); !strings.Contains(got, `"sign_in"`) {
					t.Errorf("the tools are %s", got)
				}
				close(d.opened)
				h.note("notifications/tools/list_changed")
				h.send(`{"jsonrpc":"2.0","id":3,"method":"tools/list"}`)
				if got := h.response("3"); get(t, got, "result", "tools") != `[{"name":"real"}]` || get(t, got, "result", "resultType") != "" {
					t.Errorf("the tools are %s", got)
				}
			})
		})
	}
}

// TestInitializeOfModernServer has a host that goes on to initialize though its probe has
// succeeded: a server of 2026-07-28 alone is translated for it.
func TestInitializeOfModernServer(t *testing.T) {
	m := &moderns{serve: func(w http.ResponseWriter, _ *http.Request, got request, _ int) {
		result(w, got.id, `{"resultType":"complete","tools":[{"name":"real"}]}`)
	}}
	h := start(t, bridge.Options{URL: serve(t, m.ServeHTTP), Logger: logger(t)})
	h.send(modernRequest("1", "server/discover", ""))
	if hello := h.hello(); get(t, hello, "result", "serverInfo", "name") != `"m"` {
		t.Errorf("initialize has the response %s", hello)
	}
	if got := h.response("1"); !strings.Contains(get(t, got, "result", "supportedVersions"), "2026-07-28") {
		t.Errorf("the probe has the response %s", got)
	}
	h.send(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
	if got := h.response("2"); get(t, got, "result", "tools") != `[{"name":"real"}]` {
		t.Errorf("got %s", got)
	}
	h.send(modernRequest("3", "tools/list", ""))
	if got := h.response("3"); get(t, got, "result", "tools") != `[{"name":"real"}]` {
		t.Errorf("got %s", got)
	}
}

// TestProbeOfServerAway has a host probe a server that cannot be reached: the probe fails
// in time for the initialize that follows.
func TestProbeOfServerAway(t *testing.T) {
	for name, how := range outages {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(t *testing.T) {
				began := time.Now()
				h := startInMemory(t, wire(how), nil)
				h.send(modernRequest("1", "server/discover", ""))
				if got := h.response("1"); get(t, got, "error") == "" || time.Since(began) > 2*time.Second {
					t.Errorf("after %v the probe has the response %s", time.Since(began), got)
				}
				if hello := h.hello(); get(t, hello, "result") == "" || time.Since(began) > 6*time.Second {
					t.Errorf("after %v initialize has the response %s", time.Since(began), hello)
				}
			})
		})
	}
}
