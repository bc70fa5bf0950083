//go:build unix

package suite_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab/suite"
)

// TestTimeUp ends a client that does not end by itself with all that it has
// started, and says that its time was up.
func TestTimeUp(t *testing.T) {
	if testing.Short() {
		t.Skip("each of two clients is given five seconds to end")
	}
	t.Parallel()
	const script = `trap "" INT; sleep 600 & echo $! >"$1/pid"; cat >/dev/null; wait`
	command := []string{"sh", "-c", script, "sh", "", "{url}"}
	for _, client := range []suite.Client{&suite.Program{Command: command}, &suite.Bridge{Command: command}} {
		home := t.TempDir()
		command[4] = home
		started := filepath.Join(home, "pid")
		err := client.Session(timeUpWith(t, started), suite.Session{URL: "http://127.0.0.1/", Home: home, Env: os.Environ()})
		if err == nil || !strings.Contains(err.Error(), "in time") {
			t.Errorf("%T: %v", client, err)
		}
		raw, err := os.ReadFile(started)
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
		if err != nil {
			t.Fatal(err)
		}
		if !gone(pid) {
			t.Errorf("%T: what it has started is still there", client)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// timeUp is a context whose time is up once a channel is closed.
type timeUp struct {
	context.Context
	done <-chan struct{}
}

func (c timeUp) Done() <-chan struct{} { return c.done }

func (c timeUp) Err() error {
	select {
	case <-c.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// timeUpWith returns a context whose time is up once a file has a line, which a busy machine writes
// in its own time.
func timeUpWith(t *testing.T, file string) context.Context {
	done := make(chan struct{})
	go func() {
		defer close(done)
		proctest.Holds(testenv.Timeout, func() bool {
			raw, _ := os.ReadFile(file)
			return strings.HasSuffix(string(raw), "\n")
		})
	}()
	return timeUp{t.Context(), done}
}

// gone waits for the end of a process that has been killed.
func gone(pid int) bool {
	return proctest.Holds(testenv.Timeout, func() bool {
		if raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil && strings.Contains(string(raw), ") Z ") {
			return true // an orphan that has not been waited for yet
		}
		return syscall.Kill(pid, 0) != nil
	})
}
