package handstamp_test

import (
	"context"
	"errors"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// A login that the user denied is not started again by the requests that follow;
// a call of [handstamp.Client.Login] starts one.
func TestDeniedLoginIsNotRepeated(t *testing.T) {
	w := testenv.New(t, lab.Habits{Consent: lab.ConsentDeny})
	c := w.Session()
	for range 5 {
		if err := w.Call(c); !errors.Is(err, handstamp.ErrDenied) {
			t.Fatalf("error %v, want ErrDenied", err)
		}
	}
	w.WantTabs(1)
	if _, err := c.Login(context.Background(), w.Lab.MCPURL(), handstamp.LoginOptions{}); !errors.Is(err, handstamp.ErrDenied) {
		t.Fatalf("error %v, want ErrDenied", err)
	}
	w.WantTabs(2)
}

// Requests that follow a login which came back with the wrong issuer open no
// further tab; a user who asks for a login has one.
func TestDisbelievedLoginPauses(t *testing.T) {
	w := testenv.New(t, testenv.Personality(t, "iss-wrong"))
	c := w.Session()
	for range 3 {
		testenv.WantKind(t, w.Call(c), handstamp.ErrProtocol)
		w.WantTabs(1)
	}
	_, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
	testenv.WantKind(t, err, handstamp.ErrProtocol)
	w.WantTabs(2)
}
