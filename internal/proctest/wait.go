package proctest

import (
	"testing"
	"time"
)

// Wait waits for a condition that another process or goroutine brings about, and fails the test
// if it does not hold within limit. It is for what no channel, gate or line reports.
func Wait(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	if !Holds(limit, ok) {
		t.Fatalf("%s: not within %v", what, limit)
	}
}

// Holds reports whether a condition comes to hold within limit. It looks at it at least once; the
// time between two looks grows from a millisecond to fifty.
func Holds(limit time.Duration, ok func() bool) bool {
	end := time.Now().Add(limit)
	for pause := time.Millisecond; !ok(); pause = min(2*pause, 50*time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
		time.Sleep(pause) // between looks
	}
	return true
}
