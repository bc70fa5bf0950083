//go:build unix

package handstamp_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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

// TestPromptEnds has logins end in every way, and in either process. What the user was shown is
// over before the request that waited goes on.
func TestPromptEnds(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		consent   string
		elsewhere bool // another process has begun it
		helper    bool
		hangs     bool // the user does nothing
		kind      error
	}{
		"signed in":                        {},
		"signed in, by a helper":           {helper: true},
		"by another process":               {elsewhere: true},
		"by another process, and a helper": {elsewhere: true, helper: true},
		"denied":                           {consent: lab.ConsentDeny, kind: handstamp.ErrDenied},
		"denied, by a helper":              {consent: lab.ConsentDeny, helper: true, kind: handstamp.ErrDenied},
		"denied to another process":        {consent: lab.ConsentDeny, elsewhere: true, kind: handstamp.ErrDenied},
		"not completed":                    {hangs: true, kind: handstamp.ErrTimeout},
		"not completed, by a helper":       {hangs: true, helper: true, kind: handstamp.ErrTimeout},
		"not completed by another process": {hangs: true, elsewhere: true, kind: handstamp.ErrTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := testenv.NewEmptyOnDisk(t, lab.Habits{Consent: tt.consent})
			gate := w.Lab.Hold("authorize:received")
			defer gate.Release()
			if tt.elsewhere {
				first := make(chan error, 1)
				c := w.Session()
				go func() { first <- w.Call(c) }()
				defer func() { <-first }()
				defer c.Close(t.Context())
				w.Held(gate)
			}
			shown := make(chan bool, 10)
			var awaited atomic.Bool
			c := w.Session()
			show := func(context.Context, handstamp.AuthorizationRequest) {
				awaited.Store(true)
				shown <- true
			}
			c.Prompt.Show, c.Prompt.Waiting = show, show
			c.Prompt.Ended = func(serverURL string) {
				if serverURL != w.Lab.MCPURL() {
					t.Errorf("a login at %s has ended", serverURL)
				}
				awaited.Store(false)
			}
			if tt.helper {
				c.RefreshHelper = testenv.HelperOf(testenv.Job{Dir: w.Dir})
			}
			if tt.hangs {
				c.LoginTimeout = time.Second
			}
			result := make(chan error, 1)
			go func() {
				err := w.Call(c)
				if awaited.Load() {
					t.Error("the user is still awaited")
				}
				result <- err
			}()
			var err error
			select {
			case <-shown:
				if !tt.hangs {
					gate.Release()
				}
				err = <-result
			case err = <-result: // on a busy machine, the time is over before the user is shown anything
			}
			if !errors.Is(err, tt.kind) {
				t.Errorf("the request: %v", err)
			}
		})
	}
}

// TestWithoutLogin has requests of a program's own at a server that has ended the login: they open
// no browser, whatever the server rejects, and the next request of the user's does.
func TestWithoutLogin(t *testing.T) {
	for name, challenge := range map[string]string{
		"the grant has ended": "",
		"more scope":          `Bearer error="insufficient_scope", scope="everything"`,
		"another sign-in":     `Bearer error="insufficient_user_authentication", acr_values="strong"`,
	} {
		w := testenv.New(t, lab.Habits{})
		w.MustCall(w.Session())
		own, line := w.Recorded()
		if challenge == "" {
			w.Lab.RevokeFamilies()
			w.Lab.RevokeAccessTokens()
		} else {
			line.OnResponse(func(req *http.Request, resp *http.Response) {
				if req.URL.Path == "/mcp" {
					resp.StatusCode = http.StatusForbidden
					resp.Header.Set("WWW-Authenticate", challenge)
				}
			})
		}
		ctx := handstamp.WithoutLogin(t.Context())
		for range 3 {
			if err := testenv.Call(ctx, own.HTTPClient(w.Lab.MCPURL()), w.Lab.MCPURL()); err == nil {
				t.Errorf("%s: the request was accepted", name)
			}
		}
		if _, err := own.Token(ctx, w.Lab.MCPURL(), handstamp.TokenOptions{}); challenge == "" && !errors.Is(err, handstamp.ErrLoginRequired) {
			t.Errorf("%s: Token returns %v", name, err)
		}
		w.WantTabs(1)
		_ = w.Call(own)
		if w.Tabs.Load() == 1 {
			t.Errorf("%s: a request of the user's opened no browser", name)
		}
	}
}
