package bridge_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
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
		for by := range longestEnds {
			t.Run(name+"/"+by, func(t *testing.T) {
				t.Parallel()
				inMemory(t, func(t *testing.T) {
					began, over := make(chan struct{}), make(chan struct{})
					s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, _ request) {
						close(began)
						write(w)
						close(over)
					}}
					runToEnd(t, bubbleServer(t, s.ServeHTTP), began, by, false)
					<-over // the clock runs for as long as the test does
				})
			})
		}
	}
}

// TestEndWithAHostThatDoesNotRead ends bridges whose standard output is full.
func TestEndWithAHostThatDoesNotRead(t *testing.T) {
	for by := range longestEnds {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			inMemory(t, func(t *testing.T) {
				began := make(chan struct{})
				s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, got request) {
					close(began)
					result(w, got.id, `"`+strings.Repeat("x", 1<<20)+`"`)
				}}
				runToEnd(t, bubbleServer(t, s.ServeHTTP), began, by, true)
			})
		})
	}
}

// longestEnds are how long a bridge may take to end, by what ends it: for responses that are due
// once standard input has ended, and for what is being written once its context has.
var longestEnds = map[string]time.Duration{
	"stdin":   2500 * time.Millisecond,
	"context": 250 * time.Millisecond,
}

// runToEnd runs a bridge in a bubble, makes a call, ends it once the call has begun, and checks
// how long that takes.
func runToEnd(
	t *testing.T, o bridge.Options, began <-chan struct{}, by string, deaf bool,
) {
	t.Helper()
	inR, in := io.Pipe()
	outR, out := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o.Stdin, o.Stdout, o.Logger = inR, out, nil // what does not end would fill the log
	done := make(chan error, 1)
	go func() { done <- bridge.Run(ctx, o) }()
	defer in.Close()
	defer outR.Close()
	lines := bufio.NewReader(outR)
	fmt.Fprintln(in, `{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(in, toolCall(1))
	<-began
	if !deaf {
		go io.Copy(io.Discard, lines)
	}
	synctest.Wait() // the response has come as far as it does
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
	if took := time.Since(start); took > longestEnds[by] {
		t.Errorf("it took %v, more than %v", took, longestEnds[by])
	}
}
