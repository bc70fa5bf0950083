package storetest_test

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/storetest"
)

// wrongStores each break one sentence of the contract, by the test that has to notice it.
var wrongStores = map[string]func() store.Store{
	"PutConflict":            func() store.Store { return &putsAlways{} },
	"Delete":                 func() store.Store { return &deletesAlways{} },
	"List":                   func() store.Store { return &listsBackwards{} },
	"LockExcludes":           func() store.Store { return &locksRefreshesOnly{} },
	"UnlockTwice":            func() store.Store { return &locksNothing{} },
	"LockOutlivesItsContext": func() store.Store { return &locksWithContext{} },
	"PutLarge":               func() store.Store { return &cutsLargeValues{} },
	"PutScheduled":           func() store.Store { return &schedulesAlways{} },
	"PutThenGet":             func() store.Store { return &peeksAtNothing{} },
	"DeleteStorm":            func() store.Store { return &comparesThenDeletes{} },
}

type putsAlways struct{ store.Memory }

func (s *putsAlways) Put(
	ctx context.Context, key store.Key, value []byte, _ store.Revision,
) (store.Revision, error) {
	_, revision, _ := s.Get(ctx, key)
	return s.Memory.Put(ctx, key, value, revision)
}

type deletesAlways struct{ store.Memory }

func (s *deletesAlways) Delete(ctx context.Context, key store.Key, _ store.Revision) error {
	_, revision, _ := s.Get(ctx, key)
	return s.Memory.Delete(ctx, key, revision)
}

type listsBackwards struct{ store.Memory }

func (s *listsBackwards) List(ctx context.Context) ([]store.Key, error) {
	keys, err := s.Memory.List(ctx)
	slices.Reverse(keys)
	return keys, err
}

type locksNothing struct{ store.Memory }

func (s *locksNothing) Lock(ctx context.Context, _ store.Key, _ store.LockName) (func(), error) {
	return func() {}, ctx.Err()
}

// locksWithContext is a transaction that is begun with the context of Lock.
type locksWithContext struct{ store.Memory }

func (s *locksWithContext) Lock(
	ctx context.Context, key store.Key, name store.LockName,
) (func(), error) {
	unlock, err := s.Memory.Lock(ctx, key, name)
	if err == nil {
		context.AfterFunc(ctx, unlock)
	}
	return unlock, err
}

// locksRefreshesOnly lets two browsers be opened.
type locksRefreshesOnly struct{ store.Memory }

func (s *locksRefreshesOnly) Lock(
	ctx context.Context, key store.Key, name store.LockName,
) (func(), error) {
	if name != store.LockRefresh {
		return func() {}, ctx.Err()
	}
	return s.Memory.Lock(ctx, key, name)
}

type cutsLargeValues struct{ store.Memory }

func (s *cutsLargeValues) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	return s.Memory.Put(ctx, key, value[:min(len(value), 1<<20)], revision)
}

// schedulesAlways compares in Put alone.
type schedulesAlways struct{ putsAlways }

func (s *schedulesAlways) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	return s.Memory.Put(ctx, key, value, revision)
}

func (s *schedulesAlways) PutScheduled(
	ctx context.Context, key store.Key, value []byte, revision store.Revision, _ store.Schedule,
) (store.Revision, error) {
	return s.putsAlways.Put(ctx, key, value, revision)
}

type peeksAtNothing struct{ store.Memory }

func (s *peeksAtNothing) Peek(context.Context, store.Key) ([]byte, store.Revision, error) {
	return nil, "", store.ErrNotFound
}

// comparesThenDeletes deletes what was put in between.
type comparesThenDeletes struct{ deletesAlways }

func (s *comparesThenDeletes) Delete(
	ctx context.Context, key store.Key, revision store.Revision,
) error {
	if _, now, err := s.Get(ctx, key); err == nil && now != revision {
		return store.ErrConflict
	}
	runtime.Gosched()
	return s.deletesAlways.Delete(ctx, key, revision)
}

const wrongStoreVariable = "STORETEST_WRONG_STORE"

// A store that breaks the contract does not pass.
func TestWrongStoreFails(t *testing.T) {
	if open := wrongStores[os.Getenv(wrongStoreVariable)]; open != nil {
		storetest.Run(t, func(*testing.T) store.Store { return open() })
		return
	}
	for name := range wrongStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := exec.CommandContext(t.Context(), os.Args[0],
				"-test.run", "^TestWrongStoreFails$/^"+name+"$", "-test.timeout", "3m")
			run.Env = append(os.Environ(), wrongStoreVariable+"="+name, "GORACE=atexit_sleep_ms=0")
			out, err := run.CombinedOutput()
			if run.ProcessState == nil || run.ProcessState.ExitCode() != 1 {
				t.Errorf("the suite of a wrong store ended with %v:\n%s", err, out)
			}
		})
	}
}
