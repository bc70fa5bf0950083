package handstamp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// inFolder gives the user a file store and returns its folder.
func inFolder(w *testenv.Env) string {
	w.T.Helper()
	dir := w.T.TempDir() + "/credentials"
	s, err := filestore.Open(filestore.Options{Dir: dir, Warn: func(string) {}})
	if err != nil {
		w.T.Fatal(err)
	}
	w.Store = s
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
func TestLogoutWithoutResponse(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	dir := inFolder(w)
	w.MustCall(w.Session())
	w.Expire()
	w.MustCall(w.Session())
	w.Lab.SetFault("revoke", lab.Fault{Kind: lab.FaultHang})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reached := w.Lab.Hold("revoke:received")
	go func() {
		defer cancel()
		reached.Wait(ctx)
		reached.Release()
	}()
	result, err := w.Session().Logout(ctx, w.Lab.MCPURL(), handstamp.LogoutOptions{})
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
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	c := w.Session()
	c.Store = busyStore{w.Store}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Logout(ctx, w.Lab.MCPURL(), handstamp.LogoutOptions{}); err != context.Canceled {
		t.Errorf("error %v", err)
	}
	if w.Record().Grant == nil {
		t.Error("signed out all the same")
	}
}

// Keeping the client is no reason to keep a token, in whichever copy.
func TestLogoutKeepsTheClientOnly(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	dir := inFolder(w)
	w.MustCall(w.Session())
	w.Expire()
	w.MustCall(w.Session())
	grant, id := w.Record().Grant, w.Record().Clients[0].ID
	if _, err := w.Session().Logout(context.Background(), w.Lab.MCPURL(), handstamp.LogoutOptions{KeepClient: true, NoRevoke: true}); err != nil {
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
	if r := w.Record(); len(left) == 0 || r.Grant != nil || len(r.Clients) != 1 || r.Clients[0].ID != id {
		t.Errorf("%q, %+v", left, r)
	}
	w.Lab.Reset()
	w.MustCall(w.Session())
	w.WantCounts(map[string]int{"register": 0})
}

// A deletion at the server contradicts options that leave the server alone or keep the client: nothing
// is sent, and the user stays signed in.
func TestLogoutOptionsThatContradict(t *testing.T) {
	for name, o := range map[string]handstamp.LogoutOptions{
		"NoRevoke":   {DeleteClient: true, NoRevoke: true},
		"KeepClient": {DeleteClient: true, KeepClient: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.NoneFirst())
			w.MustCall(w.Session())
			w.Lab.Reset()
			_, err := w.Session().Logout(t.Context(), w.Lab.MCPURL(), o)
			testenv.WantKind(t, err, handstamp.ErrInvalidConfig)
			if sent := w.Lab.Requests(); len(sent) > 0 {
				t.Errorf("%d requests: %v", len(sent), sent)
			}
			c := w.Session()
			if status, err := c.Status(t.Context(), w.Lab.MCPURL()); err != nil || status.State != handstamp.StateValid {
				t.Errorf("status %+v, %v", status, err)
			}
		})
	}
}

// Signing out of a login that is damaged removes it, and all that is left of it.
func TestLogoutOfDamaged(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	dir := inFolder(w)
	w.MustCall(w.Session())
	for _, name := range files(t, dir) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := w.Session()
	result, err := c.Logout(context.Background(), w.Lab.MCPURL(), handstamp.LogoutOptions{})
	if err != nil || !result.Damaged || result.WasSignedIn {
		t.Errorf("result %+v, %v", result, err)
	}
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("the folder still has %q", left)
	}
	if result, err = c.Logout(context.Background(), w.Lab.MCPURL(), handstamp.LogoutOptions{}); err != nil || result.Damaged {
		t.Errorf("the second time: %+v, %v", result, err)
	}

	// The same where something else has set it aside.
	w.MustCall(w.Session())
	for _, name := range files(t, dir) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if status, err := c.Status(context.Background(), w.Lab.MCPURL()); err != nil || status.State != handstamp.StateNone {
		t.Errorf("status %+v, %v", status, err)
	}
	if left := files(t, dir); len(left) == 0 {
		t.Fatal("nothing was set aside")
	}
	if _, err := c.Logout(context.Background(), w.Lab.MCPURL(), handstamp.LogoutOptions{}); err != nil {
		t.Fatal(err)
	}
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("the folder still has %q", left)
	}
}

