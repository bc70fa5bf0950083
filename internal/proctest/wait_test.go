package proctest

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestHolds looks at a condition until it holds, and no longer than the limit.
func TestHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		looks := 0
		if !Holds(time.Minute, func() bool { looks++; return time.Since(began) >= time.Second }) {
			t.Error("a condition that holds after a second is not seen")
		}
		if took := time.Since(began); took > 1100*time.Millisecond || looks > 40 {
			t.Errorf("it took %v and %d looks", took, looks)
		}
		began = time.Now()
		if Holds(time.Second, func() bool { return false }) {
			t.Error("a condition that never holds is seen")
		}
		if took := time.Since(began); took < time.Second || took > 1100*time.Millisecond {
			t.Errorf("it gave up after %v", took)
		}
		if !Holds(0, func() bool { return true }) {
			t.Error("a condition that holds is not looked at once")
		}
	})
}
