package handstamp_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// inFolder gives the user a file store and returns its folder.
func (w *world) inFolder() string {
	w.t.Helper()
	dir := w.t.TempDir() + "/credentials"
	s, err := filestore.Open(filestore.Options{Dir: dir, Warn: func(string) {}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = s
	return dir
}

// files returns the names of the files in a folder, which has one for locks, too.
func files(t *testing.T, dir string) []string {
	t.Helper()
	list, err := fs.Glob(os.DirFS(dir), "*.*")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// The end of the caller's context ends the wait for the server, and nothing else:
// no token stays here.
func TestLogoutWithoutAnswer(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	dir := w.inFolder()
	w.mustCall(w.session())
	w.expire()
	w.mustCall(w.session())
	w.lab.SetFault("revoke", lab.Fault{Kind: lab.FaultHang})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reached := w.lab.Hold("revoke:received")
	go func() {
		defer cancel()
		reached.Wait(ctx)
		reached.Release()
	}()
	result, err := w.session().Logout(ctx, w.lab.MCPURL(), handstamp.LogoutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !result.WasSignedIn || result.Revoked || !errors.Is(result.RevokeError, context.Canceled) {
		t.Errorf("result %+v", result)
	}
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("the folder still has %q", left)
	}
}

// busyStore is a store that others write to all the time.
type busyStore struct{ store.Store }

func (busyStore) Put(ctx context.Context, _ store.Key, _ []byte, _ store.Revision) (store.Revision, error) {
	<-ctx.Done()
	return "", fmt.Errorf("no turn: %w", ctx.Err())
}

// A caller who did not wait for the store gets that error, not one of the store's,
// and is still signed in.
func TestLogoutCalledOff(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	c := w.session()
	c.Store = busyStore{w.store}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Logout(ctx, w.lab.MCPURL(), handstamp.LogoutOptions{}); err != context.Canceled {
		t.Errorf("error %v", err)
	}
	if w.record().Grant == nil {
		t.Error("signed out all the same")
	}
}

// Keeping the client is no reason to keep a token, in whichever copy.
func TestLogoutKeepsTheClientOnly(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	dir := w.inFolder()
	w.mustCall(w.session())
	w.expire()
	w.mustCall(w.session())
	grant, id := w.record().Grant, w.record().Clients[0].ID
	if _, err := w.session().Logout(context.Background(), w.lab.MCPURL(), handstamp.LogoutOptions{KeepClient: true, NoRevoke: true}); err != nil {
		t.Fatal(err)
	}
	left := files(t, dir)
	for _, name := range left {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), grant.AccessToken.Reveal()) || strings.Contains(string(data), grant.RefreshToken.Reveal()) {
			t.Errorf("%s still has a token", name)
		}
	}
	if r := w.record(); len(left) == 0 || r.Grant != nil || len(r.Clients) != 1 || r.Clients[0].ID != id {
		t.Errorf("%q, %+v", left, r)
	}
	w.lab.Reset()
	w.mustCall(w.session())
	w.wantCounts(map[string]int{"register": 0})
}

// Signing out of a login that is damaged removes it, and all that is left of it.
func TestLogoutOfDamaged(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	dir := w.inFolder()
	w.mustCall(w.session())
	for _, name := range files(t, dir) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := w.session()
	result, err := c.Logout(context.Background(), w.lab.MCPURL(), handstamp.LogoutOptions{})
	if err != nil || !result.Damaged || result.WasSignedIn {
		t.Errorf("result %+v, %v", result, err)
	}
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("the folder still has %q", left)
	}
	if result, err = c.Logout(context.Background(), w.lab.MCPURL(), handstamp.LogoutOptions{}); err != nil || result.Damaged {
		t.Errorf("the second time: %+v, %v", result, err)
	}

	// The same where something else has set it aside.
	w.mustCall(w.session())
	for _, name := range files(t, dir) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if status, err := c.Status(context.Background(), w.lab.MCPURL()); err != nil || status.State != handstamp.StateNone {
		t.Errorf("status %+v, %v", status, err)
	}
	if left := files(t, dir); len(left) == 0 {
		t.Fatal("nothing was set aside")
	}
	if _, err := c.Logout(context.Background(), w.lab.MCPURL(), handstamp.LogoutOptions{}); err != nil {
		t.Fatal(err)
	}
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("the folder still has %q", left)
	}
}
