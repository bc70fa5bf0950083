package handstamp_test

import (
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
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