// While the server revokes a login, no process refreshes it any more.
func TestLogoutPutsOutOfUseFirst(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	w.Expire()
	gate := w.Lab.Hold("revoke:received")
	ended := make(chan error, 1)
	leaving := w.Session()
	go func() {
		_, err := leaving.Logout(context.Background(), w.Lab.MCPURL(), handstamp.LogoutOptions{})
		ended <- err
	}()
	if _, err := gate.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	if w.Record().Grant != nil {
		t.Error("the login is still in use")
	}
	w.Lab.Reset()
	c := w.Session()
	c.LoginPolicy = handstamp.LoginNever
	testenv.WantKind(t, w.Call(c), handstamp.ErrLoginRequired)
	w.WantCounts(map[string]int{"token:refresh": 0})
	gate.Release()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Logging out while a refresh is under way leaves nothing behind, here or there.
func TestLogoutDuringRefresh(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	w.Expire()
	gate := w.Lab.Hold("token:refresh:committed")
	busy, other := w.Session(), w.Session()
	busy.LoginPolicy = handstamp.LoginNever
	result := make(chan error)
	go func() { result <- w.Call(busy) }()
	if _, err := gate.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Logout(context.Background(), w.Lab.MCPURL(), handstamp.LogoutOptions{NoRevoke: true}); err != nil {
		t.Fatal(err)
	}
	gate.Release()
	if err := <-result; !errors.Is(err, handstamp.ErrLoginRequired) {
		t.Errorf("error %v, want ErrLoginRequired", err)
	}
	if status, err := other.Status(context.Background(), w.Lab.MCPURL()); err != nil || status.State != handstamp.StateNone {
		t.Errorf("status %+v, %v after logout", status, err)
	}
	w.WantCounts(map[string]int{"revoke": 1}) // what the refresh brought
	if a := w.Lab.Audit(); !a.Families[0].Revoked {
		t.Error("a token that no process holds any more is still good")
	}
}

// A logout whose writes were carried out, but not acknowledged, is an error, and leaves no token behind
// that works: neither at the server nor in this process.
func TestLogoutThatIsNotAcknowledged(t *testing.T) {
	for _, writes := range []int32{1, 2, 1000} {
		t.Run(fmt.Sprint(writes, " writes"), func(t *testing.T) {
			w := testenv.New(t, lab.NoneFirst())
			w.MustCall(w.Session())
			broken := &unacknowledged{Store: w.Store}
			c := w.Session()
			c.Store, c.LoginPolicy = broken, handstamp.LoginNever
			var log bytes.Buffer
			c.Audit = slog.NewTextHandler(&log, nil)
			w.MustCall(c)
			w.Lab.Reset()
			broken.left.Store(writes)
			_, err := c.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{})
			if failed := writes > 1; failed {
				testenv.WantKind(t, err, handstamp.ErrStore)
			} else if err != nil {
				t.Error(err)
			}
			if a := w.Lab.Audit(); !a.Families[0].Revoked {
				t.Error("a token that no process holds any more is still good")
			}
			if !strings.Contains(log.String(), "revoked=true") {
				t.Errorf("the audit log has %s", &log)
			}
			_, err = c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{})
			testenv.WantKind(t, err, handstamp.ErrLoginRequired)
		})
	}
}

// A store that takes no write has the login as it was: nothing is revoked that stays in use.
func TestLogoutThatCannotBeStored(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	c := w.Session()
	c.Store = readOnly{w.Store}
	_, err := c.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{})
	testenv.WantKind(t, err, handstamp.ErrStore)
	if a := w.Lab.Audit(); a.Families[0].Revoked {
		t.Error("the token was revoked")
	}
	w.MustCall(c)
	w.WantTabs(1)
}

