package handstamp_test

import (
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// A wait that was noted while the clock ran ahead ends with that clock.
func TestWaitNotedByWrongClock(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	w.Expire()
	rec := w.Record()
	for _, test := range []struct {
		wait  time.Duration
		waits bool
	}{{10 * time.Minute, true}, {24 * time.Hour, false}} {
		rec.Retry = &record.Retry{NotBefore: time.Now().Add(test.wait), Failures: 3, Reason: "503"}
		w.Put(rec)
		c := w.Session()
		status, err := c.Status(t.Context(), w.Lab.MCPURL())
		if err != nil || status.RetryAt.IsZero() == test.waits {
			t.Errorf("%v: status %+v, %v", test.wait, status, err)
		}
		switch err := w.Call(c); {
		case test.waits:
			testenv.WantKind(t, err, handstamp.ErrUnreachable)
		case err != nil:
			t.Errorf("%v: %v", test.wait, err)
		}
	}
	w.WantCounts(map[string]int{"token:refresh": 1})
}
