package bridge_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// disorder is a server that fails in every way, and knows which
// calls it has carried out.
type disorder struct {
	sessions
	mu      sync.Mutex // guards what follows
	carried map[string]int
	streams map[string]string // what a broken stream has still to say, by event id
	kinds   map[string]int    // how often each disorder was met
	serial  int
}

func (d *disorder) met(kind string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kinds[kind]++
}

func (d *disorder) carry(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.carried[id]++
}

func (d *disorder) call(w http.ResponseWriter, r *http.Request, got request) {
	response := `{"jsonrpc":"2.0","id":` + got.id + `,"result":{"said":` + got.id + `}}`
	stream := func(events string) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, events)
	}
	note := "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":" + got.id + ",\"progress\":1}}\n\n"
	switch n := rand.IntN(100); {
	case n < 4: // rejected before anything was done
		d.met("401")
		w.WriteHeader(http.StatusUnauthorized)
	case n < 8:
		d.met("429")
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
	case n < 12:
		d.met("503")
		w.WriteHeader(http.StatusServiceUnavailable)
	case n < 13:
		d.met("session ended")
		d.forget()
		w.WriteHeader(http.StatusNotFound)
	case n < 16: // carried out, and then silence
		d.met("dropped after the deed")
		d.carry(got.id)
		panic(http.ErrAbortHandler)
	case n < 18:
		d.met("dropped before the deed")
		panic(http.ErrAbortHandler)
	case n < 22:
		d.met("half a response")
		d.carry(got.id)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(response)))
		io.WriteString(w, response[:len(response)/2])
		panic(http.ErrAbortHandler)
	case n < 26:
		d.met("half a stream")
		d.carry(got.id)
		stream(note + "data: " + response[:len(response)/2])
		panic(http.ErrAbortHandler)
	case n < 32:
		d.met("half a stream with ids")
		d.carry(got.id)
		d.mu.Lock()
		d.serial++
		id := strconv.Itoa(d.serial)
		d.streams[id] = "data: " + response + "\n\n"
		d.mu.Unlock()
		stream("retry: 1\nid: " + id + "\n" + note + "data: " + response[:len(response)/2])
		panic(http.ErrAbortHandler)
	case n < 50:
		d.carry(got.id)
		stream(note + "data: " + response + "\n\n")
	case n < 54:
		d.met("two responses")
		d.carry(got.id)
		stream("data: " + response + "\n\ndata: " + response + "\n\n")
	default:
		d.carry(got.id)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, response)
	}
}

// TestTenThousandCalls makes calls while the server does all that a server can do
// wrong. Each has exactly one response, and none that may have reached the server
// was sent again.
func TestTenThousandCalls(t *testing.T) {
	calls, inFlight := 2000, 32
	if os.Getenv("HANDSTAMP_TEST_LONG") != "" {
		calls = 10000
	}
	d := &disorder{carried: map[string]int{}, streams: map[string]string{}, kinds: map[string]int{}}
	d.serve = d.call
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if id := r.Header.Get("Last-Event-Id"); r.Method == http.MethodGet && id != "" {
			d.mu.Lock()
			rest := d.streams[id]
			d.mu.Unlock()
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, rest)
			return
		}
		d.ServeHTTP(w, r)
	})
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = inFlight
	free := make(chan struct{}, inFlight)
	h := startWatched(t, bridge.Options{URL: url, HTTP: &http.Client{Transport: transport}}, func(line string) {
		if strings.Contains(line, `"id":`) && !strings.Contains(line, `"hello"`) && !strings.Contains(line, `"method":`) {
			select {
			case <-free:
			default: // a second response, which is counted below
			}
		}
	})
	h.hello()
	for i := range calls + inFlight {
		select {
		case free <- struct{}{}:
		case <-time.After(timeout):
			t.Fatalf("no response within %v, with %d calls made; disorder: %v", timeout, i, d.kinds)
		}
		if i < calls {
			h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"x","_meta":{"progressToken":%d}}}`, i, i))
		}
	}
	responses := make(map[string]int)
	results, failures := 0, map[string]int{}
	for _, line := range h.all() {
		var m struct {
			ID     json.RawMessage
			Method string
			Result *struct{ Said json.RawMessage }
			Error  *struct{ Code int }
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("a line that is no JSON: %q", line)
		}
		if m.Method != "" || string(m.ID) == `"hello"` {
			continue
		}
		responses[string(m.ID)]++
		if m.Result != nil {
			results++
			if string(m.Result.Said) != string(m.ID) {
				t.Errorf("call %s got the response of %s", m.ID, m.Result.Said)
			}
		} else {
			failures[strconv.Itoa(m.Error.Code)]++
		}
	}
	for i := range calls {
		if n := responses[strconv.Itoa(i)]; n != 1 {
			t.Errorf("call %d has %d responses", i, n)
		}
	}
	d.mu.Lock() // a request whose response no one waits for may still be there
	defer d.mu.Unlock()
	repeated := 0
	for _, n := range d.carried {
		if n > 1 {
			repeated++
		}
	}
	if repeated > 0 {
		t.Errorf("%d calls were carried out more than once", repeated)
	}
	for _, kind := range []string{"401", "429", "503", "session ended", "dropped after the deed", "dropped before the deed", "half a response", "half a stream", "half a stream with ids", "two responses"} {
		if d.kinds[kind] == 0 {
			t.Errorf("%q never happened", kind)
		}
	}
	t.Logf("%d calls: %d results, failures by code %v, %d sessions; disorder: %s", calls, results, failures, d.begun,
		strings.Trim(fmt.Sprint(d.kinds), "map[]"))
}
