// Package retryafter parses the Retry-After header of HTTP responses. It sets no policy: how long a
// client waits at most is decided where the header is used.
package retryafter

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

const maxWait = 365 * 24 * time.Hour

// Parse returns how long h requests the client to wait (RFC 9110 section 10.2.3), between 0 and a
// year, and whether h has a Retry-After header that can be parsed. A date is relative to the Date
// header of the same response, so that a wrong clock on either side has no effect; without one it
// is relative to now.
func Parse(h http.Header, now time.Time) (wait time.Duration, ok bool) {
	text := strings.TrimSpace(h.Get("Retry-After"))
	seconds, err := strconv.ParseFloat(text, 64)
	if err == nil && seconds == seconds { // not NaN
		return time.Duration(min(max(seconds, 0), maxWait.Seconds()) * float64(time.Second)), true
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0, false
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), maxWait), true
}
