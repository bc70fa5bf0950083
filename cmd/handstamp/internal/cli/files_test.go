package cli

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
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

// What a killed process left of a file goes when the file is written again, and nothing else does.
func TestTemporaryFilesOfKilledProcessesGo(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	long := time.Now().Add(-2 * stale)
	for _, end := range []string{rand.Text(), "old", rand.Text() + "A"} {
		if err := os.WriteFile(path+"."+end, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path+"."+end, long, long); err != nil {
			t.Fatal(err)
		}
	}
	fresh := path + "." + rand.Text()
	if err := os.WriteFile(fresh, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeWhole(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 4 { // the file, two of other names, and the fresh one
		t.Errorf("%v, %v", left, err)
	}
}
