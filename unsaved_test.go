package handstamp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store"
)

// failingWrites is a store that takes nothing for a while.
type failingWrites struct {
	store.Store
	fails atomic.Bool
}

func (s *failingWrites) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	if s.fails.Load() {
		return "", store.ErrUnusable
	}
	return s.Store.Put(ctx, key, value, revision)
}

// A refreshed login that could not be stored is stored as soon as that is possible, although
// another process has written to the record meanwhile; and until then no other process refreshes. It
// makes no difference that a server issues the same access token again.
func TestUnsavedLoginIsStoredLater(t *testing.T) {
	t.Parallel()
	for _, repeats := range []bool{false, true} {
		t.Run(fmt.Sprintf("repeats the access token %t", repeats), func(t *testing.T) {
			unsavedLoginIsStoredLater(t, repeats)
		})
	}
}

// issuesAgain is a server that issues the stored access token again for a grant of that type.
func issuesAgain(w *testenv.Env, grant string) http.RoundTripper {
	issued := strconv.Quote(w.Record().Grant.AccessToken.Reveal())
	return changing{grant: grant, change: func(resp *http.Response) (*http.Response, error) {
		return replaceMember(resp, "access_token", issued)
	}}
}

func unsavedLoginIsStoredLater(t *testing.T, repeats bool) {
	w := testenv.New(t, testenv.Personality(t, "rotates-strictly"))
	memory := w.Store
	first, second := w.Session(), w.Session()
	failing := &failingWrites{Store: memory}
	first.Store = failing
	w.MustLogin(w.Session())
	w.Expire()
	if repeats {
		first.AuthTransport = issuesAgain(w, "refresh_token")
	}
	w.Lab.Reset()
	gate := w.Lab.Hold("token:refresh:committed")
	defer gate.Release()
	got := make(chan error)
	go func() {
		_, err := first.Token(context.Background(), w.Lab.MCPURL(), handstamp.TokenOptions{})
		got <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
	defer cancel()
	if _, err := gate.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	failing.fails.Store(true)
	gate.Release()
	if err := <-got; err != nil {
		t.Fatalf("the token that could not be stored: %v", err)
	}
	rec := w.Record()
	used := rec.Grant.RefreshToken
	rec.Grant.Rejected = true
	w.Put(rec)
	waiting, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	if _, err := second.Token(waiting, w.Lab.MCPURL(), handstamp.TokenOptions{}); err == nil {
		t.Error("a token was found that is not stored")
	}
	failing.fails.Store(false)
	got2, err := second.Token(ctx, w.Lab.MCPURL(), handstamp.TokenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rec = w.Record()
	if rec.Grant.RefreshToken == used || rec.Grant.AccessToken != got2.Value || rec.Intent != nil {
		t.Error("the login is not the one that was refreshed")
	}
	w.WantCounts(map[string]int{"token:refresh": 1, "authorize": 0})
	if a := w.Lab.Audit(); a.Reuses != 0 || a.FamiliesRevoked != 0 {
		t.Errorf("%d reuses, %d families revoked", a.Reuses, a.FamiliesRevoked)
	}
}

// A Client that is closed while a refresh is under way waits until its result is stored, also where
// the store fails when it arrives.
func TestCloseWaitsForAnUnsavedLogin(t *testing.T) {
	t.Parallel()
	w := testenv.New(t, testenv.Personality(t, "rotates-strictly"))
	c := w.Session()
	failing := &failingWrites{Store: w.Store}
	c.Store = failing
	w.MustLogin(w.Session())
	w.Expire()
	used := w.Record().Grant.RefreshToken
	w.Lab.Reset()
	gate := w.Lab.Hold("token:refresh:committed")
	defer gate.Release()
	got := make(chan error, 1)
	go func() {
		_, err := c.Token(context.Background(), w.Lab.MCPURL(), handstamp.TokenOptions{})
		got <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
	defer cancel()
	if _, err := gate.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	over, end := context.WithCancel(ctx)
	end()
	if err := c.Close(over); !errors.Is(err, context.Canceled) { // it is closed from here on
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- c.Close(ctx) }()
	failing.fails.Store(true)
	gate.Release()
	if err := <-got; err != nil {
		t.Fatalf("the token that could not be stored: %v", err)
	}
	select {
	case err := <-closed:
		t.Fatalf("Close returned %v, and the only copy of the refresh token was in memory", err)
	case <-time.After(100 * time.Millisecond): // for a Close that does not wait
	}
	failing.fails.Store(false)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if rec := w.Record(); rec.Grant.RefreshToken == used || rec.Intent != nil {
		t.Error("what was refreshed is not stored")
	}
	w.MustCall(w.Session())
	w.WantCounts(map[string]int{"token:refresh": 1, "authorize": 0})
}

// conflictAndFailure is a store of which one Put can be made a conflict, and the Get after it a failure.
type conflictAndFailure struct {
	store.Store
	conflicts, fails atomic.Bool
}

func (s *conflictAndFailure) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	if s.conflicts.Swap(false) {
		s.fails.Store(true)
		return "", store.ErrConflict
	}
	return s.Store.Put(ctx, key, value, revision)
}

func (s *conflictAndFailure) Get(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	if s.fails.Swap(false) {
		return nil, "", store.ErrUnusable
	}
	return s.Store.Get(ctx, key)
}

// A token that arrives when another process has written to the record, and the record cannot be read
// again, is not lost: it is returned and stored later.
func TestTokenArrivesAtAConflictAndAFailure(t *testing.T) {
	t.Parallel()
	w := testenv.New(t, testenv.Personality(t, "rotates-strictly"))
	c := w.Session()
	broken := &conflictAndFailure{Store: w.Store}
	c.Store = broken
	w.MustLogin(w.Session())
	w.Expire()
	used := w.Record().Grant.RefreshToken
	w.Lab.Reset()
	gate := w.Lab.Hold("token:refresh:committed")
	defer gate.Release()
	got := make(chan error, 1)
	go func() {
		_, err := c.Token(context.Background(), w.Lab.MCPURL(), handstamp.TokenOptions{})
		got <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
	defer cancel()
	if _, err := gate.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	rec := w.Record() // another process writes: the response cannot be saved as it came
	rec.Grant.Rejected = true
	w.Put(rec)
	broken.conflicts.Store(true)
	gate.Release()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if rec := w.Record(); rec.Grant.RefreshToken == used {
		t.Error("the refresh token that was issued is stored nowhere")
	}
	w.MustCall(w.Session())
	w.WantCounts(map[string]int{"token:refresh": 1, "authorize": 0})
}

// A login at the same conflict and failure, when the code was redeemed, is an error or stored, and the
// next one works.
func TestLoginAtAConflictAndAFailure(t *testing.T) {
	t.Parallel()
	w := testenv.New(t, testenv.Personality(t, "rotates-strictly"))
	c := w.Session()
	broken := &conflictAndFailure{Store: w.Store}
	c.Store = broken
	gate := w.Lab.Hold("token:code:committed")
	defer gate.Release()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := c.Login(ctx, w.Lab.MCPURL(), handstamp.LoginOptions{})
		done <- err
	}()
	if _, err := gate.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	broken.conflicts.Store(true)
	gate.Release()
	if err := <-done; err != nil {
		testenv.WantKind(t, err, handstamp.ErrStore)
	}
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
	w.MustLogin(w.Session())
	w.MustCall(w.Session())
}

// A logout at the same conflict and failure removes the login all the same.
func TestLogoutAtAConflictAndAFailure(t *testing.T) {
	t.Parallel()
	w := testenv.New(t, testenv.Personality(t, "rotates-strictly"))
	broken := &conflictAndFailure{Store: w.Store}
	w.Store = broken
	w.MustLogin(w.Session())
	broken.conflicts.Store(true)
	if _, err := w.Session().Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{}); err != nil {
		t.Error(err)
	}
	if st, err := w.Session().Status(t.Context(), w.Lab.MCPURL()); err != nil || st.State != handstamp.StateNone {
		t.Errorf("the login is %v (%v)", st, err)
	}
}

// hangingWrites is a store that does not respond to a Put while it hangs.
type hangingWrites struct {
	store.Store
	hangs atomic.Bool
}

func (s *hangingWrites) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	if s.hangs.Load() {
		<-ctx.Done()
		return "", ctx.Err()
	}
	return s.Store.Put(ctx, key, value, revision)
}

