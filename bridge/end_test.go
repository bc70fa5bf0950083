package bridge_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// endless writes a piece again and again, until a write fails.
func endless(w io.Writer, piece string, pace time.Duration) {
	for {
		if _, err := io.WriteString(w, piece); err != nil {
			return
		}
		if f, ok := w.(http.ResponseWriter); ok {
			_ = http.NewResponseController(f).Flush()
		}
		time.Sleep(pace) // of the server
	}
}

// TestEndWhateverTheServerSends ends bridges in the middle of responses that do not
// end, by the end of standard input and by the end of the context.
func TestEndWhateverTheServerSends(t *testing.T) {
	stream := func(begin, piece string, pace time.Duration) func(w http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, begin)
			endless(w, piece, pace)
		}
	}
	for name, write := range map[string]func(w http.ResponseWriter){
		"an endless body": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":"`)
			endless(w, strings.Repeat("x", 1000), time.Millisecond)
		},
		"a body that drips": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			endless(w, " ", 100*time.Millisecond)
		},
		"a page that does not end": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			endless(w, "<p>", time.Millisecond)
		},
		"a rejection that does not end": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusBadRequest)
			endless(w, "no", time.Millisecond)
		},
		"an endless event":    stream("data: ", strings.Repeat("x", 1000), time.Millisecond),
		"endless lines":       stream("", "data: \n", time.Millisecond),
		"endless comments":    stream("", ": \n", time.Millisecond),
		"endless events":      stream("", "data: {\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n\n", time.Millisecond),
		"an event that drips": stream("data: ", "x", 100*time.Millisecond),
		"endless headers": func(w http.ResponseWriter) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
			endless(conn, "X-More: more\r\n", 10*time.Millisecond)
		},
	} {
		for _, by := range []string{"stdin", "context"} {
			if by == "stdin" && testing.Short() {
				continue // each of them waits three seconds for the response
			}
			t.Run(name+"/"+by, func(t *testing.T) {
				t.Parallel()
				began := make(chan struct{})
				s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, _ request) {
					close(began)
					write(w)
				}}
				runToEnd(t, serve(t, s.ServeHTTP), began, by, false)
			})
		}
	}
}

// TestEndWithAHostThatDoesNotRead ends bridges whose standard output is full.
func TestEndWithAHostThatDoesNotRead(t *testing.T) {
	for _, by := range []string{"stdin", "context"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			began := make(chan struct{})
			s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, got request) {
				result(w, got.id, `"`+strings.Repeat("x", 1<<20)+`"`)
				close(began)
			}}
			runToEnd(t, serve(t, s.ServeHTTP), began, by, true)
		})
	}
}

// runToEnd runs a bridge, makes a call, ends it once the call has begun, and checks
// how long that takes.
func runToEnd(t *testing.T, url string, began <-chan struct{}, by string, deaf bool) {
	t.Helper()
	inR, in := io.Pipe()
	outR, out := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- bridge.Run(ctx, bridge.Options{URL: url, Stdin: inR, Stdout: out}) }()
	defer outR.Close()
	lines := bufio.NewReader(outR)
	fmt.Fprintln(in, `{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(in, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}`)
	<-began
	if !deaf {
		go io.Copy(io.Discard, lines)
	}
	start := time.Now()
	if by == "stdin" {
		in.Close()
	} else {
		cancel()
	}
	select {
	case <-done:
	case <-time.After(timeout):
		t.Fatal("it does not end")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}
