package handstamp_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

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

// A disk that breaks between the request and its answer: the login lives on in
// this process, its spent token is never used again, and the store gets it as
// soon as it takes anything.
func TestDiskBreaksDuringRenewal(t *testing.T) {
	for _, test := range []struct {
		name   string
		writes int64
	}{
		{"after the intent", 1},
		{"after the raw answer", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, lab.NoneFirst())
			w.mustCall(w.session())
			w.expire()
			disk := &brittle{Store: w.store}
			disk.left.Store(test.writes)
			w.store = disk
			c := w.session()
			w.mustCall(c)
			w.lab.RevokeAccessTokens()
			if test.name == "after the intent" {
				// Nothing can be stored, so nothing is spent.
				if err := w.call(c); err == nil {
					t.Fatal("a token was renewed that could not be stored")
				}
			}
			disk.left.Store(1000)
			w.mustCall(c)
			w.lab.RevokeAccessTokens()
			w.mustCall(w.session()) // another process finds it
			if a := w.lab.Audit(); a.Reuses != 0 || a.FamiliesRevoked != 0 {
				t.Errorf("%d tokens used twice, %d logins revoked\n%s", a.Reuses, a.FamiliesRevoked, w.diary())
			}
			w.wantTabs(1)
		})
	}
}
