package cli

import (
	"context"
	"sync"
	"testing"
)

// silence is an input that never ends.
type silence struct {
	reading chan struct{} // closed at the first read
	once    sync.Once
}

func (s *silence) Read([]byte) (int, error) {
	s.once.Do(func() { close(s.reading) })
	select {}
}

// TestInterruptedWhileReading ends a command that reads from a program which writes nothing.
func TestInterruptedWhileReading(t *testing.T) {
	for name, args := range map[string][]string{
		"a secret":       {"login", "http://127.0.0.1:1/mcp", "--client-id", "x", "--client-secret-stdin"},
		"a sealed login": {"import", "--stdin"},
		"arguments":      {"call", "http://127.0.0.1:1/mcp", "echo", "-"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			in := &silence{reading: make(chan struct{})}
			code := make(chan int, 1)
			go func() {
				code <- Run(ctx, args, Process{Stdin: in, Environ: []string{"HANDSTAMP_HOME=" + t.TempDir()}})
			}()
			<-in.reading
			cancel()
			if code := <-code; code != exitInterrupted {
				t.Errorf("exit code %d", code)
			}
		})
	}
}
