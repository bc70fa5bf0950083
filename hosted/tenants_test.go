package hosted_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// watch notes which owner's requests carry which token.
type watch struct {
	mu      sync.Mutex
	owners  map[string]store.Owner // by token
	crossed int
}

// as returns the transport of one owner.
func (w *watch) as(o store.Owner) http.RoundTripper {
	return testenv.RoundTripFunc(func(r *http.Request) (*http.Response, error) {
		if token := r.Header.Get("Authorization"); token != "" {
			w.mu.Lock()
			if other, ok := w.owners[token]; ok && other != o {
				w.crossed++
			}
			w.owners[token] = o
			w.mu.Unlock()
		}
		return http.DefaultTransport.RoundTrip(r)
	})
}

// 1,000 requests of 50 tenants, whose users have the same names, through three replicas that keep
// few Clients: no token is ever sent for another tenant. They have one registration.
func TestTenantsDoNotMix(t *testing.T) {
	const tenants, requests = 50, 1000
	server := newServer(t, lab.NoneFirst())
	db := new(store.MemoryDatabase)
	seen := &watch{owners: make(map[string]store.Owner)}
	replicas := make([]*hosted.App, 3)
	for i := range replicas {
		replicas[i] = newApp(db)
		replicas[i].CacheSize = 20
		replicas[i].Configure = func(o store.Owner, c *handstamp.Client) {
			onThisMachine(o, c)
			c.BaseTransport = seen.as(o)
		}
	}
	owner := func(i int) store.Owner { return store.Owner{Tenant: fmt.Sprint("tenant ", i%tenants), User: "ada"} }
	var logins sync.WaitGroup
	for i := range tenants {
		logins.Go(func() { mustSignIn(t, server, replicas[i%3], replicas[(i+1)%3], owner(i)) })
	}
	logins.Wait()
	if n := server.Counts()["register"]; n != 1 {
		t.Errorf("%d registrations for %d tenants", n, tenants)
	}
	slots := make(chan struct{}, 50)
	var calls sync.WaitGroup
	for i := range requests {
		if i == requests/2 {
			server.ExpireAccessTokens()
		}
		slots <- struct{}{}
		calls.Go(func() {
			defer func() { <-slots }()
			c, err := replicas[i%3].Client(owner(i))
			if err == nil {
				err = testenv.Call(context.Background(), c.HTTPClient(server.MCPURL()), server.MCPURL())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if seen.crossed != 0 || len(seen.owners) < 2*tenants {
		t.Errorf("%d requests carried another tenant's token; %d tokens", seen.crossed, len(seen.owners))
	}
	if a := server.Audit(); a.Reuses != 0 || a.Refreshes > tenants {
		t.Errorf("%d refreshes, %d reuses", a.Refreshes, a.Reuses)
	}
	for i := range tenants {
		all, err := replicas[0].Connections(t.Context(), owner(i))
		if err != nil || len(all) != 1 {
			t.Errorf("%d connections, %v", len(all), err)
		}
	}
	if all, err := replicas[0].Connections(t.Context(), store.Owner{Tenant: "tenant 1", User: "eve"}); err != nil || len(all) != 0 {
		t.Errorf("another user of the tenant has %d connections, %v", len(all), err)
	}
}

// Tenants that shall not share a registration have one each.
func TestClientsPerTenant(t *testing.T) {
	server := newServer(t, lab.Habits{})
	app := newApp(new(store.MemoryDatabase))
	app.ClientsPerTenant = true
	for _, o := range []store.Owner{{Tenant: "a", User: "ada"}, {Tenant: "a", User: "ben"}, {Tenant: "b", User: "ada"}} {
		mustSignIn(t, server, app, app, o)
	}
	if n := server.Counts()["register"]; n != 2 {
		t.Errorf("%d registrations of two tenants", n)
	}
}

// A new callback URL needs a new registration. Whoever has signed in with the old one needs no
// login.
func TestCallbackURLMoves(t *testing.T) {
	server := newServer(t, lab.Habits{})
	db := new(store.MemoryDatabase)
	old := newApp(db)
	ada, ben := store.Owner{User: "ada"}, store.Owner{User: "ben"}
	mustSignIn(t, server, old, old, ada)
	moved := newApp(db)
	moved.CallbackURL = "https://new.example.com/oauth/callback"
	mustSignIn(t, server, moved, moved, ben)
	server.ExpireAccessTokens()
	for _, o := range []store.Owner{ada, ben} {
		if err := callAs(t, moved, o, server.MCPURL()); err != nil {
			t.Errorf("%s: %v", o.User, err)
		}
	}
	mustSignIn(t, server, old, old, store.Owner{User: "eve"}) // a replica of the old version
	if n := server.Counts()["register"]; n != 2 {
		t.Errorf("%d registrations", n)
	}
}
