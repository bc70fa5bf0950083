package interop

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/installed"
	"github.com/handstamp/handstamp/internal/proctest"
)

// peer is a server of another project, set up one way.
type peer struct {
	name    string
	from    []string // its packages
	path    string
	login   bool   // clients have to sign in
	forgets bool   // and again after a restart, which its logins do not survive
	solo    bool   // it can have one session in its life
	slow    bool   // it starts a process for each request
	python  string // the virtual environment that it is in; empty: none
	says    dialect
	lacks   []string // the trials that cannot pass, with or without a bridge
	modern  []string // likewise, where host and server speak 2026-07-28
	command func(dir string, port int) *exec.Cmd
}

// dialect is how a server's tools are called, and what they return.
type dialect struct {
	text       func(text string) (call trial)
	structured trial
	progress   trial
	elicit     trial
	sample     trial
	roots      trial
	uri        string
	resource   string
	prompt     string
	arguments  map[string]string
	message    string
	finish     trial // when it has returned, the server sends nothing more by itself
}

// trial is one call of a tool, and what the result contains.
type trial struct {
	tool string
	args map[string]any
	want string
}

// everything is the dialect of @modelcontextprotocol/server-everything.
var everything = dialect{
	text: func(text string) trial {
		return trial{"echo", map[string]any{"message": text}, "Echo: " + text}
	},
	structured: trial{"get-structured-content", map[string]any{"location": "Chicago"}, `"humidity":82`},
	progress:   trial{"trigger-long-running-operation", map[string]any{"duration": 0.03, "steps": 3}, "completed"},
	elicit:     trial{"trigger-elicitation-request", nil, "Name: Ada"},
	sample:     trial{"trigger-sampling-request", map[string]any{"prompt": "What?"}, "sampled"},
	roots:      trial{"get-roots-list", nil, "file:///peers"},
	uri:        "demo://resource/dynamic/text/1", resource: "Resource 1",
	prompt: "args-prompt", arguments: map[string]string{"city": "Oslo"}, message: "Oslo",
	// It requests the roots some time after the session began, and logs them.
	finish: trial{"trigger-long-running-operation", map[string]any{"duration": 4, "steps": 1}, "completed"},
}

// ours is the dialect of interop/server.py and its tools.
var ours = dialect{
	text: func(text string) trial {
		return trial{"echo", map[string]any{"text": text}, text}
	},
	structured: trial{"echo", map[string]any{"text": "x"}, `"result":"x"`},
	progress:   trial{"count", map[string]any{"to": 3}, "3"},
	elicit:     trial{"ask", nil, "blue"},
	sample:     trial{"sample", nil, "sampled"},
	roots:      trial{"roots", nil, "file:///peers"},
	uri:        "peers://greeting", resource: "good morning",
	prompt: "greet", arguments: map[string]string{"name": "Ada"}, message: "Greet Ada.",
}

// peers returns the servers, those of npm run by this Node.js.
func peers(node string) []peer {
	const serverEverything, gateway = "@modelcontextprotocol/server-everything", "supergateway"
	npm := func(port int, args ...string) *exec.Cmd {
		cmd := exec.Command(node, append([]string{"--import", "./peers/loopback.mjs"}, args...)...)
		cmd.Env = append(os.Environ(), "PORT="+strconv.Itoa(port))
		return cmd
	}
	script := "peers/node_modules/" + serverEverything + "/dist/index.js"
	alone := func(transport string) func(string, int) *exec.Cmd {
		return func(_ string, port int) *exec.Cmd { return npm(port, script, transport) }
	}
	behind := func(args ...string) func(string, int) *exec.Cmd {
		return func(_ string, port int) *exec.Cmd {
			return npm(port, append([]string{"peers/node_modules/" + gateway + "/dist/index.js",
				"--logLevel", "none", "--stdio", node + " " + script + " stdio",
				"--port", strconv.Itoa(port)}, args...)...)
		}
	}
	both := []string{gateway, serverEverything}
	list := []peer{
		{name: "server-everything", from: both[1:], path: "/mcp", says: everything,
			command: alone("streamableHttp")},
		{name: "server-everything, SSE", from: both[1:], path: "/sse", says: everything,
			command: alone("sse")},
		// Its progress comes on the stream of the GET, beside the response: a host may
		// have that one first, and lets go of the progress.
		{name: "supergateway, sessions", from: both, path: "/mcp", says: everything,
			lacks:   []string{"progress"},
			command: behind("--outputTransport", "streamableHttp", "--stateful")},
		{name: "supergateway, stateless", from: both, path: "/mcp", slow: true, says: everything,
			lacks:   append([]string{"progress"}, asks...),
			command: behind("--outputTransport", "streamableHttp")},
		{name: "supergateway, SSE", from: both, path: "/sse", solo: true, says: everything,
			command: behind("--outputTransport", "sse")},
	}
	return append(list, pythonPeers()...)
}

// asks are the trials in which a server sends the host a request.
var asks = []string{"elicitation", "sampling", "roots"}

