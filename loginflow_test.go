package handstamp_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// atBrittleStore returns a session of a registered client whose store takes no writes.
func atBrittleStore(t *testing.T) (*testenv.Env, *brittle, *handstamp.Client) {
	t.Helper()
	w := testenv.New(t, lab.Habits{})
	w.Lab.RegisterClient(lab.ConfiguredClient{ID: "app"})
	disk := &brittle{Store: w.Store}
	w.Store = disk
	c := w.Session()
	c.Registration = &handstamp.Registration{ClientID: "app"}
	return w, disk, c
}

// A store whose writes fail without notice: the user signs in once, and this process
// keeps the login in memory until the store takes it.
func TestLoginThatCannotBeStored(t *testing.T) {
	w, disk, c := atBrittleStore(t)
	for range 5 {
		w.MustCall(c)
	}
	w.WantTabs(1)
	disk.left.Store(1000)
	w.Lab.RevokeAccessTokens()
	w.MustCall(c)
	w.MustCall(w.Session()) // another process finds it
	w.WantTabs(1)
}

// A process that ends stores such a login if it can by then.
func TestCloseStoresALogin(t *testing.T) {
	w, disk, c := atBrittleStore(t)
	w.MustCall(c)
	disk.left.Store(1000)
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	w.MustCall(w.Session())
	w.WantTabs(1)
}

// Close stores such a login even if its context has ended, and has an error where it is lost.
func TestCloseWithALoginThatIsNotStored(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ctx := range []context.Context{t.Context(), ended} {
		w, disk, c := atBrittleStore(t)
		w.MustCall(c)
		err := c.Close(ctx)
		testenv.WantKind(t, err, handstamp.ErrStore)
		if e, ok := errtype.As[*handstamp.Error](err); !ok || e.Server != w.Lab.MCPURL() || !strings.Contains(err.Error(), "lost") {
			t.Errorf("error %v", err)
		}
		disk.left.Store(1000)
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
		w.MustCall(w.Session())
		w.WantTabs(1)
	}
}

// Login returns an error where the login could not be stored, and the
// server that its tokens are not needed. Requests do not ask again at once.
func TestAskedLoginThatCannotBeStored(t *testing.T) {
	w, disk, c := atBrittleStore(t)
	_, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
	testenv.WantKind(t, err, handstamp.ErrStore)
	if a := w.Lab.Audit(); len(a.Families) != 1 || !a.Families[0].Revoked {
		t.Errorf("the tokens are still good: %+v", a)
	}
	for range 3 {
		testenv.WantKind(t, w.Call(c), handstamp.ErrStore)
	}
	w.WantTabs(1)
	disk.left.Store(1000)
	if _, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{}); err != nil {
		t.Error(err)
	}
	w.MustCall(c)
	w.WantTabs(2)
}

// unacknowledged is a store that carries writes out and reports that they have failed, as a database
// does whose response is lost.
type unacknowledged struct {
	store.Store
	left   atomic.Int32 // writes that are carried out so
	silent atomic.Bool  // reads fail, once one of them was

	acknowledged atomic.Bool // what was carried out last
}

func (s *unacknowledged) lost(err error) error {
	if err != nil {
		return err
	}
	s.acknowledged.Store(s.left.Add(-1) < 0)
	if !s.acknowledged.Load() {
		return store.ErrUnusable
	}
	return nil
}

func (s *unacknowledged) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	next, err := s.Store.Put(ctx, key, value, revision)
	return next, s.lost(err)
}

func (s *unacknowledged) Delete(ctx context.Context, key store.Key, revision store.Revision) error {
	return s.lost(s.Store.Delete(ctx, key, revision))
}

func (s *unacknowledged) Get(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	if s.silent.Load() && s.left.Load() <= 0 {
		return nil, "", store.ErrUnusable
	}
	return s.Store.Get(ctx, key)
}

// A login whose write was carried out, but not acknowledged, has replaced the one before: it is not
// revoked, and works, whether or not that is seen at once.
func TestLoginThatIsStoredAndNotAcknowledged(t *testing.T) {
	for _, silent := range []bool{false, true} {
		t.Run(fmt.Sprintf("silent %t", silent), func(t *testing.T) {
			w := testenv.New(t, testenv.Personality(t, "rotates-strictly"))
			w.MustLogin(w.Session())
			broken := &unacknowledged{Store: w.Store}
			c := w.Session()
			c.Store = broken
			w.Lab.Reset()
			gate := w.Lab.Hold("token:code:committed")
			defer gate.Release()
			done := make(chan error, 1)
			go func() { done <- w.Login(c) }()
			ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
			defer cancel()
			if _, err := gate.Wait(ctx); err != nil {
				t.Fatal(err)
			}
			broken.left.Store(1)
			broken.silent.Store(silent)
			gate.Release()
			err := <-done
			if silent {
				testenv.WantKind(t, err, handstamp.ErrStore)
			} else if err != nil {
				t.Error(err)
			}
			w.WantCounts(map[string]int{"revoke": 0})
			broken.silent.Store(false)
			w.Lab.Reset()
			for _, session := range []*handstamp.Client{c, w.Session()} {
				w.Expire()
				w.MustCall(session)
			}
			w.WantCounts(map[string]int{"authorize": 0})
			if a := w.Lab.Audit(); a.Reuses != 0 || a.FamiliesRevoked != 0 {
				t.Errorf("%d reuses, %d families revoked", a.Reuses, a.FamiliesRevoked)
			}
		})
	}
}

// A login that cannot be stored, and brings the stored access token again, is not taken for the stored
// one: its refresh token is revoked.
func TestLoginThatRepeatsTheStoredAccessToken(t *testing.T) {
	w := testenv.New(t, testenv.Personality(t, "rotates-strictly"))
	w.MustLogin(w.Session())
	stored := w.Record().Grant.RefreshToken
	failing := &failingWrites{Store: w.Store}
	c := w.Session()
	c.Store, c.AuthTransport = failing, issuesAgain(w, "authorization_code")
	w.Lab.Reset()
	gate := w.Lab.Hold("token:code:committed")
	defer gate.Release()
	done := make(chan error, 1)
	go func() { done <- w.Login(c) }()
	w.Held(gate)
	failing.fails.Store(true)
	gate.Release()
	testenv.WantKind(t, <-done, handstamp.ErrStore)
	w.WantCounts(map[string]int{"revoke": 1})
	if w.Record().Grant.RefreshToken != stored {
		t.Error("the stored login was replaced")
	}
}
