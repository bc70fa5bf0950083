package oauth

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Bounds of a Retry-After: less is no pause, more is a mistake or malice.
const (
	minRetryAfter = time.Second
	MaxRetryAfter = 15 * time.Minute
)

// retryAfter reads the Retry-After header (RFC 9110 section 10.2.3): seconds or
// a date, held between 1 s and 15 min; 0 if there is none that can be read. A
// date is taken relative to the answer's own Date, so that a clock that is wrong
// on either side does no harm; without one, relative to now.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds == seconds {
		if seconds >= MaxRetryAfter.Seconds() {
			return MaxRetryAfter
		}
		return max(time.Duration(max(seconds, 0)*float64(time.Second)), minRetryAfter)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), minRetryAfter), MaxRetryAfter)
}
