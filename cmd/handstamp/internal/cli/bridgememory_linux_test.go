package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/testenv"
)

// longServer is an MCP server without a login, whose tools have long responses.
type longServer struct {
	kind string // how a response is written
	size int    // of a response, in bytes
}

func (s *longServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct{ Name string }
	}
	body, _ := io.ReadAll(r.Body)
	// What decodes long arguments takes seconds where the race detector is on.
	head, _, long := bytes.Cut(body, []byte(`,"arguments":{"a":`))
	if long {
		head = append(bytes.Clone(head), "}}"...)
	}
	_ = json.Unmarshal(head, &m)
	switch {
	case r.Method != http.MethodPost:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case m.ID == nil:
		w.WriteHeader(http.StatusAccepted)
	case m.Method == "initialize":
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}}`, m.ID)
	case m.Params.Name == "long", m.Method == "tools/list":
		s.long(w, r, string(m.ID))
	default:
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"length":%d}}`, m.ID, len(body))
	}
}

func (s *longServer) long(w http.ResponseWriter, r *http.Request, id string) {
	if s.kind == "another id" {
		id += ".0"
	}
	begin, end := `{"jsonrpc":"2.0","id":`+id+`,"result":"`, `"}`
	w.Header().Set("Content-Type", "application/json")
	switch s.kind {
	case "a length that is a lie":
		w.Header().Set("Content-Length", strconv.Itoa(s.size))
		io.WriteString(w, begin)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return
	case "a body with a length":
		w.Header().Set("Content-Length", strconv.Itoa(len(begin)+s.size+len(end)))
	case "an event":
		w.Header().Set("Content-Type", "text/event-stream")
		begin, end = "data: "+begin, end+"\n\n"
	case "an event of many lines":
		w.Header().Set("Content-Type", "text/event-stream")
		begin, end = "data: {\"jsonrpc\":\"2.0\",\"id\":"+id+",\"result\":[\ndata: 1", "]}\n\n"
	}
	piece := bytes.Repeat([]byte("0123456789abcdef"), 4096) // of which sizes are multiples
	if s.kind == "an event of many lines" {
		piece = bytes.Repeat([]byte("\ndata:,12345678"), 4096)
	}
	switch s.kind {
	case "bytes that are not UTF-8":
		begin += "\xff"
	case "many members":
		begin, end = strings.TrimSuffix(begin, `"`)+`1,"error":null`, "}"
		piece = bytes.Repeat([]byte(`,"abcd":1234567,"":0`+"            "), 2048)
	case "many tools":
		begin, end = strings.TrimSuffix(begin, `"`)+`{"tools":[0`, "]}}"
		piece = bytes.Repeat([]byte(",0"), 32<<10)
	case "an event of a long type":
		w.Header().Set("Content-Type", "text/event-stream")
		begin, end = "event: ", "\nevent: message\ndata: "+begin+strings.Repeat("x", 31<<20)+end+"\n\n"
		s = &longServer{s.kind, 32 << 20}
	case "an event of two lines":
		w.Header().Set("Content-Type", "text/event-stream")
		half := strings.Repeat("x", s.size/2)
		begin, end = "data: "+strings.TrimSuffix(begin, `"`)+`["`+half+"\",\ndata: \"", `"]}`+"\n\n"
		s = &longServer{s.kind, s.size / 2}
	}
	io.WriteString(w, begin)
	for n := 0; n < s.size; n += len(piece) {
		if _, err := w.Write(piece); err != nil {
			return
		}
	}
	io.WriteString(w, end)
}

// peakMemory returns what a process has taken at most, in MiB.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}

