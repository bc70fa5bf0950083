package hosted_test

import (
	"context"
	"testing"

	"github.com/handstamp/handstamp/hosted"
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
