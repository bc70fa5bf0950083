package hosted_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/clientdocument"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

func TestClientsAreKept(t *testing.T) {
	app := &hosted.App{Database: new(store.MemoryDatabase), CacheSize: 2}
	client := func(user int) any {
		t.Helper()
		c, err := app.Client(store.Owner{Tenant: "acme", User: fmt.Sprint(user)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := client(1)
	client(2)
	if client(1) != first {
		t.Error("a user got another Client")
	}
	client(3) // in place of 2, which was used longest ago
	if client(1) != first {
		t.Error("the Client that was used lately was evicted")
	}
	for _, o := range []store.Owner{{Tenant: "\xff"}, {User: "handstamp:logins"}, {Tenant: "acme", User: "handstamp:clients"}} {
		if _, err := app.Client(o); err == nil {
			t.Errorf("%q has a Client", o)
		}
	}
	if err := app.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := app.Client(store.Owner{}); !errors.Is(err, handstamp.ErrClosed) {
		t.Errorf("a closed App has Clients (%v)", err)
	}
}

// An error of an argument or a field that cannot work is ErrInvalidConfig, and each caller of a closed
// App has an error of its own, which it may change.
func TestKindsOfErrors(t *testing.T) {
	app := newApp(nil)
	reserved := store.Owner{User: "handstamp:logins"}
	_, err := app.Client(reserved)
	testenv.WantKind(t, err, handstamp.ErrInvalidConfig)
	testenv.WantKind(t, hosted.CheckOwner(reserved), handstamp.ErrInvalidConfig)
	// A database without a schedule.
	testenv.WantKind(t, app.RefreshAhead(t.Context(), hosted.AheadOptions{}), handstamp.ErrInvalidConfig)
	if err := app.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, first := app.Client(ada)
	_, second := app.Client(ada)
	testenv.WantKind(t, second, handstamp.ErrClosed)
	if first == second {
		t.Error("two callers have one error")
	}
}

// A Client that is set up slowly keeps no other user waiting, and is one for all that wait for it.
func TestSlowConfigure(t *testing.T) {
	app := &hosted.App{Database: new(store.MemoryDatabase)}
	entered, release := make(chan struct{}, 2), make(chan struct{})
	app.Configure = func(o store.Owner, _ *handstamp.Client) {
		if o == ada {
			entered <- struct{}{}
			<-release
		}
	}
	clients := make(chan *handstamp.Client, 2)
	for range 2 {
		go func() {
			c, err := app.Client(ada)
			if err != nil {
				t.Error(err)
			}
			clients <- c
		}()
	}
	<-entered
	ben := make(chan error, 1)
	go func() {
		_, err := app.Client(store.Owner{Tenant: "acme", User: "ben"})
		ben <- err
	}()
	select {
	case err := <-ben:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testenv.Timeout):
		t.Error("a user waits while another one's Client is set up")
	}
	close(release)
	if first, second := <-clients, <-clients; first != second || first == nil {
		t.Error("two Clients of one user are in use")
	}
}

// Close waits for the refresh of a Client that was evicted meanwhile.
func TestCloseWaitsForEvictedClients(t *testing.T) {
	server := newServer(t, lab.Habits{})
	app := newApp(new(store.MemoryDatabase))
	app.CacheSize = 1
	ada, ben := store.Owner{Tenant: "acme", User: "ada"}, store.Owner{Tenant: "acme", User: "ben"}
	mustSignIn(t, server, app, app, ada)
	server.ExpireAccessTokens()
	gate := server.Hold("token:refresh:received")
	called := make(chan error, 1)
	func() { // so that nothing here keeps the Client
		c, err := app.Client(ada)
		if err != nil {
			t.Fatal(err)
		}
		go func() { called <- testenv.Call(context.Background(), c.HTTPClient(server.MCPURL()), server.MCPURL()) }()
	}()
	if _, err := gate.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := app.Client(ben); err != nil { // evicts ada's
		t.Fatal(err)
	}
	runtime.GC()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := app.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close returned %v during the refresh", err)
	}
	gate.Release()
	if err := app.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-called; err != nil {
		t.Error(err)
	}
	later := newApp(app.Database)
	if err := callAs(t, later, ada, server.MCPURL()); err != nil {
		t.Error(err)
	}
	if n := server.Counts()["token:refresh"]; n != 1 {
		t.Errorf("%d refreshes", n)
	}
}

// A client ID metadata document takes the place of registrations.
func TestClientDocument(t *testing.T) {
	app := newApp(new(store.MemoryDatabase))
	handler, err := app.ClientDocument(clientdocument.Document{
		ClientID: "https://app.example.com/client.json", ClientName: "Example",
	})
	if err != nil {
		t.Fatal(err)
	}
	resp := get(handler, "https://app.example.com/client.json", "")
	if resp.StatusCode != http.StatusOK || !contains(t, resp, app.CallbackURL) {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestConnections(t *testing.T) {
	server := newServer(t, lab.Habits{})
	db := new(store.MemoryDatabase)
	app := newApp(db)
	ada, ben := store.Owner{Tenant: "acme", User: "ada"}, store.Owner{Tenant: "acme", User: "ben"}
	mustSignIn(t, server, app, newApp(db), ada)
	mustSignIn(t, server, app, newApp(db), ben)

	list := func(o store.Owner) []*handstamp.Status {
		t.Helper()
		all, err := newApp(db).Connections(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if all := list(ada); len(all) != 1 || all[0].Server != server.MCPURL() || all[0].State != handstamp.StateValid {
		t.Fatalf("connections %v", all)
	}
	result, err := app.Disconnect(t.Context(), ada, server.MCPURL())
	if err != nil || !result.Revoked {
		t.Fatalf("disconnect: %+v, %v", result, err)
	}
	if all := list(ada); len(all) != 0 {
		t.Errorf("connections %v after the last was ended", all)
	}
	if err := callAs(t, app, ada, server.MCPURL()); !errors.Is(err, handstamp.ErrLoginRequired) {
		t.Errorf("a call without a login: %v", err)
	}
	// The client that both have in common serves the other still.
	server.ExpireAccessTokens()
	if err := callAs(t, newApp(db), ben, server.MCPURL()); err != nil {
		t.Error(err)
	}
}
