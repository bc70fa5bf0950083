package handstamp_test

import (
	"context"
	"errors"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// A person who has said no is not asked again by every request that follows;
// one who asks for the login is.
func TestDeniedLoginIsNotRepeated(t *testing.T) {
	w := newWorld(t, lab.Habits{Consent: lab.ConsentDeny})
	c := w.session()
	for range 5 {
		if err := w.call(c); !errors.Is(err, handstamp.ErrDenied) {
			t.Fatalf("error %v, want ErrDenied", err)
		}
	}
	w.wantTabs(1)
	if _, err := c.Login(context.Background(), w.lab.MCPURL(), handstamp.LoginOptions{}); !errors.Is(err, handstamp.ErrDenied) {
		t.Fatalf("error %v, want ErrDenied", err)
	}
	w.wantTabs(2)
}
