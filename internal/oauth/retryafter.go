package oauth

import (
	"net/http"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
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

// RetryAfter returns how long the server that responded with an error wants to be left alone; 0 if
// it does not specify.
func RetryAfter(err error) time.Duration {
	if failed, ok := errtype.As[*TransientError](err); ok {
		return failed.RetryAfter
	}
	if rejected, ok := errtype.As[*Error](err); ok {
		return rejected.RetryAfter
	}
	return 0
}

// Unprocessed reports whether an error is the response of a server that did not process the
// request: 429 and 503.
func Unprocessed(err error) bool {
	failed, isFailed := errtype.As[*TransientError](err)
	rejected, isRejected := errtype.As[*Error](err)
	later := func(status int) bool {
		return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
	}
	return isFailed && later(failed.Status) || isRejected && later(rejected.Status)
}
