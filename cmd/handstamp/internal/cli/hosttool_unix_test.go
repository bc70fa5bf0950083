//go:build unix

package cli

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A process that an MCP host's own command has left behind is not waited for, whether that command ended
// or was interrupted.
func TestHostToolIsNotWaitedForBeyondItsEnd(t *testing.T) {
	for name, test := range map[string]struct {
		last      string // what the command does at its end
		interrupt bool
	}{"ended": {"exit 0", false}, "interrupted": {"cat pipe", true}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			pipe, tool, started := filepath.Join(dir, "pipe"), filepath.Join(dir, "claude"), filepath.Join(dir, "started")
			for _, path := range []string{pipe, started} {
				if err := syscall.Mkfifo(path, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			script := "#!/bin/sh\ncd " + dir + "\ncat pipe &\necho >started\n" + test.last + "\n"
			if err := os.WriteFile(tool, []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			ends, err := os.OpenFile(pipe, os.O_RDWR, 0) // until it is closed, what was left behind goes on
			if err != nil {
				t.Fatal(err)
			}
			defer ends.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- newApp(Process{Environ: os.Environ()}).runTool(ctx, tool, "mcp", "add-json") }()
			if _, err := os.ReadFile(started); err != nil {
				t.Fatal(err)
			}
			if test.interrupt {
				cancel()
			}
			select {
			case err := <-done:
				if (err != nil) != test.interrupt {
					t.Error(err)
				}
			case <-time.After(waitLimit):
				t.Error("it waits on")
			}
		})
	}
}
