package bridge_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// pipes is a network of one server, in memory, so that a bubble's clock can run
// while all goroutines wait.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.accept <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestDay is a host that is left open for a day: the server keeps the session's
// stream alive with a comment every 15 seconds and cuts it off every five
// minutes, as proxies do; the host pings every half minute. At the end the bridge
// holds what it held after the first hour.
func TestDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := 0
		handler := func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				streams++
				w.Header().Set("Content-Type", "text/event-stream")
				flush := http.NewResponseController(w).Flush
				fmt.Fprintf(w, "id: %d\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n", streams)
				_ = flush()
				for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); {
					select {
					case <-time.After(15 * time.Second):
						io.WriteString(w, ": still here\n\n")
						_ = flush()
					case <-r.Context().Done():
						return
					}
				}
				return
			}
			switch got := readRequest(r); got.method {
			case "initialize":
				w.Header().Set("Mcp-Session-Id", "one")
				result(w, got.id, initialized)
			case "ping":
				result(w, got.id, "{}")
			default:
				w.WriteHeader(http.StatusAccepted)
			}
		}
		network := &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: http.HandlerFunc(handler)}
		go server.Serve(network)
		transport := &http.Transport{DialContext: network.dial}
		inR, in := io.Pipe()
		outR, out := io.Pipe()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			done <- bridge.Run(ctx, bridge.Options{URL: "http://server.test/mcp", Stdin: inR, Stdout: out, HTTP: &http.Client{Transport: transport}})
			out.Close()
		}()
		responses, changes := make(chan string), 0
		go func() {
			defer close(responses)
			for r := bufio.NewReader(outR); ; {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if get(t, line, "method") != "" {
					changes++
					continue
				}
				responses <- get(t, line, "id")
			}
		}()
		fmt.Fprintln(in, `{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25"}}`)
		<-responses
		fmt.Fprintln(in, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)

		hour := func(n int) {
			for i := range 120 {
				time.Sleep(30 * time.Second)
				id := fmt.Sprint(n*120 + i)
				fmt.Fprintf(in, `{"jsonrpc":"2.0","id":%s,"method":"ping"}`+"\n", id)
				if got := <-responses; got != id {
					t.Fatalf("ping %s has the response %s", id, got)
				}
			}
		}
		weigh := func() (heap uint64, goroutines int) {
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc, runtime.NumGoroutine()
		}
		hour(0)
		before, running := weigh()
		for n := 1; n < 24; n++ {
			hour(n)
		}
		after, still := weigh()
		t.Logf("after an hour %d KiB and %d goroutines, after a day %d KiB and %d; %d streams, %d changes announced", before>>10, running, after>>10, still, streams, changes)
		if after > before+256<<10 {
			t.Errorf("the heap has grown from %d to %d bytes", before, after)
		}
		if still > running+2 {
			t.Errorf("%d goroutines after an hour, %d after a day", running, still)
		}
		if streams < 23*12 || changes < streams-1 {
			t.Errorf("%d streams, %d changes announced: the stream was not kept", streams, changes)
		}
		in.Close()
		for range responses {
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		cancel()
		transport.CloseIdleConnections()
		server.Close()
	})
}
