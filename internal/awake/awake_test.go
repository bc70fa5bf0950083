package awake

import (
	"context"
	"errors"
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
		if cause := context.Cause(ctx); cause != why {
			t.Errorf("cause %v", cause)
		}
	})
}

func TestWithTimeoutCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := WithTimeout(t.Context(), time.Hour, nil)
		cancel()
		if context.Cause(ctx) != context.Canceled {
			t.Errorf("cause %v", context.Cause(ctx))
		}
		synctest.Wait() // its goroutine ends, or the bubble never does
	})
}
