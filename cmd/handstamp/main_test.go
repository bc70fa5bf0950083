package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
)

// maxTokenCPU is what printing a stored, valid token may cost a process in CPU
// time, start and end included: scripts call it for every request.
const maxTokenCPU = 15 * time.Millisecond

// TestTokenIsCheap builds the command as users have it, signs in, and measures
// the cheapest of ten runs: the others pay for what the machine does beside.
func TestTokenIsCheap(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "handstamp")
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	server, err := lab.Start(lab.NoneFirst())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	env := append(os.Environ(), "HANDSTAMP_HOME="+filepath.Join(t.TempDir(), "home"), `HANDSTAMP_BROWSER="`+bin+`" demo browser`)
	login := exec.Command(bin, "login", server.MCPURL())
	login.Env = env
	if out, err := login.CombinedOutput(); err != nil {
		t.Fatalf("login: %v\n%s", err, out)
	}
	server.Reset()
	best := time.Hour
	for range 10 {
		token := exec.Command(bin, "token", server.MCPURL())
		token.Env = env
		out, err := token.Output()
		if err != nil || len(strings.Fields(string(out))) != 1 {
			t.Fatalf("token: %v, %d bytes", err, len(out))
		}
		best = min(best, token.ProcessState.UserTime()+token.ProcessState.SystemTime())
	}
	t.Logf("handstamp token: %v of CPU time", best)
	if best > maxTokenCPU {
		t.Errorf("a stored token costs %v of CPU time, more than %v", best, maxTokenCPU)
	}
	if counts := server.Counts(); len(counts) != 0 {
		t.Errorf("a stored token was asked for over the network: %v", counts)
	}
}
