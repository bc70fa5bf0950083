package bridge_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/bridge"
)

// TestResponsesBeyondTheFirst lets a server respond to everything many times: the host
// gets one response for each request, and nothing waits for the others.
func TestResponsesBeyondTheFirst(t *testing.T) {
	many := func(id string) string {
		return strings.Repeat(event(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{}}`, id)), 40)
	}
	for _, era := range []string{"legacy", "modern"} {
		for _, way := range []string{"events", "a batch", "the session's stream"} {
			t.Run(era+"/"+way, func(t *testing.T) {
				s := &sessions{stream: make(chan string)}
				s.serve = func(w http.ResponseWriter, r *http.Request, got request) {
					switch way {
					case "events":
						w.Header().Set("Content-Type", "text/event-stream")
						io.WriteString(w, many(got.id))
					case "a batch":
						w.Header().Set("Content-Type", "application/json")
						one := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{}}`, got.id)
						io.WriteString(w, "["+strings.Repeat(one+",", 40)+one+"]")
					default:
						w.Header().Set("Content-Type", "text/event-stream")
						for range 40 {
							select {
							case s.stream <- event(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{}}`, got.id)):
							case <-r.Context().Done():
								return
							}
						}
						io.WriteString(w, many(got.id))
					}
				}
				url := serve(t, func(w http.ResponseWriter, r *http.Request) {
					if body, _ := batchBody(r); strings.Contains(body, "modelcontextprotocol") {
						w.WriteHeader(http.StatusBadRequest)
						return
					}
					s.ServeHTTP(w, r)
				})
				h := start(t, bridge.Options{URL: url})
				if era == "legacy" {
					h.hello()
				}
				for i := 1; i <= 5; i++ {
					if era == "legacy" {
						h.send(toolCall(i))
					} else {
						h.send(modernCall(i, ""))
					}
					h.response(fmt.Sprint(i))
				}
				for i := 1; i <= 5; i++ {
					n := 0
					for _, line := range h.all() {
						if get(t, line, "id") == fmt.Sprint(i) {
							n++
						}
					}
					if n != 1 {
						t.Errorf("the host got %d responses to request %d", n, i)
					}
				}
			})
		}
	}
}
