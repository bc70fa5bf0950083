package cli

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/lab"
	"golang.org/x/sys/unix"
)

// At a terminal that is wide enough, the URL is a QR code, too, and the time runs.
func TestDeviceCodeAtATerminal(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		columns uint16
		locale  string
		drawn   bool
	}{
		"wide":        {100, "C.UTF-8", true},
		"narrow":      {20, "C.UTF-8", false},
		"not Unicode": {100, "C", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, err := lab.Start(lab.Habits{Grants: []string{lab.GrantDeviceCode},
				Device: lab.Device{Interval: 1}})
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			keyboard, terminal := pseudoTerminal(t)
			size := &unix.Winsize{Row: 60, Col: c.columns}
			if err := unix.IoctlSetWinsize(int(keyboard.Fd()), unix.TIOCSWINSZ, size); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
			defer cancel()
			cmd := exec.CommandContext(ctx, "handstamp", "login", server.MCPURL(), "--device")
			cmd.Env = append(os.Environ(), "HANDSTAMP_HOME="+t.TempDir(), "LC_ALL="+c.locale, "TERM=xterm")
			cmd.Stderr = terminal
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(keyboard)
			seen := readUntil(t, r, "The code is")
			for _, code := range server.DeviceCodes() {
				if err := server.ApproveDevice(code); err != nil {
					t.Fatal(err)
				}
			}
			seen += readUntil(t, r, "Signed in to")
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			if !strings.Contains(seen, "left") {
				t.Errorf("no countdown: %q", seen)
			}
			if got := strings.Contains(seen, "▀"); got != c.drawn {
				t.Errorf("QR code %v, want %v: %q", got, c.drawn, seen)
			}
		})
	}
}

// readUntil returns all lines up to one with a text.
func readUntil(t *testing.T, r *bufio.Reader, text string) string {
	t.Helper()
	var all strings.Builder
	for !strings.Contains(all.String(), text) {
		line, err := r.ReadString('\n')
		all.WriteString(line)
		if err != nil {
			t.Fatalf("no line with %q in:\n%s", text, all.String())
		}
	}
	return all.String()
}

// The blocks of the QR code are those of its modules: corners and margin tell.
func TestQRCodeOfHalfBlocks(t *testing.T) {
	lines := qrCode("https://as.example/device?user_code=ABCD-EFGH")
	if len(lines) == 0 {
		t.Fatal("no code")
	}
	if strings.Trim(lines[0], " ") != "" {
		t.Errorf("no margin: %q", lines[0])
	}
	if finder := "  █▀▀▀▀▀█"; !strings.HasPrefix(lines[1], finder) {
		t.Errorf("%q does not begin with %q", lines[1], finder)
	}
	if qrCode(strings.Repeat("x", 5000)) != nil {
		t.Error("a text that is too long has a code")
	}
}
