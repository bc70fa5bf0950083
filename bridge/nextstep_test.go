package bridge_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/bridge"
)

// TestErrorsNameTheNextStep has the first contact fail in ways that the user can mend.
func TestErrorsNameTheNextStep(t *testing.T) {
	for want, serves := range map[string]http.HandlerFunc{
		"check that the URL is that of an MCP endpoint": func(w http.ResponseWriter, _ *http.Request) {
			writeBody(w, 200, "text/html", "<p>Welcome</p>")
		},
		"check the path of the URL": http.NotFound,
		"--max-memory": func(w http.ResponseWriter, r *http.Request) {
			result(w, readRequest(r).id, tooMuch)
		},
	} {
		h := start(t, bridge.Options{URL: serve(t, serves), MaxMessage: 10 << 10, InitializeWait: -1})
		h.send(hello)
		if got := h.response(`"hello"`); !strings.Contains(get(t, got, "error", "message"), want) {
			t.Errorf("got %s, want %q", got, want)
		}
	}
}

// TestVersionHasOneSpelling compares what the bridge calls itself to the host and to the server.
func TestVersionHasOneSpelling(t *testing.T) {
	user := new(bridge.User)
	d := newDoor(user)
	agent := make(chan string, 1)
	h := start(t, bridge.Options{Name: "hs", Version: "(devel)", User: user, URL: "http://server.example/mcp",
		HTTP: &http.Client{Transport: wire(func(r *http.Request) (*http.Response, error) {
			select {
			case agent <- r.UserAgent():
			default:
			}
			return d.RoundTrip(r)
		})}})
	h.send(hello)
	if got := get(t, h.response(`"hello"`), "result", "serverInfo", "version"); got != `"devel"` || <-agent != "hs/devel" {
		t.Errorf("the host gets %s", got)
	}
}
