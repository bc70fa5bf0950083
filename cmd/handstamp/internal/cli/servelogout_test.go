package cli

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/internal/webpage"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// watchedWrites is a store; during, if set, runs before the next write.
type watchedWrites struct {
	store.Store
	during atomic.Pointer[func()]
}

func (s *watchedWrites) Put(ctx context.Context, key store.Key, value []byte, revision store.Revision) (store.Revision, error) {
	if during := s.during.Swap(nil); during != nil {
		(*during)()
	}
	return s.Store.Put(ctx, key, value, revision)
}

// TestSignOutEndsWhatIsOpenedMeanwhile: an MCP host whose stream ends opens it again, and finds the
// login in the store still.
func TestSignOutEndsWhatIsOpenedMeanwhile(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustLogin(w.Session())
	writes := &watchedWrites{Store: w.Store}
	a := newApp(Process{Environ: []string{"HANDSTAMP_HOME=" + t.TempDir()}})
	a.store = writes
	b, err := a.newServeBackend([]string{w.Lab.MCPURL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.end)
	servers, err := b.Servers(t.Context())
	if err != nil || len(servers) != 1 || !servers[0].SignedIn {
		t.Fatalf("%+v, %v", servers, err)
	}
	name := servers[0].Name
	open := func() *webpage.Upstream {
		u, err := b.Upstream(name)
		if err != nil {
			t.Error(err)
			return nil
		}
		return u
	}
	before := open()
	if before == nil {
		t.FailNow()
	}
	var meanwhile *webpage.Upstream
	during := func() {
		if before.Life.Err() == nil {
			t.Error("the sign-out has not ended what was under way")
		}
		meanwhile = open()
	}
	writes.during.Store(&during)
	if err := b.Logout(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if meanwhile == nil {
		t.Fatal("the sign-out writes nothing")
	}
	if meanwhile.Life.Err() == nil {
		t.Error("what was opened during the sign-out outlives it")
	}
	if _, err := b.Upstream(name); err == nil {
		t.Error("after the sign-out, requests are forwarded")
	}
}