// TestBridgeMemoryIsBounded measures a bridge whose host has called tools that all
// respond at length at once, and what else has to work meanwhile.
func TestBridgeMemoryIsBounded(t *testing.T) {
	testenv.Heavy(t, "it moves hundreds of megabytes through a bridge")
	const size, bound = 60 << 20, 256
	for kind, calls := range map[string]int{
		"a body": 20, "a body with a length": 6, "an event": 6, "an event of many lines": 6, "another id": 6,
	} {
		t.Run(kind, func(t *testing.T) {
			server := httptest.NewServer(&longServer{kind, size})
			defer server.Close()
			c := &command{t: t, home: t.TempDir()}
			cmd, stdin, stdout := c.bridge(server.URL + "/mcp")
			for i := range calls {
				fmt.Fprintf(stdin, `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"long"}}`+"\n", i)
			}
			long := 0
			for range calls {
				head, n := readLong(t, stdout)
				if strings.Contains(head, `"error"`) {
					t.Errorf("a call got the response %s", head)
				}
				if n > size/2 {
					long++
				}
			}
			if long != calls {
				t.Errorf("%d long responses arrived", long)
			}
			c.endsBelow(cmd, stdin, bound)
		})
	}
}

// TestBridgeMemoryOfMessagesToMend measures a bridge that has to change what is long, or
// to put it together from parts.
func TestBridgeMemoryOfMessagesToMend(t *testing.T) {
	testenv.Heavy(t, "it moves hundreds of megabytes through a bridge")
	const calls, size, bound = 2, 60 << 20, 256
	for _, kind := range []string{"many tools", "many members", "bytes that are not UTF-8",
		"an event of two lines", "an event of a long type"} {
		t.Run(kind, func(t *testing.T) {
			server := httptest.NewServer(&longServer{kind, size})
			defer server.Close()
			c := &command{t: t, home: t.TempDir()}
			cmd, stdin, stdout := c.bridge(server.URL+"/mcp", "--deny-tool", "other")
			for i := range calls {
				fmt.Fprintf(stdin, `{"jsonrpc":"2.0","id":%d,"method":"tools/list"}`+"\n", i)
			}
			for range calls {
				if head, _ := readLong(t, stdout); strings.Contains(head, `"error"`) {
					t.Errorf("a request got the response %s", head)
				}
			}
			c.endsBelow(cmd, stdin, bound)
		})
	}
}

