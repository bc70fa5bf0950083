package handstamp_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// brittle is a store whose disk breaks after some writes.
type brittle struct {
	store.Store
	left atomic.Int64 // writes that still work
}

func (b *brittle) Put(ctx context.Context, key store.Key, value []byte, revision store.Revision) (store.Revision, error) {
	if b.left.Add(-1) < 0 {
		return "", errors.Join(store.ErrUnusable, errors.New("input/output error"))
	}
	return b.Store.Put(ctx, key, value, revision)
}

// A disk that breaks between the request and its response: the login lives on in
// this process, its used token is never used again, and the store gets it as
// soon as it takes anything.
func TestDiskBreaksDuringRefresh(t *testing.T) {
	for _, test := range []struct {
		name   string
		writes int64
	}{
		{"after the intent", 1},
		{"after the raw response", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := testenv.New(t, lab.NoneFirst())
			w.MustCall(w.Session())
			w.Expire()
			disk := &brittle{Store: w.Store}
			disk.left.Store(test.writes)
			w.Store = disk
			c := w.Session()
			w.MustCall(c)
			w.Lab.RevokeAccessTokens()
			if test.name == "after the intent" {
				// Nothing can be stored, so nothing is used.
				if err := w.Call(c); err == nil {
					t.Fatal("a token was refreshed that could not be stored")
				}
			}
			disk.left.Store(1000)
			w.MustCall(c)
			w.Lab.RevokeAccessTokens()
			w.MustCall(w.Session()) // another process finds it
			if a := w.Lab.Audit(); a.Reuses != 0 || a.FamiliesRevoked != 0 {
				t.Errorf("%d tokens used twice, %d logins revoked\n%s", a.Reuses, a.FamiliesRevoked, w.Diary())
			}
			w.WantTabs(1)
		})
	}
}
