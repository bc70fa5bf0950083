package service

import (
	"math"
	"net/http"
	"sync"
	"time"
)

// limits bound how many requests each caller makes.
type limits struct {
	rate float64

	mu      sync.Mutex
	buckets map[string]*bucket // by the caller's name; guarded by mu
}

// bucket has a token for each request that may come at once.
type bucket struct {
	tokens float64
	filled time.Time
}

// take takes a token of a caller, or returns the problem of one that has none.
func (l *limits) take(name string, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	burst := max(1, 2*l.rate)
	b := l.buckets[name]
	if b == nil {
		if l.buckets == nil {
			l.buckets = make(map[string]*bucket)
		}
		b = &bucket{burst, now}
		l.buckets[name] = b
	}
	b.tokens = min(burst, b.tokens+l.rate*max(0, now.Sub(b.filled).Seconds()))
	b.filled = now
	if b.tokens < 1 {
		p := rejection(http.StatusTooManyRequests, codeRate, "the caller makes too many requests")
		p.retryAfter = max(1, int(math.Ceil((1-b.tokens)/l.rate)))
		return p
	}
	b.tokens--
	return nil
}
