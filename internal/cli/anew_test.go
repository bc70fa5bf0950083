package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp"
)

// TestPressRToRegisterAnew: a user who waits for 20 seconds with a client from an
// earlier session is told what to do if the page shows an error.
func TestPressRToRegisterAnew(t *testing.T) {
	const hint = "- If the page shows an error, press r to register anew (and Enter)\n"
	for _, test := range []struct {
		name    string
		offered bool
		after   time.Duration
		typed   string
		anew    bool
		text    string
		told    string
	}{
		{"too early to be told", true, anewHintDelay - time.Second, "r\n", true, "", ""},
		{"told", true, anewHintDelay + time.Second, "r\n", true, "", hint},
		{"a capital letter", true, anewHintDelay + time.Second, " R \n", true, "", hint},
		{"a URL all the same", true, anewHintDelay + time.Second, "http://127.0.0.1/callback?code=a\n", false, "http://127.0.0.1/callback?code=a", hint},
		{"a new client", false, time.Hour, "r\n", false, "r", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, typing := io.Pipe()
				var out bytes.Buffer
				p := &anewPaste{app: newApp(Process{Stderr: &out}), lines: &lineReader{r: in}}
				p.show(handstamp.AuthorizationRequest{CanRegisterAnew: test.offered})
				time.AfterFunc(test.after, func() { io.WriteString(typing, test.typed) })
				text, err := p.paste(context.Background())
				if errors.Is(err, handstamp.ErrRegisterAnew) != test.anew || text != test.text || !test.anew && err != nil {
					t.Errorf("%q, %v", text, err)
				}
				synctest.Wait()
				if out.String() != test.told {
					t.Errorf("told %q", out.String())
				}
			})
		})
	}
}
