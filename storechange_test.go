package handstamp_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store"
)

// watchedTransport keeps what the last request to the MCP server had for an Authorization header,
// and counts the rejected ones.
type watchedTransport struct {
	base     http.RoundTripper
	header   atomic.Value // of string
	rejected atomic.Int32
}

func (w *watchedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	w.header.Store(req.Header.Get("Authorization"))
	resp, err := w.base.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		w.rejected.Add(1)
	}
	return resp, err
}

// twoReplicas returns two Clients of one login, of which the second has its token in use.
func twoReplicas(t *testing.T, w *testenv.Env) (first, second *handstamp.Client, sent *watchedTransport) {
	t.Helper()
	first, second, sent = w.Session(), w.Session(), &watchedTransport{base: w.Transport()}
	second.BaseTransport, second.LoginPolicy = sent, handstamp.LoginNever
	w.MustLogin(first)
	w.MustCall(second)
	return first, second, sent
}

func token(t *testing.T, c *handstamp.Client, server string, o handstamp.TokenOptions) string {
	t.Helper()
	got, err := c.Token(t.Context(), server, o)
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + got.Value.Reveal()
}

// A token that another replica has replaced is not sent once that is known, and nor is one that
// another replica has logged out of.
func TestStoreChanged(t *testing.T) {
	w := testenv.New(t, testenv.Personality(t, "rotates-strictly"))
	first, second, sent := twoReplicas(t, w)
	key, err := store.NewKey(w.Lab.MCPURL(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{key.ID(), ""} {
		rotated := token(t, first, w.Lab.MCPURL(), handstamp.TokenOptions{Refresh: true})
		second.StoreChanged(id)
		w.MustCall(second)
		if got := sent.header.Load(); got != rotated {
			t.Errorf("after StoreChanged(%q) the token is not the one that is stored", id)
		}
	}
	if _, err := first.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{}); err != nil {
		t.Fatal(err)
	}
	second.StoreChanged(key.ID())
	if err := w.Call(second); !errors.Is(err, handstamp.ErrLoginRequired) {
		t.Errorf("after a logout elsewhere: %v", err)
	}
	if got := sent.header.Load(); got != "" {
		t.Errorf("after a logout elsewhere, %q was sent", got)
	}
	if got := sent.rejected.Load(); got != 1 { // the one without a token
		t.Errorf("%d requests were rejected", got)
	}
}

// Another server's change costs no read.
func TestStoreChangedElsewhere(t *testing.T) {
	w := testenv.New(t, testenv.Personality(t, "rotates-strictly"))
	reads := &countedReads{Store: w.Store}
	w.Store = reads
	_, second, _ := twoReplicas(t, w)
	before := reads.n.Load()
	second.StoreChanged("of another one")
	w.MustCall(second)
	if now := reads.n.Load(); now != before {
		t.Errorf("%d reads", now-before)
	}
}

// countedReads counts reads; during, if set, runs within the next one.
type countedReads struct {
	store.Store
	n      atomic.Int32
	during atomic.Pointer[func()]
}

func (s *countedReads) Get(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	s.n.Add(1)
	value, revision, err := s.Store.Get(ctx, key)
	if during := s.during.Swap(nil); during != nil {
		(*during)()
	}
	return value, revision, err
}

// A change that comes while the record is read is not taken for what was read.
func TestStoreChangedWhileItIsRead(t *testing.T) {
	w := testenv.New(t, testenv.Personality(t, "rotates-strictly"))
	memory := w.Store
	reads := &countedReads{Store: memory}
	w.Store = reads
	first, second, sent := twoReplicas(t, w)
	var rotated string
	during := func() {
		rotated = token(t, first, w.Lab.MCPURL(), handstamp.TokenOptions{Refresh: true})
		second.StoreChanged("")
	}
	second.StoreChanged("") // has the next request read
	reads.during.Store(&during)
	_ = w.Call(second) // with what was read
	w.MustCall(second)
	if got := sent.header.Load(); got != rotated {
		t.Error("the token is the one from before the change")
	}
	if got := sent.rejected.Load(); got > 1 {
		t.Errorf("%d requests were rejected", got)
	}
}

// What this process changes while it reads the record itself is not taken back by what was read.
func TestReadBesideAnOwnChange(t *testing.T) {
	reading := map[string]func(context.Context, *handstamp.Client, string){
		"request": func(ctx context.Context, c *handstamp.Client, server string) {
			_, _ = c.Token(ctx, server, handstamp.TokenOptions{})
		},
		"status": func(ctx context.Context, c *handstamp.Client, server string) {
			_, _ = c.Status(ctx, server)
		},
	}
	for name, read := range reading {
		t.Run("logout beside a "+name, func(t *testing.T) {
			w, c, sent := ownChange(t, read, func(w *testenv.Env, c *handstamp.Client) error {
				_, err := c.Logout(w.T.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{NoRevoke: true})
				return err
			})
			if err := w.Call(c); !errors.Is(err, handstamp.ErrLoginRequired) || sent.header.Load() != "" {
				t.Errorf("after the logout a request carried %q (%v)", sent.header.Load(), err)
			}
			_, err := c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{})
			testenv.WantKind(t, err, handstamp.ErrLoginRequired)
		})
		t.Run("login beside a "+name, func(t *testing.T) {
			w, c, sent := ownChange(t, read, (*testenv.Env).Login)
			w.MustCall(c)
			if want := "Bearer " + w.Record().Grant.AccessToken.Reveal(); sent.header.Load() != want {
				t.Error("after the login a request carried the token before it")
			}
		})
	}
}

