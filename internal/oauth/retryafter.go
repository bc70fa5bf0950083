package oauth

import (
	"net/http"
	"time"

	"github.com/handstamp/handstamp/internal/retryafter"
)

// Bounds of a Retry-After: less than a second is no pause, more than 15 minutes is a mistake or an
// attack.
const (
	minRetryAfter = time.Second
	MaxRetryAfter = 15 * time.Minute
)

// retryAfter returns the Retry-After of a response, between 1 s and 15 min; 0 if it has none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	wait, ok := retryafter.Parse(h, now)
	if !ok {
		return 0
	}
	return min(max(wait, minRetryAfter), MaxRetryAfter)
}