// bridge starts a bridge to a server, as a process, with a session.
func (c *command) bridge(url string, flags ...string) (cmd *exec.Cmd, stdin io.WriteCloser, stdout *bufio.Reader) {
	c.t.Helper()
	cmd, stdin, stdout, _ = c.startWithin(3*time.Minute, "handstamp", append([]string{"bridge", "--login=never", url}, flags...)...)
	fmt.Fprintln(stdin, `{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
	lineWith(c.t, stdout, `"hello"`)
	fmt.Fprintln(stdin, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return cmd, stdin, stdout
}

// endsBelow ends a bridge, which must have taken so many MiB of memory at most.
func (c *command) endsBelow(cmd *exec.Cmd, stdin io.Closer, bound int) {
	c.t.Helper()
	peak := peakMemory(c.t, cmd.Process.Pid)
	c.t.Logf("peak memory: %d MiB", peak)
	if peak > bound {
		c.t.Errorf("the bridge took %d MiB", peak)
	}
	stdin.Close()
	c.ends(cmd, 0)
}

// TestBridgeMemoryIsNotPromised: a length that a server announces takes no memory, and
// short calls do not wait for long ones.
func TestBridgeMemoryIsNotPromised(t *testing.T) {
	testenv.Heavy(t, "it moves hundreds of megabytes through a bridge")
	server := httptest.NewServer(&longServer{"a length that is a lie", 60 << 20})
	defer server.Close()
	defer server.CloseClientConnections()
	c := &command{t: t, home: t.TempDir()}
	cmd, stdin, stdout := c.bridge(server.URL + "/mcp")
	for i := range 40 {
		fmt.Fprintf(stdin, `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"long"}}`+"\n", i)
		fmt.Fprintf(stdin, `{"jsonrpc":"2.0","id":"short %d","method":"tools/call","params":{"name":"short"}}`+"\n", i)
		lineWith(t, stdout, fmt.Sprintf(`"short %d"`, i))
	}
	c.endsBelow(cmd, stdin, 100)
}

// TestBridgeMemoryOfRequests measures a bridge whose host calls with long arguments.
func TestBridgeMemoryOfRequests(t *testing.T) {
	testenv.Heavy(t, "it moves hundreds of megabytes through a bridge")
	const calls, size = 8, 60 << 20
	server := httptest.NewServer(&longServer{})
	defer server.Close()
	c := &command{t: t, home: t.TempDir()}
	cmd, stdin, stdout := c.bridge(server.URL + "/mcp")
	long := strings.Repeat("0123456789abcdef", size/16)
	go func() {
		for i := range calls {
			fmt.Fprintf(stdin, `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"short","arguments":{"a":"%s"}}}`+"\n", i, long)
		}
	}()
	for range calls {
		if head, _ := readLong(t, stdout); !strings.Contains(head, `"length":629`) {
			t.Errorf("a call got the response %s", head)
		}
	}
	c.endsBelow(cmd, stdin, 256)
}

// TestBridgeMemoryFlag: with less memory, what does not fit is an error with its id, in
// both directions.
func TestBridgeMemoryFlag(t *testing.T) {
	testenv.Heavy(t, "it moves a hundred megabytes through a bridge")
	server := httptest.NewServer(&longServer{"a body", 60 << 20})
	defer server.Close()
	c := &command{t: t, home: t.TempDir()}
	cmd, stdin, stdout := c.bridge(server.URL+"/mcp", "--max-memory", "100")
	fmt.Fprintln(stdin, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"long"}}`)
	if got := lineWith(t, stdout, `"id":1,`); !strings.Contains(got, "too_large") {
		t.Errorf("got %s", got)
	}
	fmt.Fprintf(stdin, `{"jsonrpc":"2.0","method":"tools/call","params":{"name":"short","arguments":{"a":"%s"}},"id":2}`+"\n", strings.Repeat("x", 30<<20))
	if got := lineWith(t, stdout, `"id":2,`); !strings.Contains(got, "too_large") {
		t.Errorf("got %s", got)
	}
	c.endsBelow(cmd, stdin, 100)
}

// readLong reads a line of any length and returns its begin and its length.
func readLong(t *testing.T, r *bufio.Reader) (head string, n int) {
	t.Helper()
	for {
		part, err := r.ReadSlice('\n')
		if n == 0 {
			head = string(part[:min(len(part), 200)])
		}
		n += len(part)
		switch err {
		case nil:
			return head, n
		case bufio.ErrBufferFull:
		default:
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
}

// TestBridgeEndsWhateverItsPeersDo ends bridges in the middle of a response that does not
// end, with a host that reads and one that does not.
func TestBridgeEndsWhateverItsPeersDo(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for peers that do not end")
	}
	for _, size := range []int{1 << 20, 1 << 40} {
		for _, by := range []string{"stdin", "SIGTERM"} {
			t.Run(fmt.Sprintf("%d/%s", size, by), func(t *testing.T) {
				t.Parallel()
				writing := make(chan struct{})
				s := &longServer{"a body", size}
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					r.Body = io.NopCloser(bytes.NewReader(body))
					if bytes.Contains(body, []byte(`"long"`)) {
						close(writing)
					}
					s.ServeHTTP(w, r)
				}))
				defer server.Close()
				defer server.CloseClientConnections()
				c := &command{t: t, home: t.TempDir()}
				cmd, stdin, _ := c.bridge(server.URL + "/mcp")
				fmt.Fprintln(stdin, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"long"}}`)
				<-writing
				if by == "stdin" {
					stdin.Close()
				} else if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				state, err := cmd.Process.Wait()
				if err != nil || state.ExitCode() != 0 {
					t.Errorf("it ended with %v, %v", state, err)
				}
				if took := time.Since(start); took > waitLimit {
					t.Errorf("it took %v to end", took)
				}
			})
		}
	}
}
