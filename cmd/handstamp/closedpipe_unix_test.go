//go:build unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A host or a shell that has closed its end of a pipe ends no process with a signal, however early that
// writes to it: the exit code is the one of what happened.
func TestClosedPipeIsNoSignal(t *testing.T) {
	needBin(t)
	for args, want := range map[string]struct {
		code   int
		stdout bool // the pipe; or else it is standard error
	}{
		"bridge https://127.0.0.1:9/mcp --body-timeout 5": {0, false}, // which has no effect, and says so
		"bridge https://127.0.0.1:9/mcp":                  {0, false},
		"bridge --nosuch":                                 {2, false},
		"nosuch":                                          {2, false},
		"--help":                                          {141, true},
		"bridge --help":                                   {141, true},
	} {
		t.Run(args, func(t *testing.T) {
			for range 4 {
				if code := runAtClosedPipe(t, strings.Fields(args), want.stdout); code != want.code {
					t.Fatalf("exit code %d, want %d", code, want.code)
				}
			}
		})
	}
}

// runAtClosedPipe runs the command on one processor, so that what it does beside comes late, and returns
// its exit code, -1 for a signal.
func runAtClosedPipe(t *testing.T, args []string, stdout bool) int {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	read.Close()
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "HANDSTAMP_STORE=file",
		"HANDSTAMP_HOME="+filepath.Join(t.TempDir(), "home"))
	if stdout {
		cmd.Stdout = write
	} else {
		cmd.Stderr = write
	}
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}
