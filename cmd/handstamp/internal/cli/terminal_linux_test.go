package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// pseudoTerminal returns the two ends of a terminal.
func pseudoTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("there are no terminals here: ", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("the terminal cannot be opened: ", err)
	}
	t.Cleanup(func() { terminal.Close() })
	return keyboard, terminal
}

// A user who starts the bridge at a terminal sees what it is, and what to run
// instead. An MCP host, which is at the other end of a pipe, is not.
func TestBridgeAtATerminalSaysWhatItIs(t *testing.T) {
	c := newCommand(t)
	c.login()
	keyboard, terminal := pseudoTerminal(t)
	for _, atTerminal := range []bool{true, false} {
		ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
		defer cancel()
		cmd := exec.CommandContext(ctx, "handstamp", "bridge", c.server.MCPURL())
		cmd.Env = append(os.Environ(), "HANDSTAMP_HOME="+c.home, "HANDSTAMP_BROWSER=labbrowser")
		if atTerminal {
			cmd.Stdin = terminal
		}
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := ""
		if atTerminal {
			r := bufio.NewReader(stderr)
			lineWith(t, r, "an MCP server on standard input and output")
			said = lineWith(t, r, "handstamp tools")
			if _, err := keyboard.WriteString("\x04"); err != nil { // the end of the input
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, r)
		} else {
			text, _ := io.ReadAll(stderr)
			said = string(text)
		}
		_ = cmd.Wait()
		if strings.Contains(said, "handstamp tools "+c.server.MCPURL()) != atTerminal {
			t.Errorf("at a terminal %v: %q", atTerminal, said)
		}
	}
}

// What a tool returns drives no terminal, also where TERM is dumb.
func TestToolDrivesNoTerminal(t *testing.T) {
	for _, kind := range []string{"xterm", "dumb", ""} {
		keyboard, terminal := pseudoTerminal(t)
		b := &bridgeCommand{app: newApp(Process{Stdout: terminal, Environ: []string{"TERM=" + kind}})}
		if err := b.showResult([]byte(`{"content": [{"type": "text", "text": "a\u001b]0;b\u0007c"}]}`)); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(keyboard).ReadString('\n'); err != nil || strings.ContainsAny(line, "\x1b\x07") {
			t.Errorf("TERM=%s: %q, %v", kind, line, err)
		}
	}
}