// ownChange returns a Client that has changed its login while it read it.
func ownChange(
	t *testing.T, read func(context.Context, *handstamp.Client, string),
	change func(*testenv.Env, *handstamp.Client) error,
) (*testenv.Env, *handstamp.Client, *watchedTransport) {
	t.Helper()
	w := testenv.New(t, testenv.Personality(t, "rotates-strictly"))
	reads := &countedReads{Store: w.Store}
	w.Store = reads
	w.MustLogin(w.Session())
	c, sent := w.Session(), &watchedTransport{base: w.Transport()}
	c.BaseTransport, c.LoginPolicy = sent, handstamp.LoginNever
	during := func() {
		if err := change(w, c); err != nil {
			t.Error(err)
		}
	}
	reads.during.Store(&during)
	read(t.Context(), c, w.Lab.MCPURL())
	if reads.during.Load() != nil {
		t.Fatal("nothing was read")
	}
	return w, c, sent
}

// A caller who comes after a logout does not get what a read that began before it has found.
func TestLogoutBeforeAReadIsJoined(t *testing.T) {
	testenv.InBubble(t, testenv.Personality(t, "rotates-strictly"), func(t *testing.T, w *testenv.Env) {
		reads := &countedReads{Store: w.Store}
		w.Store = reads
		w.MustLogin(w.Session())
		c := w.Session()
		c.LoginPolicy = handstamp.LoginNever
		got := make(chan error, 1)
		during := func() {
			if _, err := c.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{NoRevoke: true}); err != nil {
				t.Error(err)
			}
			go func() {
				_, err := c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{})
				got <- err
			}()
			synctest.Wait()
		}
		reads.during.Store(&during)
		_, _ = c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{})
		testenv.WantKind(t, <-got, handstamp.ErrLoginRequired)
	})
}

// Whoever signs out where another replica has done so before, and has not heard of it, sends the
// token no more.
func TestLogoutAfterOneElsewhere(t *testing.T) {
	w := testenv.New(t, testenv.Personality(t, "rotates-strictly"))
	first, second, _ := twoReplicas(t, w)
	for i, c := range []*handstamp.Client{first, second} {
		result, err := c.Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{})
		if err != nil || result.WasSignedIn != (i == 0) {
			t.Errorf("logout %d: %+v, %v", i, result, err)
		}
	}
	_, err := second.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{})
	testenv.WantKind(t, err, handstamp.ErrLoginRequired)
}

// Not every request whose token is good reads a store that fails.
func TestStoreChangedWhileTheStoreFails(t *testing.T) {
	testenv.InBubble(t, testenv.Personality(t, "rotates-strictly"), func(t *testing.T, w *testenv.Env) {
		failing := &failingReads{countedReads: countedReads{Store: w.Store}}
		w.Store = failing
		_, second, _ := twoReplicas(t, w)
		failing.fails.Store(true)
		second.StoreChanged("")
		before := failing.n.Load()
		for range 20 {
			w.MustCall(second)
		}
		if n := failing.n.Load() - before; n == 0 || n > 5 {
			t.Errorf("20 requests tried to read %d times", n)
		}
	})
}

type failingReads struct {
	countedReads
	fails atomic.Bool
}

func (s *failingReads) Get(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	value, revision, err := s.countedReads.Get(ctx, key)
	if s.fails.Load() {
		return nil, "", store.ErrUnusable
	}
	return value, revision, err
}
