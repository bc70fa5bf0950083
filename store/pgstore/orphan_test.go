package pgstore

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp/store"
)

// The holder of a lease that is not extended is taken for dead when its lease was looked at for 6 s. Time
// in which the database was down, or nothing looked, is no such time.
func TestOrphanIsWatched(t *testing.T) {
	ctx := t.Context()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	lock, extended := lockName{"id", store.LockRefresh}, time.Now().Add(time.Hour)
	type look struct {
		after  time.Duration // the one before
		failed context.Context
		holder string
		later  time.Duration // the lease was extended by
	}
	each := func(n int, l look) (looks []look) {
		for range n {
			looks = append(looks, l)
		}
		return looks
	}
	often := look{after: time.Second / 4, holder: "a"}
	for name, test := range map[string]struct {
		looks []look
		free  int // the look that finds it free, from 1
	}{
		"no lease":                {[]look{{}}, 1},
		"a caller who waits":      {each(50, often), 25},
		"callers now and then":    {each(20, look{after: time.Minute / 2, holder: "a"}), 7},
		"an extension":            {append(each(24, often), each(50, look{after: time.Second / 4, holder: "a", later: time.Second})...), 49},
		"another holder":          {append(each(24, often), each(50, look{after: time.Second / 4, holder: "b"})...), 49},
		"a database that is down": {append(append(each(24, often), look{after: time.Hour, failed: ctx}), each(50, often)...), 50},
		"unseen":                  {append(append(each(21, often), look{after: time.Hour, holder: "a"}), each(50, often)...), 22},
		"a caller who gives up":   {append(append(each(24, often), look{failed: ended}), each(50, often)...), 26},
	} {
		synctest.Test(t, func(t *testing.T) {
			db := &Database{orphans: make(map[lockName]orphan)}
			for i, l := range test.looks {
				time.Sleep(l.after)
				if l.failed != nil {
					db.lookFailed(l.failed, lock)
					continue
				}
				found := orphan{holder: l.holder, expires: extended.Add(l.later)}
				free := db.isFree(lock, found)
				if free != (i+1 >= test.free) {
					t.Errorf("%s: after %d looks free is %v, want it after %d", name, i+1, free, test.free)
					return
				}
				if free {
					return
				}
			}
			t.Errorf("%s: it is never free", name)
		})
	}
}
