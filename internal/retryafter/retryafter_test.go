package retryafter

import (
	"net/http"
	"testing"
	"time"
)

// TestParse reads seconds, dates and what is neither.
func TestParse(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, c := range []struct {
		text, date string
		want       time.Duration
		ok         bool
	}{
		{"0", "", 0, true},
		{" 7 ", "", 7 * time.Second, true},
		{"1.5", "", 1500 * time.Millisecond, true},
		{"-3", "", 0, true},
		{"1e300", "", maxWait, true},
		{at(time.Minute), "", time.Minute, true},
		{at(-time.Minute), "", 0, true},
		{at(time.Minute), at(30 * time.Second), 30 * time.Second, true},
		{at(time.Minute), "yesterday", time.Minute, true},
		{at(900 * 24 * time.Hour), "", maxWait, true},
		{"", "", 0, false},
		{"NaN", "", 0, false},
		{"soon", at(0), 0, false},
	} {
		h := http.Header{}
		if c.text != "" {
			h.Set("Retry-After", c.text)
		}
		if c.date != "" {
			h.Set("Date", c.date)
		}
		if got, ok := Parse(h, now); got != c.want || ok != c.ok {
			t.Errorf("%q (Date %q): %v, %v, want %v, %v", c.text, c.date, got, ok, c.want, c.ok)
		}
	}
}
