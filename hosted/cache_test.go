package hosted

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store"
)

func userOf(n int) store.Owner { return store.Owner{Tenant: "acme", User: fmt.Sprint(n)} }

// Whoever is used in each round stays, however many others come, and nothing is left of those that
// were evicted but what is still in use.
func TestCacheIsBounded(t *testing.T) {
	const size = 4
	var c cache
	var clients []*handstamp.Client
	for n := range 100 {
		e := &entry{owner: userOf(n)}
		clients = append(clients, &e.client)
		evicted := c.add(e, size)
		if want := n >= size; (evicted != nil) != want {
			t.Fatalf("the Client number %d evicts %v", n, evicted)
		}
		for _, used := range []int{0, min(1, n)} {
			if e := c.get(userOf(used)); e == nil || &e.client != clients[used] {
				t.Fatalf("Client %d is no longer there after %d", used, n)
			}
		}
	}
	for _, e := range c.circle {
		if c.entries[e.owner] != e || !slices.Equal(c.of(e.owner.ID()), []*handstamp.Client{&e.client}) || c.peek(e.owner) != &e.client {
			t.Errorf("%v is found in part", e.owner)
		}
	}
	if len(c.circle) != size || len(c.entries) != size || len(c.ids) != size {
		t.Errorf("%d Clients are kept, %d by owner, %d by ID", len(c.circle), len(c.entries), len(c.ids))
	}
	if all := c.all(); len(all) != len(clients) { // they are in use here
		t.Errorf("%d Clients are known of %d in use", len(all), len(clients))
	}
	back := &entry{owner: userOf(50)}
	c.add(back, size)
	if of := c.of(userOf(50).ID()); !slices.Equal(of, []*handstamp.Client{&back.client, clients[50]}) {
		t.Errorf("one who is back has %d Clients", len(of))
	}
	runtime.KeepAlive(clients)
}

// Changes of one user, however many, keep nothing of the others in memory.
func TestChangesKeepNoEvictedClient(t *testing.T) {
	const n = 2000
	type list struct{ next *list }
	var long *list // so that a garbage collection takes its time
	for range 1 << 18 {
		long = &list{long}
	}
	var c cache
	var all []weak.Pointer[handstamp.Client]
	for i := range n {
		e := &entry{owner: userOf(i)}
		all = append(all, weak.Make(&e.client))
		c.add(e, 1)
	}
	changed := userOf(0).ID()
	stop, looked := make(chan bool), make(chan bool)
	var other sync.WaitGroup
	other.Go(func() {
		for {
			c.of(changed)
			select {
			case <-stop:
				return
			case looked <- true:
			default:
			}
		}
	})
	for range 3 {
		<-looked
		runtime.GC()
	}
	close(stop)
	other.Wait()
	left := 0
	for _, p := range all {
		if p.Value() != nil {
			left++
		}
	}
	if left > 5 { // the last one, the one that has changed, and what is still on a stack
		t.Errorf("%d of %d Clients are in memory", left, n)
	}
	runtime.KeepAlive(long)
	runtime.KeepAlive(&c)
}

// notedDatabase counts how often each user was noted.
type notedDatabase struct {
	store.MemoryDatabase
	store.Scheduler // the rest of it is not called
	noted           map[store.Owner]int
}

func (d *notedDatabase) NoteUse(_ context.Context, owners []store.Owner) error {
	for _, o := range owners {
		d.noted[o]++
	}
	return nil
}

// Who is at work is noted once a minute, and who is not is not.
func TestUseIsNotedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &notedDatabase{noted: make(map[store.Owner]int)}
		app := &App{Database: db, CacheSize: 2}
		use := func(users ...int) {
			t.Helper()
			for range 3 {
				for _, n := range users {
					if _, err := app.Client(userOf(n)); err != nil {
						t.Fatal(err)
					}
				}
			}
			time.Sleep(useInterval + time.Second)
			synctest.Wait()
		}
		use(1, 2)
		use(1)
		use()
		use(1, 2, 3, 4) // who takes turns in the cache is one all the same
		if err := app.Close(t.Context()); err != nil {
			t.Error(err)
		}
		want := map[store.Owner]int{userOf(1): 3, userOf(2): 2, userOf(3): 1, userOf(4): 1}
		if !maps.Equal(db.noted, want) {
			t.Errorf("noted are %v, want %v", db.noted, want)
		}
	})
}
