package handstamp

import (
	"context"
	"math"
	mrand "math/rand/v2"
	"time"
)

// backoff returns the wait after the given number of failures, doubled each
// time, with jitter of a quarter either way.
func backoff(failures int) time.Duration {
	d := float64(firstBackoff) * math.Pow(2, float64(min(failures, 20)-1))
	return time.Duration(d * (0.75 + mrand.Float64()/2))
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
