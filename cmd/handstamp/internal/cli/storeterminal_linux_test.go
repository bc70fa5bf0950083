package cli

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Who is to type a passphrase can end the command instead, and the terminal shows again what is
// typed.
func TestInterruptedAtThePassphrase(t *testing.T) {
	c := newCommand(t)
	keyboard, terminal := pseudoTerminal(t)
	before, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "handstamp", "status", "--store", "encrypted")
	cmd.Env = append(os.Environ(), "HANDSTAMP_HOME="+c.home)
	cmd.Stdin = terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for hidden := false; !hidden; {
		now, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
		if err != nil || ctx.Err() != nil {
			t.Fatal(err, ctx.Err())
		}
		hidden = now.Lflag&unix.ECHO == 0
	}
	if _, err := keyboard.WriteString("\x03"); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	text, _ := io.ReadAll(out)
	if code := c.wait(cmd); code != exitInterrupted {
		t.Errorf("exit code %d: %s", code, text)
	}
	after, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("%v: the terminal is %+v, and was %+v", err, after, before)
	}
}

// A passphrase is typed unseen, twice when it is new; without a terminal it cannot be.
func TestPassphraseOfTheStoreIsTyped(t *testing.T) {
	if testing.Short() {
		t.Skip("it derives keys from passphrases")
	}
	c := newCommand(t)
	keyboard, terminal := pseudoTerminal(t)
	c.env = []string{"HANDSTAMP_STORE=encrypted"}
	run := func(typed []string, args ...string) (output string, code int) {
		ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
		defer cancel()
		cmd := exec.CommandContext(ctx, "handstamp", args...)
		cmd.Env = append(append(os.Environ(), "HANDSTAMP_HOME="+c.home, "HANDSTAMP_BROWSER=labbrowser"), c.env...)
		cmd.Stdin = terminal
		out, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout = cmd.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(out)
		for _, line := range typed {
			if prompt, err := r.ReadString(':'); err != nil {
				t.Fatalf("no prompt, but %q (%v)", prompt, err)
			}
			if _, err := keyboard.WriteString(line + "\n"); err != nil {
				t.Fatal(err)
			}
		}
		rest, _ := io.ReadAll(r)
		return string(rest), c.wait(cmd)
	}
	const phrase = "four words of a phrase"
	if stderr, code := run([]string{phrase, phrase + "?"}, "login", c.server.MCPURL()); code != exitUsage {
		t.Errorf("two different ones: exit code %d\n%s", code, stderr)
	}
	if stderr, code := run([]string{phrase, phrase}, "login", c.server.MCPURL()); code != 0 {
		t.Errorf("login: exit code %d\n%s", code, stderr)
	}
	if stderr, code := run([]string{phrase}, "token", c.server.MCPURL()); code != 0 {
		t.Errorf("token: exit code %d\n%s", code, stderr)
	}
	if stderr, code := run([]string{"another phrase"}, "token", c.server.MCPURL()); code != exitStore {
		t.Errorf("another phrase: exit code %d\n%s", code, stderr)
	}
	_, stderr, code := c.run("token", c.server.MCPURL())
	if code != exitStore || !strings.Contains(stderr, "there is no terminal") {
		t.Errorf("without a terminal: exit code %d\n%s", code, stderr)
	}
	c.wantNoSecret()
	const warning = "Bridges that an MCP host starts cannot type the passphrase"
	c.home, c.env = t.TempDir(), nil
	if output, code := run([]string{phrase, phrase}, "store", "migrate", "encrypted"); code != 0 ||
		!strings.Contains(output, warning) {
		t.Errorf("migration: exit code %d\n%s", code, output)
	}
}

// A shell that completes the name of a server waits for no passphrase: its user would see no prompt.
func TestCompletionNeedsNoPassphrase(t *testing.T) {
	c := newCommand(t)
	phrase := filepath.Join(t.TempDir(), "phrase")
	if err := os.WriteFile(phrase, []byte("four words of a phrase\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.env = []string{"HANDSTAMP_STORE=encrypted", "HANDSTAMP_STORE_PASSPHRASE_FILE=" + phrase}
	if _, stderr, code := c.run("login", c.server.MCPURL()); code != 0 {
		t.Fatalf("login: exit code %d\n%s", code, stderr)
	}
	_, terminal := pseudoTerminal(t)
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "handstamp", "__complete", "token", "")
	cmd.Env = append(os.Environ(), "HANDSTAMP_HOME="+c.home, "HANDSTAMP_STORE=encrypted")
	cmd.Stdin = terminal
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), c.server.MCPURL()) {
		t.Errorf("%v: %s", err, out)
	}
}