// A caller does not wait longer for a token that is at hand than the store is given twice.
func TestStoreHangsWhenATokenArrives(t *testing.T) {
	testenv.InBubble(t, testenv.Personality(t, "rotates-strictly"), func(t *testing.T, w *testenv.Env) {
		hanging := &hangingWrites{Store: w.Store}
		c := w.Session()
		c.Store = hanging
		w.MustLogin(w.Session())
		w.Expire()
		gate := w.Lab.Hold("token:refresh:committed")
		defer gate.Release()
		got := make(chan error)
		go func() {
			_, err := c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{})
			got <- err
		}()
		if _, err := gate.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		hanging.hangs.Store(true)
		began := time.Now()
		gate.Release()
		if err := <-got; err != nil || time.Since(began) > 40*time.Second {
			t.Errorf("the token came after %v: %v", time.Since(began), err)
		}
		hanging.hangs.Store(false)
	})
}

// A store that has lost its last writes, as after a failover, gets the refreshed login back from the
// process that refreshed it, which does not send the refresh token a second time. It does not matter
// whether the store took the login at once, later, or without saying so.
func TestStoreGoesBack(t *testing.T) {
	t.Parallel()
	for _, until := range []string{"before the refresh", "before its response"} {
		for _, stored := range []string{"at once", "later", "unacknowledged"} {
			t.Run(until+", stored "+stored, func(t *testing.T) { storeGoesBack(t, until, stored, 2) })
		}
		for _, writes := range []int32{3, 5} {
			name := fmt.Sprint(until, ", unacknowledged ", writes, " times")
			t.Run(name, func(t *testing.T) { storeGoesBack(t, until, "unacknowledged", writes) })
		}
	}
}

