package handstamp_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp"
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
	t.Parallel()
	for _, test := range []struct {
		name   string
		writes int64
	}{
		{"after the intent", 1},
		{"after the raw response", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			if testing.Short() && test.name == "after the intent" {
				t.Skip("a call waits for the disk for half a minute")
			}
			t.Parallel()
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

// The notice about a stored value that is no credential says what becomes of it: the store has set
// aside what is damaged, and keeps what is only of another origin until it is replaced.
func TestNoticeOfAValueThatIsNoCredential(t *testing.T) {
	spoilFile := func(t *testing.T, dir string) {
		for _, name := range files(t, dir) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("damaged"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	put := func(value string) func(*testing.T, store.Store, store.Key) {
		return func(t *testing.T, s store.Store, key store.Key) {
			_, revision, _ := s.Get(t.Context(), key)
			if _, err := s.Put(t.Context(), key, []byte(value), revision); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, test := range map[string]struct {
		spoil func(*testing.T, store.Store, store.Key)
		says  string
	}{
		"damaged":         {nil, "was set aside"},
		"no JSON":         {put("hello"), "is replaced by the next login"},
		"JSON of another": {put(`{"token":"x"}`), "is replaced by the next login"},
		"of another key":  {put(`{"version":1,"key":{"server":"https://other.example","profile":"default"}}`), "is replaced by the next login"},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.NoneFirst())
			dir := inFolder(w)
			key, err := store.NewKey(w.Lab.MCPURL(), "")
			if err != nil {
				t.Fatal(err)
			}
			put("{}")(t, w.Store, key)
			if test.spoil == nil {
				spoilFile(t, dir)
			} else {
				test.spoil(t, w.Store, key)
			}
			var notices []string
			c := w.Session()
			c.Hooks.Notice = func(_, message string) { notices = append(notices, message) }
			for range 2 {
				if status, err := c.Status(t.Context(), w.Lab.MCPURL()); err != nil || status.State != handstamp.StateNone {
					t.Errorf("status %+v, %v", status, err)
				}
			}
			if len(notices) != 1 || !strings.Contains(notices[0], test.says) || strings.Count(notices[0], "set aside") > strings.Count(test.says, "set aside") {
				t.Errorf("the notices are %q, want one with %q", notices, test.says)
			}
			w.MustCall(c)
			if status, err := c.Status(t.Context(), w.Lab.MCPURL()); err != nil || status.State != handstamp.StateValid {
				t.Errorf("after the login: status %+v, %v", status, err)
			}
		})
	}
}
