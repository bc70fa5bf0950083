//go:build unix

package pgstore_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
)

// listening returns the options of a database that listens at a server.
func listening(t *testing.T, server *servicetest.Postgres) pgstore.Options {
	t.Helper()
	return pgstore.Options{Listen: config(t, server.URL()).ConnConfig}
}

// watch collects what a database reports, until the test ends.
func watch(t *testing.T, w store.Watcher) <-chan store.Change {
	t.Helper()
	changes := make(chan store.Change, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		done <- w.Watch(ctx, func(c store.Change) {
			select {
			case changes <- c:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch = %v", err)
		}
	})
	return changes
}

// next returns the next change.
func next(t *testing.T, changes <-chan store.Change) store.Change {
	t.Helper()
	select {
	case c := <-changes:
		return c
	case <-time.After(testenv.Timeout):
		t.Fatal("no change was reported")
		panic("unreachable")
	}
}

// A database reports what others write and delete, and not what it writes itself. When its
// connection was lost, anything may have changed.
func TestWatch(t *testing.T) {
	server := servicetest.StartPostgres(t)
	here, _ := open(t, server, listening(t, server))
	there, pool := open(t, server, pgstore.Options{})
	changes := watch(t, here)
	if c := next(t, changes); c != (store.Change{}) {
		t.Errorf("at the beginning %v", c)
	}
	mustPut(t, storeOf(t, here, ownerOf(1)), lockedKey, nil) // which is not reported
	s := storeOf(t, there, ownerOf(2))
	want := store.Change{Owner: ownerOf(2).ID(), Key: lockedKey.ID()}
	revision := mustPut(t, s, lockedKey, []byte("1"))
	if c := next(t, changes); c != want {
		t.Errorf("after a write %v", c)
	}
	if err := s.Delete(t.Context(), lockedKey, revision); err != nil {
		t.Fatal(err)
	}
	if c := next(t, changes); c != want {
		t.Errorf("after a deletion %v", c)
	}
	_, err := pool.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "+
		"WHERE query LIKE 'LISTEN%'")
	if err != nil {
		t.Fatal(err)
	}
	if c := next(t, changes); c != (store.Change{}) {
		t.Errorf("after the connection was lost %v", c)
	}
	mustPut(t, s, lockedKey, nil)
	if c := next(t, changes); c != want {
		t.Errorf("after the connection was lost and a write %v", c)
	}
}

// Many changes at once need several notifications, and all are reported.
func TestWatchManyChanges(t *testing.T) {
	server := servicetest.StartPostgres(t)
	here, _ := open(t, server, listening(t, server))
	there, _ := open(t, server, pgstore.Options{})
	changes := watch(t, here)
	next(t, changes)
	missing := make(map[string]bool)
	for user := range 600 {
		missing[ownerOf(user).ID()] = true
		mustPut(t, storeOf(t, there, ownerOf(user)), lockedKey, nil)
	}
	for len(missing) > 0 {
		delete(missing, next(t, changes).Owner)
	}
}

// Without a connection that listens, everything is taken for changed now and then.
func TestWatchPolls(t *testing.T) {
	server := servicetest.StartPostgres(t)
	unreachable := config(t, "host=/nonexistent").ConnConfig
	for _, o := range []pgstore.Options{
		{Poll: time.Millisecond}, {Poll: time.Millisecond, Listen: unreachable},
	} {
		db, _ := open(t, server, o)
		changes := watch(t, db)
		for range 3 {
			if c := next(t, changes); c != (store.Change{}) {
				t.Errorf("reported %v", c)
			}
		}
	}
}

// watched is a Database that passes on which changes an App was given.
type watched struct {
	*pgstore.Database
	given chan store.Change
}

func (w *watched) Watch(ctx context.Context, changed func(store.Change)) error {
	return w.Database.Watch(ctx, func(c store.Change) {
		changed(c)
		select {
		case w.given <- c:
		case <-ctx.Done():
		}
	})
}

// requests keeps the Authorization header of the last request, and counts rejections.
type requests struct {
	last     atomic.Value // of string
	rejected atomic.Int32
}

func (r *requests) RoundTrip(req *http.Request) (*http.Response, error) {
	r.last.Store(req.Header.Get("Authorization"))
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		r.rejected.Add(1)
	}
	return resp, err
}

// When one replica has refreshed or removed a login, the other one sends the new token, or none,
// and not first the old one.
func TestAppsSeeEachOthersChanges(t *testing.T) {
	server := servicetest.StartPostgres(t)
	w := testenv.New(t, testenv.Personality(t, "rotates-strictly"))
	sent := new(requests)
	configure := func(_ store.Owner, c *handstamp.Client) {
		c.InsecureAllowPrivateAddresses, c.BaseTransport = true, sent
	}
	first, _ := open(t, server, listening(t, server))
	db, _ := open(t, server, listening(t, server))
	second := &watched{db, make(chan store.Change, 100)}
	apps := []*hosted.App{
		{Database: first, Configure: configure}, {Database: second, Configure: configure},
	}
	ada := ownerOf(0)
	clients := make([]*handstamp.Client, len(apps))
	for i, app := range apps {
		t.Cleanup(func() {
			if err := app.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		c, err := app.Client(ada)
		if err != nil {
			t.Fatal(err)
		}
		clients[i] = c
	}
	next(t, second.given)
	w.Store = storeOf(t, first, ada)
	w.MustLogin(w.Session())
	for _, c := range clients {
		w.MustCall(c)
	}
	until := func(done func() bool) {
		t.Helper()
		for !done() {
			if c := next(t, second.given); c.Owner != ada.ID() {
				t.Fatalf("reported %v", c)
			}
		}
	}
	refreshed, err := clients[0].Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{Refresh: true})
	if err != nil {
		t.Fatal(err)
	}
	until(func() bool {
		got, err := clients[1].Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{})
		return err == nil && got.Value == refreshed.Value
	})
	w.MustCall(clients[1])
	if got := sent.last.Load(); got != "Bearer "+refreshed.Value.Reveal() {
		t.Error("the token is not the one that the other replica was issued")
	}
	if _, err := clients[0].Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{}); err != nil {
		t.Fatal(err)
	}
	until(func() bool {
		_, err := clients[1].Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{})
		return errors.Is(err, handstamp.ErrLoginRequired)
	})
	if got := sent.rejected.Load(); got != 0 {
		t.Errorf("%d requests were rejected", got)
	}
	if err := w.Call(clients[1]); !errors.Is(err, handstamp.ErrLoginRequired) {
		t.Errorf("after a logout at the other replica: %v", err)
	}
	if got := sent.last.Load(); got != "" {
		t.Errorf("after a logout at the other replica, %q was sent", got)
	}
}