// storeGoesBack is one of them. Of the writes that are not acknowledged, the first are the response and
// the login.
func storeGoesBack(t *testing.T, until, stored string, writes int32) {
	t.Parallel()
	w := testenv.New(t, testenv.Personality(t, "rotates-strictly"))
	first, second := w.Session(), w.Session()
	failing := &failingWrites{Store: w.Store}
	broken := &unacknowledged{Store: failing}
	first.Store = broken
	w.MustLogin(w.Session())
	w.Expire()
	w.Lab.Reset()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
	defer cancel()
	old := w.Record()
	gate := w.Lab.Hold("token:refresh:committed")
	defer gate.Release()
	got := make(chan *handstamp.Token, 1)
	go func() {
		token, err := first.Token(ctx, w.Lab.MCPURL(), handstamp.TokenOptions{})
		if err != nil {
			t.Error(err)
		}
		got <- token
	}()
	if _, err := gate.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if until == "before its response" {
		old = w.Record()
	}
	failing.fails.Store(stored == "later")
	if stored == "unacknowledged" {
		broken.left.Store(writes)
	}
	gate.Release()
	issued := <-got
	if issued == nil {
		return
	}
	failing.fails.Store(false)
	token := func(c *handstamp.Client) {
		t.Helper()
		c.StoreChanged("")
		token, err := c.Token(ctx, w.Lab.MCPURL(), handstamp.TokenOptions{})
		if err != nil || token.Value != issued.Value {
			t.Errorf("the token is not the one that was issued (%v)", err)
		}
	}
	token(first)
	key, err := store.NewKey(w.Lab.MCPURL(), "")
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := w.Store.Lock(ctx, key, store.LockRefresh) // which is held until all is stored
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if !broken.acknowledged.Load() || w.Record().Grant.RefreshToken == old.Grant.RefreshToken {
		t.Error("the login is not stored, or only at one server")
	}
	old.Revision = w.Record().Revision
	w.Put(old)
	token(first)
	token(second)
	w.WantCounts(map[string]int{"token:refresh": 1, "authorize": 0})

	// What others have put in its place stays.
	w.MustLogin(w.Session())
	login := w.Record().Grant.RefreshToken
	first.StoreChanged("")
	if _, err := first.Token(ctx, w.Lab.MCPURL(), handstamp.TokenOptions{}); err != nil {
		t.Error(err)
	}
	if w.Record().Grant.RefreshToken != login {
		t.Error("a later login was replaced")
	}
}
