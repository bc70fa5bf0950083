package cli

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A terminal shows what the command waits for, once it takes long.
func TestSlowServerIsNamed(t *testing.T) {
	for _, test := range []struct {
		after time.Duration
		quiet bool
		want  bool
	}{{slow / 2, false, false}, {2 * slow, false, true}, {2 * slow, true, false}} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			a := newApp(Process{Stderr: &out})
			a.err.terminal, a.global.quiet = true, test.quiet
			inR, inW := io.Pipe()
			outR, outW := io.Pipe()
			h := &mcpHost{app: a, target: &target{name: "linear"}, in: inW, lines: bufio.NewReader(outR), life: context.Background()}
			go func() {
				_, _ = bufio.NewReader(inR).ReadString('\n')
				time.Sleep(test.after) // the bubble's
				_, _ = io.WriteString(outW, `{"jsonrpc":"2.0","id":1,"result":{}}`+"\n")
			}()
			if _, err := h.request("initialize", nil); err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(out.String(), "Waiting for linear"); got != test.want {
				t.Errorf("after %v, quiet %v: %q", test.after, test.quiet, out.String())
			}
		})
	}
}