// A login that is not stored yet, as the disk is full, ends as another one does, and is not stored when
// there is space.
func TestLogoutOfALoginThatIsNotStored(t *testing.T) {
	w, disk, c := atBrittleStore(t)
	var log bytes.Buffer
	c.Audit = slog.NewTextHandler(&log, nil)
	w.MustCall(c)
	w.Lab.Reset()
	result, err := c.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{})
	if err != nil || !result.WasSignedIn || !result.Revoked {
		t.Errorf("%+v, %v", result, err)
	}
	if a := w.Lab.Audit(); !a.Families[0].Revoked {
		t.Error("a token that no process holds any more is still good")
	}
	if !strings.Contains(log.String(), "msg="+handstamp.AuditLogout) {
		t.Errorf("the audit log has %s", &log)
	}
	disk.left.Store(1000)
	for _, session := range []*handstamp.Client{c, w.Session()} {
		status, err := session.Status(t.Context(), w.Lab.MCPURL())
		if err != nil || status.State != handstamp.StateNone {
			t.Errorf("status %+v, %v", status, err)
		}
	}
	w.MustCall(c) // which signs in again
	w.WantTabs(2)
}

// readOnly is a store of a disk that cannot be written to.
type readOnly struct{ store.Store }

func (readOnly) Put(context.Context, store.Key, []byte, store.Revision) (store.Revision, error) {
	return "", store.ErrUnusable
}

func (readOnly) Delete(context.Context, store.Key, store.Revision) error { return store.ErrUnusable }

// The same where the database does not respond to the write that it carries out.
func TestLogoutAtASilentStore(t *testing.T) {
	testenv.InBubble(t, lab.NoneFirst(), func(t *testing.T, w *testenv.Env) {
		w.MustCall(w.Session())
		c := w.Session()
		c.Store = silentWrites{w.Store}
		_, err := c.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{})
		testenv.WantKind(t, err, handstamp.ErrStore)
		if a := w.Lab.Audit(); !a.Families[0].Revoked {
			t.Error("a token that no process holds any more is still good")
		}
	})
}

// silentWrites is a store that carries a write out and does not respond.
type silentWrites struct{ store.Store }

func (s silentWrites) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	if _, err := s.Store.Put(ctx, key, value, revision); err != nil {
		return "", err
	}
	<-ctx.Done()
	return "", ctx.Err()
}

// The same where the caller does not wait until the write has ended, whatever the store then returns.
func TestLogoutCalledOffWhileItIsStored(t *testing.T) {
	for _, response := range []error{store.ErrUnusable, context.Canceled} {
		t.Run(response.Error(), func(t *testing.T) {
			w := testenv.New(t, lab.NoneFirst())
			w.MustCall(w.Session())
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := w.Session()
			c.Store, c.LoginPolicy = calledOffWrites{w.Store, cancel, response}, handstamp.LoginNever
			w.MustCall(c)
			_, err := c.Logout(ctx, w.Lab.MCPURL(), handstamp.LogoutOptions{})
			if err == nil || ctx.Err() == nil {
				t.Errorf("error %v", err)
			}
			if a := w.Lab.Audit(); !a.Families[0].Revoked {
				t.Error("a token that no process holds any more is still good")
			}
			_, err = c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{})
			testenv.WantKind(t, err, handstamp.ErrLoginRequired)
		})
	}
}

// calledOffWrites is a store that carries a write out, whose caller cancels it meanwhile.
type calledOffWrites struct {
	store.Store
	cancel   context.CancelFunc
	response error // to such a write
}

func (s calledOffWrites) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	if _, err := s.Store.Put(ctx, key, value, revision); err != nil {
		return "", err
	}
	s.cancel()
	return "", s.response
}

func (s calledOffWrites) Get(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	return s.Store.Get(ctx, key)
}

func (s calledOffWrites) Delete(ctx context.Context, key store.Key, revision store.Revision) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.Store.Delete(ctx, key, revision)
}
