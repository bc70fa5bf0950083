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
	"time"

	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/lab/suite"
)

// TestTimeUp ends a client that does not end by itself with all that it has
// started, and says that its time was up.
func TestTimeUp(t *testing.T) {
	if testing.Short() {
		t.Skip("each of two clients is given six seconds to end")
	}
	t.Parallel()
	const script = `trap "" INT; sleep 600 & echo $! >"$1/pid"; cat >/dev/null; wait`
	command := []string{"sh", "-c", script, "sh", "", "{url}"}
	for _, client := range []suite.Client{&suite.Program{Command: command}, &suite.Bridge{Command: command}} {
		home := t.TempDir()
		command[4] = home
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := client.Session(ctx, suite.Session{URL: "http://127.0.0.1/", Home: home, Env: os.Environ()})
		cancel()
		if err == nil || !strings.Contains(err.Error(), "in time") {
			t.Errorf("%T: %v", client, err)
		}
		raw, err := os.ReadFile(filepath.Join(home, "pid"))
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

// gone waits for the end of a process that has been killed.
func gone(pid int) bool {
	return proctest.Holds(5*time.Second, func() bool {
		if raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil && strings.Contains(string(raw), ") Z ") {
			return true // an orphan that has not been waited for yet
		}
		return syscall.Kill(pid, 0) != nil
	})
}
