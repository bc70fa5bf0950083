package shellword_test

import (
	"os/exec"
	"testing"

	"github.com/handstamp/handstamp/internal/shellword"
)

func TestAShellReadsWhatWasQuoted(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no shell")
	}
	for _, word := range []string{"", "~", "~root", "=ls", "plain", "a b", "$(reboot)", "a;b", "it's", "''", "`x`", `\`, `"`, "*", "-n", "a\nb", "#", "é", "!x", "{a,b}", "a~b"} {
		out, err := exec.CommandContext(t.Context(), shell, "-c", "printf %s "+shellword.Quote(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q was read as %q (%v)", word, out, err)
		}
	}
	if got := shellword.Quote("https://mcp.example.com/mcp"); got != "https://mcp.example.com/mcp" {
		t.Errorf("a URL was quoted: %s", got)
	}
}
