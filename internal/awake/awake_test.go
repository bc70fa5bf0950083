package awake

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func TestWithTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := WithTimeout(t.Context(), 10*time.Second, nil)
		defer cancel()
		<-ctx.Done()
		if took := time.Since(began); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("ended after %v", took)
		}
		if cause := context.Cause(ctx); cause != context.DeadlineExceeded {
			t.Errorf("cause %v", cause)
		}
	})
}

func TestWithTimeoutCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("why")
		ctx, cancel := WithTimeout(t.Context(), time.Millisecond, why)
		defer cancel()
		<-ctx.Done()
		child, stop := context.WithCancel(ctx)
		defer stop()
		<-child.Done()
		for name, c := range map[string]context.Context{"the context": ctx, "its child": child} {
			if cause := context.Cause(c); cause != why || c.Err() != context.DeadlineExceeded {
				t.Errorf("%s: error %v, cause %v", name, c.Err(), cause)
			}
		}
	})
}

func TestWithTimeoutCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := WithTimeout(t.Context(), time.Hour, nil)
		cancel()
		<-ctx.Done()
		if context.Cause(ctx) != context.Canceled || ctx.Err() != context.Canceled {
			t.Errorf("error %v, cause %v", ctx.Err(), context.Cause(ctx))
		}
		synctest.Wait() // its goroutine ends, or the bubble never does
	})
}

func TestWithTimeoutParentEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("why")
		parent, end := context.WithCancelCause(t.Context())
		ctx, cancel := WithTimeout(parent, time.Hour, nil)
		defer cancel()
		end(why)
		<-ctx.Done()
		if context.Cause(ctx) != why || ctx.Err() != context.Canceled {
			t.Errorf("error %v, cause %v", ctx.Err(), context.Cause(ctx))
		}
	})
}

func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := WithTimeout(t.Context(), 2*time.Second, nil)
		defer cancel()
		for range 10 {
			time.Sleep(time.Second)
			Restart(ctx, 2*time.Second)
		}
		if ctx.Err() != nil {
			t.Fatal("ended although it was restarted")
		}
		began := time.Now()
		<-ctx.Done()
		if took := time.Since(began); took < 2*time.Second || took > 3*time.Second {
			t.Errorf("ended after %v", took)
		}
	})
}

// A timeout that is not reached, as most are, costs no goroutine, and neither does a context within.
func TestWithTimeoutTakesNoGoroutine(t *testing.T) {
	parent, end := context.WithCancel(t.Context())
	defer end()
	before := runtime.NumGoroutine()
	for range 100 {
		outer, cancel := WithTimeout(parent, time.Hour, nil)
		defer cancel()
		inner, cancelInner := WithTimeout(outer, time.Minute, nil)
		defer cancelInner()
		_, stop := context.WithCancel(inner)
		defer stop()
		_, stop = context.WithTimeout(outer, time.Minute)
		defer stop()
	}
	if more := runtime.NumGoroutine() - before; more > 10 {
		t.Errorf("100 timeouts have %d goroutines", more)
	}
}

// Contexts within a timeout end with its error and its cause, whichever way it ends.
func TestWithTimeoutWithin(t *testing.T) {
	why := errors.New("why")
	for name, c := range map[string]struct {
		end   func(cancel context.CancelFunc, endParent context.CancelCauseFunc)
		err   error
		cause error
	}{
		"over":           {func(context.CancelFunc, context.CancelCauseFunc) {}, context.DeadlineExceeded, why},
		"cancelled":      {func(c context.CancelFunc, _ context.CancelCauseFunc) { c() }, context.Canceled, context.Canceled},
		"parent's end":   {func(_ context.CancelFunc, e context.CancelCauseFunc) { e(why) }, context.Canceled, why},
		"both at a time": {func(c context.CancelFunc, e context.CancelCauseFunc) { go e(context.Canceled); c() }, context.Canceled, context.Canceled},
		"ended to begin": {nil, context.Canceled, why},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, endParent := context.WithCancelCause(t.Context())
				defer endParent(nil)
				if c.end == nil {
					endParent(why)
				}
				outer, cancel := WithTimeout(parent, time.Second, why)
				defer cancel()
				inner, cancelInner := WithTimeout(outer, time.Hour, errors.New("not this one"))
				defer cancelInner()
				var within []context.Context
				for range 20 {
					child, stop := context.WithCancel(outer)
					defer stop()
					grandchild, stop := context.WithTimeout(inner, time.Hour)
					defer stop()
					within = append(within, child, grandchild)
				}
				if c.end != nil {
					stop := context.AfterFunc(outer, func() { t.Error("a function that was stopped is called") })
					if !stop() {
						t.Error("a function could not be stopped")
					}
					c.end(cancel, endParent)
				}
				for _, child := range within {
					<-child.Done()
					if child.Err() != c.err || context.Cause(child) != c.cause {
						t.Errorf("error %v, cause %v", child.Err(), context.Cause(child))
					}
				}
			})
		})
	}
}
