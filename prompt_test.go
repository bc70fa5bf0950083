//go:build unix

package handstamp_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// The library opens the browser that BROWSER names, as the command does: by the
// zero Prompt and by the terminal's.
func TestBrowserVariable(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, prompt := range map[string]handstamp.Prompt{"zero": {}, "terminal": handstamp.TerminalPrompt(nil, new(screen))} {
		for _, variable := range []string{"BROWSER", "HANDSTAMP_BROWSER"} {
			t.Run(name+" "+variable, func(t *testing.T) {
				noBrowser(t)
				opened := filepath.Join(t.TempDir(), "opened")
				t.Setenv(variable, `"`+program+`" --new-window %s`)
				t.Setenv(testenv.BrowserVariable, opened)
				w := testenv.New(t, lab.Habits{})
				c := w.Session()
				c.Prompt = prompt
				if err := w.Login(c); err != nil {
					t.Fatal(err)
				}
				if text, err := os.ReadFile(opened); err != nil || !strings.HasPrefix(string(text), "--new-window http") {
					t.Errorf("the browser was started with %q (%v)", text, err)
				}
			})
		}
	}
	t.Run("none", func(t *testing.T) {
		noBrowser(t)
		t.Setenv("HANDSTAMP_NO_BROWSER", "1")
		t.Setenv("BROWSER", program)
		w := testenv.New(t, lab.Habits{})
		c := w.Session()
		c.Prompt = handstamp.Prompt{}
		err := w.Login(c)
		if err == nil || !strings.Contains(err.Error(), "HANDSTAMP_NO_BROWSER") {
			t.Errorf("the error is %v", err)
		}
	})
}
