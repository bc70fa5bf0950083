package handstamp_test

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// screen is what is written to a terminal.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// shownURL waits for the URL on the screen.
func (s *screen) shownURL(t *testing.T) string {
	t.Helper()
	var shown string
	if !proctest.Holds(30*time.Second, func() bool {
		for word := range strings.FieldsSeq(s.String()) {
			if strings.HasPrefix(word, "http") && strings.Contains(word, "state=") {
				shown = word
			}
		}
		return shown != ""
	}) {
		t.Fatalf("no URL on the screen:\n%s", s)
	}
	return shown
}

// noBrowser makes sure that no browser opens.
func noBrowser(t *testing.T) {
	for _, name := range []string{"HANDSTAMP_BROWSER", "BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"} {
		t.Setenv(name, "")
	}
}

// At a terminal without a browser the URL is shown, and what the browser of
// another machine ended at can be pasted.
func TestTerminalPromptTakesAPastedURL(t *testing.T) {
	noBrowser(t)
	w := testenv.New(t, lab.Habits{})
	in, typed := io.Pipe()
	terminal := new(screen)
	c := w.Session()
	c.Prompt = handstamp.TerminalPrompt(in, terminal)
	done := make(chan error, 1)
	go func() { done <- w.Login(c) }()
	back := authorizedURL(t, terminal.shownURL(t))
	if _, err := io.WriteString(typed, "\nno URL\nhttp://127.0.0.1:1/callback?code=c&state=s\n  "+back+"  \n"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Sign in to " + w.Lab.MCPURL() + " at " + w.Lab.Issuer(), "none opens by itself", "paste the URL of that page here"} {
		if !strings.Contains(terminal.String(), want) {
			t.Errorf("the terminal lacks %q:\n%s", want, terminal)
		}
	}
}

// Without an input nothing is offered to be pasted; a closed one does not end the
// wait for the browser.
func TestTerminalPromptWithoutInput(t *testing.T) {
	noBrowser(t)
	for name, in := range map[string]io.Reader{"none": nil, "closed": strings.NewReader("")} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{})
			terminal := new(screen)
			c := w.Session()
			c.Prompt = handstamp.TerminalPrompt(in, terminal)
			done := make(chan error, 1)
			go func() { done <- w.Login(c) }()
			if _, err := lab.Browse(t.Context(), terminal.shownURL(t)); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if strings.Contains(terminal.String(), "paste") != (in != nil) {
				t.Errorf("the terminal:\n%s", terminal)
			}
		})
	}
}