// pythonPeers returns the servers that PyPI has. At 2026-07-28 a server cannot send
// requests, and these tools would have to return the question instead. Without sessions
// there is no stream for a request, and in a JSON response no place for one, nor for
// progress. Version 1 of the SDK sends progress on the stream of the GET, as
// supergateway does.
func pythonPeers() (list []peer) {
	all := append([]string{"progress"}, asks...)
	for _, p := range []struct {
		name, environment, pkg, kind string
		modern                       []string
		lacks                        map[string][]string // by transport
	}{
		{"Python SDK 1", "1", "mcp", "sdk", nil,
			map[string][]string{"http": {"progress"}, "stateless": all, "json": all}},
		{"Python SDK 2", "2", "mcp", "sdk", asks,
			map[string][]string{"stateless": asks, "json": {"progress", "elicitation"}}},
		{"FastMCP 2", "1", "fastmcp", "memory", nil,
			map[string][]string{"stateless": asks, "json": all}},
		{"FastMCP 4", "2", "fastmcp", "memory", asks,
			map[string][]string{"stateless": asks, "json": {"progress", "elicitation"}}},
	} {
		for _, way := range []struct{ transport, name, path string }{
			{"http", "", "/mcp"}, {"stateless", ", stateless", "/mcp"},
			{"json", ", JSON responses", "/mcp"}, {"sse", ", SSE", "/sse"},
		} {
			server := peer{name: p.name + way.name, path: way.path,
				from: []string{"pypi:" + p.environment + ":" + p.pkg}, python: p.environment, login: true,
				forgets: p.kind == "memory", says: ours, lacks: p.lacks[way.transport],
				command: inPython(p.environment, p.kind, way.transport)}
			if way.transport != "sse" { // which has no 2026-07-28
				server.modern = p.modern
			}
			list = append(list, server)
		}
	}
	return list
}

// inPython returns what starts interop/server.py.
func inPython(environment, kind, transport string) func(string, int) *exec.Cmd {
	return func(dir string, port int) *exec.Cmd {
		cmd := exec.Command(python(environment), "../../interop/server.py", kind, transport,
			"http://"+address(port), filepath.Join(dir, "state"))
		cmd.Env = append(os.Environ(), "PORT="+strconv.Itoa(port), "PYTHONWARNINGS=ignore")
		return cmd
	}
}

// python returns the interpreter of one of the virtual environments of make interop.
func python(environment string) string {
	path, err := filepath.Abs(filepath.Join("../../interop/.venv", environment, "bin/python"))
	if err != nil {
		panic(err)
	}
	return path
}

// needPython skips a test whose virtual environment is not there.
func needPython(t *testing.T, environment string) {
	t.Helper()
	installed.NeedFile(t, "python", environmentFile(environment),
		"it is a package of PyPI that is not installed: run make interop-sdk")
}

// hasPython reports whether one of the virtual environments is there.
func hasPython(environment string) bool {
	_, err := os.Stat(environmentFile(environment))
	return err == nil
}

// environmentFile exists once a virtual environment is complete.
func environmentFile(environment string) string {
	return filepath.Join("../../interop/.venv", environment, "installed.txt")
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// running is a peer that can be ended and started again on its port.
type running struct {
	peer
	t    *testing.T
	dir  string
	port int
	url  string
	log  lockedBuffer

	cmd   *exec.Cmd
	stdin io.Closer
	gone  chan struct{} // closed when the process has ended
}

func (p peer) run(t *testing.T) *running {
	t.Helper()
	r := &running{peer: p, t: t, dir: t.TempDir(), port: proctest.FreePort(t)}
	r.url = "http://" + address(r.port) + p.path
	r.start()
	t.Cleanup(func() {
		r.end()
		if t.Failed() {
			t.Logf("the server's log:\n%s", tail(r.log.String()))
		}
	})
	return r
}

// start starts the server and returns when it accepts connections.
func (r *running) start() {
	r.t.Helper()
	r.cmd = r.command(r.dir, r.port)
	ownGroup(r.cmd)
	r.cmd.Stdout, r.cmd.Stderr = &r.log, &r.log
	r.cmd.WaitDelay = time.Second
	stdin, err := r.cmd.StdinPipe() // at its end the Python servers end
	if err != nil {
		r.t.Fatal(err)
	}
	r.stdin = stdin
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	gone := make(chan struct{})
	r.gone = gone
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait()
		close(gone)
	}(r.cmd)
	ready := proctest.Holds(timeout, func() bool {
		select {
		case <-gone:
			r.t.Fatalf("%s does not start:\n%s", r.name, tail(r.log.String()))
		default:
		}
		c, err := net.Dial("tcp", address(r.port))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if !ready {
		r.t.Fatalf("%s does not listen:\n%s", r.name, tail(r.log.String()))
	}
}

// end kills the server, as a crash would.
func (r *running) end() {
	killGroup(r.cmd)
	<-r.gone
	r.stdin.Close()
}

// lockedBuffer is a buffer that several goroutines write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// tail returns the end of a log.
func tail(log string) string {
	const most = 4000
	return log[max(0, len(log)-most):]
}

// signIn signs in at the server with handstamp login.
func (r *running) signIn(handstamp, home string) {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), handstamp, "login", r.url)
	cmd.Env = append(os.Environ(), bridgeEnvironment(home)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("handstamp login: %v\n%s", err, out)
	}
	resp, err := http.Post(r.url, "application/json", strings.NewReader("{}"))
	if err != nil {
		r.t.Fatal(err)
	}
	resp.Body.Close()
	if r.path == "/mcp" && resp.StatusCode != http.StatusUnauthorized {
		r.t.Fatal(fmt.Errorf("without a login the server returns %s", resp.Status))
	}
}
