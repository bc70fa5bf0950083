//go:build unix

package handstamp_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/testenv"
)

// What a command has started is ended with it.
func TestAssertionFromCommandEndsWhatItStarted(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pid")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		source := handstamp.AssertionFromCommand("sh", "-c", `sleep 600 & echo $! >"$0"; wait`, pipe)
		_, err := source(ctx, handstamp.GrantTarget{})
		failed <- err
	}()
	f, err := os.Open(pipe) // it waits for the command
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(f).ReadString('\n')
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-failed; err == nil {
		t.Error("no error")
	}
	if !proctest.Holds(testenv.Timeout, func() bool {
		stat, _ := os.ReadFile("/proc/" + strconv.Itoa(child) + "/stat") // a zombie is gone, too
		return errors.Is(syscall.Kill(child, 0), syscall.ESRCH) || strings.Contains(string(stat), ") Z ")
	}) {
		_ = syscall.Kill(child, syscall.SIGKILL)
		t.Fatal("what the command has started is still there")
	}
}

// What a command writes is not kept, but for the beginning.
func TestAssertionFromCommandThatWritesMuch(t *testing.T) {
	for _, command := range []string{"head -c 67108864 /dev/zero", "head -c 67108864 /dev/zero >&2; exit 1"} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := handstamp.AssertionFromCommand("sh", "-c", command)(t.Context(), handstamp.GrantTarget{})
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: no error", command)
		}
		if kept := (after.TotalAlloc - before.TotalAlloc) >> 20; kept > 32 {
			t.Errorf("%s: %d MiB were allocated for 64", command, kept)
		}
	}
}
