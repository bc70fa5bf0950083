package cli

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A passphrase is typed unseen, twice when it is new; without a terminal it cannot be.
func TestPassphraseOfTheStoreIsTyped(t *testing.T) {
	c := newCommand(t)
	keyboard, terminal := pseudoTerminal(t)
	c.env = []string{"HANDSTAMP_STORE=encrypted"}
	run := func(typed []string, args ...string) (stderr string, code int) {
		ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
		defer cancel()
		cmd := exec.CommandContext(ctx, "handstamp", args...)
		cmd.Env = append(append(os.Environ(), "HANDSTAMP_HOME="+c.home, "HANDSTAMP_BROWSER=labbrowser"), c.env...)
		cmd.Stdin = terminal
		out, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
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
}
