package handstamp_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// heldLocks is a store whose locks another process holds, which does not come to an end.
type heldLocks struct {
	store.Memory
	held atomic.Bool
}

func (s *heldLocks) Lock(ctx context.Context, key store.Key, name store.LockName) (func(), error) {
	if s.held.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.Memory.Lock(ctx, key, name)
}

// Whoever waits too long for another process to register the client of all users is not reported as
// one who has canceled.
func TestSharedRegistrationThatHangs(t *testing.T) {
	testenv.InBubble(t, lab.Habits{}, func(t *testing.T, w *testenv.Env) {
		shared := new(heldLocks)
		shared.held.Store(true)
		c := steps(w)
		var log bytes.Buffer
		c.ClientStore, c.Audit = shared, slog.NewTextHandler(&log, nil)
		_, err := c.BeginLogin(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
		testenv.WantKind(t, err, handstamp.ErrUnreachable)
		if err == nil || !strings.Contains(err.Error(), "registering the client") ||
			!strings.Contains(log.String(), "outcome=unreachable") {
			t.Errorf("%v; the log has %s", err, &log)
		}
		// One that the caller does not want to wait for is.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.BeginLogin(ctx, w.Lab.MCPURL(), handstamp.LoginOptions{}); err != context.DeadlineExceeded {
			t.Errorf("a wait that the caller has ended: %v", err)
		}
		shared.held.Store(false)
		if _, err := c.BeginLogin(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// A refresh that needs a new secret of the client of all users waits for it once, and not at each
// request.
func TestSharedSecretThatHangs(t *testing.T) {
	testenv.InBubble(t, managed(true), func(t *testing.T, w *testenv.Env) {
		shared := new(heldLocks)
		c := w.Session()
		c.ClientStore, c.LoginPolicy = shared, handstamp.LoginNever
		w.MustLogin(c)
		time.Sleep(2 * time.Hour) // in the bubble: the secret and the token have ended
		shared.held.Store(true)
		testenv.WantKind(t, w.Call(c), handstamp.ErrUnreachable)
		began := time.Now()
		err := w.Call(c)
		testenv.WantKind(t, err, handstamp.ErrUnreachable)
		if took := time.Since(began); took > time.Second || !strings.Contains(err.Error(), "registering the client") {
			t.Errorf("after %v: %v", took, err)
		}
		shared.held.Store(false)
		time.Sleep(time.Minute) // in the bubble
		w.MustCall(c)
	})
}
