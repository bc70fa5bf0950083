package pasted

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// A user who waits for 20 seconds with a client from an earlier session sees what
// to do if the page shows an error.
func TestPressRToRegisterAnew(t *testing.T) {
	for _, test := range []struct {
		name    string
		offered bool
		after   time.Duration
		typed   string
		anew    bool
		text    string
		hinted  bool
	}{
		{"before the hint", true, HintDelay - time.Second, "r\n", true, "", false},
		{"after the hint", true, HintDelay + time.Second, "r\n", true, "", true},
		{"a capital letter", true, HintDelay + time.Second, " R \n", true, "", true},
		{"a URL all the same", true, HintDelay + time.Second, "http://127.0.0.1/callback?code=a\n", false, "http://127.0.0.1/callback?code=a", true},
		{"empty lines are nothing", true, time.Second, "\n \nr\n", true, "", false},
		{"a new client", false, time.Hour, "r\n", false, "r", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, typing := io.Pipe()
				r := New(in)
				r.Offer(test.offered)
				time.AfterFunc(test.after, func() { io.WriteString(typing, test.typed) })
				hinted := false
				text, anew, err := r.Next(t.Context(), func() { hinted = true })
				if err != nil || text != test.text || anew != test.anew {
					t.Errorf("%q, anew %v, error %v", text, anew, err)
				}
				synctest.Wait()
				if hinted != test.hinted {
					t.Errorf("hinted: %v", hinted)
				}
			})
		})
	}
}

// A login that ends leaves its read to the next one, and no line is lost.
func TestLineForTheNextLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, typing := io.Pipe()
		r := New(in)
		first, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := r.Next(first, nil); err != context.DeadlineExceeded {
			t.Errorf("error %v", err)
		}
		go io.WriteString(typing, "http://127.0.0.1/callback\n")
		text, _, err := r.Next(t.Context(), nil)
		if text != "http://127.0.0.1/callback" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
		typing.Close()
		ended, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, _, err := r.Next(ended, nil); err != context.DeadlineExceeded {
			t.Errorf("after the end of the input: error %v", err)
		}
	})
}
