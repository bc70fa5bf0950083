package hosted_test

import (
	"fmt"
	"testing"

	"github.com/handstamp/handstamp/hosted"
	"github.com/handstamp/handstamp/store"
)

// memory is a Database in memory.
type memory struct{ stores map[store.Owner]*store.Memory }

func (m *memory) Store(o store.Owner) (store.Store, error) {
	if m.stores[o] == nil {
		m.stores[o] = new(store.Memory)
	}
	return m.stores[o], o.Check()
}

func TestClientsAreKept(t *testing.T) {
	app := &hosted.App{Database: &memory{make(map[store.Owner]*store.Memory)}, CacheSize: 2}
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
	if _, err := app.Client(store.Owner{Tenant: "\xff"}); err == nil {
		t.Error("a name that is no text has a Client")
	}
	if err := app.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := app.Client(store.Owner{}); err == nil {
		t.Error("a closed App has Clients")
	}
}
