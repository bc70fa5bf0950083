package hosted_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// watchable is a Database that reports what a test has it report.
type watchable struct {
	store.MemoryDatabase
	changes chan store.Change
	watches chan bool
}

func (w *watchable) Watch(ctx context.Context, changed func(store.Change)) error {
	w.watches <- true
	defer func() { w.watches <- false }()
	for {
		select {
		case c := <-w.changes:
			changed(c)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// An App watches from its first Client to its end, also what it has no Client of.
func TestAppWatches(t *testing.T) {
	db := &watchable{changes: make(chan store.Change), watches: make(chan bool, 2)}
	app := &hosted.App{Database: db}
	ada := store.Owner{Tenant: "acme", User: "ada"}
	for range 2 {
		if _, err := app.Client(ada); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []store.Change{{}, {Owner: ada.ID(), Key: "?"}, {Owner: "?", Key: "?"}} {
		db.changes <- c
	}
	if err := app.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if began, ended := <-db.watches, !<-db.watches; !began || !ended || len(db.watches) > 0 {
		t.Error("the App has not watched once, until its end")
	}
}

func TestClosedAppDoesNotWatch(t *testing.T) {
	db := &watchable{watches: make(chan bool, 2)}
	app := &hosted.App{Database: db}
	if err := app.Close(t.Context()); err != nil {
		t.Error(err)
	}
	_, _ = app.Client(store.Owner{})
	if len(db.watches) > 0 {
		t.Error("a closed App watches")
	}
}

// evictedInUse returns an App in which ada has signed in, a Client of hers that was evicted after a
// call, and the Authorization header of its last request.
func evictedInUse(
	t *testing.T, server *lab.Server, db store.Database,
) (app *hosted.App, call func() error, sent *atomic.Value) {
	t.Helper()
	app, sent = newApp(db), new(atomic.Value)
	t.Cleanup(func() { app.Close(context.WithoutCancel(t.Context())) })
	app.CacheSize = 1
	app.Configure = func(o store.Owner, c *handstamp.Client) {
		onThisMachine(o, c)
		c.BaseTransport = testenv.RoundTripFunc(func(r *http.Request) (*http.Response, error) {
			sent.Store(r.Header.Get("Authorization"))
			return http.DefaultTransport.RoundTrip(r)
		})
	}
	ada, bob := store.Owner{Tenant: "acme", User: "ada"}, store.Owner{Tenant: "acme", User: "bob"}
	mustSignIn(t, server, app, app, ada)
	used, err := app.Client(ada)
	if err != nil {
		t.Fatal(err)
	}
	call = func() error {
		return testenv.Call(t.Context(), used.HTTPClient(server.MCPURL()), server.MCPURL())
	}
	if err := call(); err != nil || sent.Load() == "" {
		t.Fatalf("before: %v", err)
	}
	for _, o := range []store.Owner{bob, ada, bob} {
		if _, err := app.Client(o); err != nil {
			t.Fatal(err)
		}
	}
	return app, call, sent
}

// A Client that was evicted while it is used sends no token that was removed, on whichever replica.
func TestEvictedClientHearsOfALogout(t *testing.T) {
	server := newServer(t, lab.NoneFirst())
	ada := store.Owner{Tenant: "acme", User: "ada"}
	db := &watchable{changes: make(chan store.Change), watches: make(chan bool, 4)}
	key, err := store.NewKey(server.MCPURL(), "")
	if err != nil {
		t.Fatal(err)
	}
	for where, signOut := range map[string]func(here, elsewhere *hosted.App) error{
		"here": func(here, _ *hosted.App) error {
			_, err := here.Disconnect(t.Context(), ada, server.MCPURL())
			return err
		},
		"elsewhere": func(_, elsewhere *hosted.App) error {
			_, err := elsewhere.Disconnect(t.Context(), ada, server.MCPURL())
			db.changes <- store.Change{Owner: ada.ID(), Key: key.ID()}
			db.changes <- store.Change{Owner: "?"} // which is received once the other one was handled
			return err
		},
	} {
		t.Run(where, func(t *testing.T) {
			elsewhere := newApp(&db.MemoryDatabase) // which does not watch
			defer elsewhere.Close(t.Context())
			here, call, sent := evictedInUse(t, server, db)
			if err := signOut(here, elsewhere); err != nil {
				t.Fatal(err)
			}
			if err := call(); !errors.Is(err, handstamp.ErrLoginRequired) || sent.Load() != "" {
				t.Errorf("after: %v, %q was sent", err, sent.Load())
			}
		})
	}
}

// A Client that was evicted while it is used does not go on with the account that the user has changed.
func TestEvictedClientHearsOfALogin(t *testing.T) {
	server := newServer(t, lab.NoneFirst())
	app, call, sent := evictedInUse(t, server, new(store.MemoryDatabase))
	before := sent.Load()
	o := hosted.BeginOptions{Session: "s", Force: true}
	login, err := app.Begin(t.Context(), store.Owner{Tenant: "acme", User: "ada"}, server.MCPURL(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := call(); err != nil || sent.Load() != before {
		t.Fatalf("while the user is at the server: %v", err)
	}
	if _, outcome := callBack(t, app, consent(t, login.URL), "s"); outcome.Err != nil {
		t.Fatal(outcome.Err)
	}
	if err := call(); err != nil || sent.Load() == before {
		t.Errorf("after: %v, the token is the one before: %v", err, sent.Load() == before)
	}
}
