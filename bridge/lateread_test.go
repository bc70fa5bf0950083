package bridge_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// TestResponseIsWrittenWholeAfterTheEndOfInput has a host that closes standard input and reads
// the response a while later, as at the end of a pipe of programs: what has begun to be written is
// written to its end.
func TestResponseIsWrittenWholeAfterTheEndOfInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sessions{serve: func(w http.ResponseWriter, _ *http.Request, got request) {
			result(w, got.id, `"`+strings.Repeat("x", 2<<20)+`"`)
		}}
		o := bubbleServer(t, s.ServeHTTP)
		inR, in := io.Pipe()
		outR, out := io.Pipe()
		o.Stdin, o.Stdout = inR, out
		done := make(chan error, 1)
		go func() {
			done <- bridge.Run(t.Context(), o)
			out.Close()
		}()
		h := &host{t: t, in: in}
		lines := bufio.NewReader(outR)
		h.send(`{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		h.send(toolCall(1))
		in.Close()
		time.Sleep(2 * time.Second)
		rest, err := io.ReadAll(lines)
		if err != nil || len(rest) < 2<<20 || !strings.HasSuffix(string(rest), "}\n") {
			t.Errorf("the host got %d bytes, %v", len(rest), err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
