//go:build unix

package redisstore_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/redisstore"
)

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

// wantNext checks the next change.
func wantNext(t *testing.T, changes <-chan store.Change, want store.Change) {
	t.Helper()
	select {
	case got := <-changes:
		if got != want {
			t.Errorf("reported %v, want %v", got, want)
		}
	case <-time.After(testenv.Timeout):
		t.Fatalf("no change was reported, want %v", want)
	}
}

// A database reports what others write and delete, on whichever server, and not what it writes
// itself nor what was not written.
func TestWatch(t *testing.T) {
	for _, name := range []string{"one server", "Cluster", "Sentinel"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			servers := arrangements[name](t)
			here := open(t, newClient(t, servers), redisstore.Options{})
			there := open(t, newClient(t, servers), redisstore.Options{})
			changes := watch(t, here)
			wantNext(t, changes, store.Change{})
			for user := range 10 { // on several servers
				owner := testenv.OwnerOf(user)
				own := mustPut(t, storeOf(t, here, owner), lockedKey, "own", "")
				s := storeOf(t, there, owner)
				if _, err := s.Put(t.Context(), lockedKey, nil, "another"); !errors.Is(err, store.ErrConflict) {
					t.Errorf("Put = %v", err)
				}
				revision := mustPut(t, s, lockedKey, "another's", own)
				wantNext(t, changes, store.Change{Owner: owner.ID(), Key: lockedKey.ID()})
				if err := s.Delete(t.Context(), lockedKey, revision); err != nil {
					t.Fatal(err)
				}
				wantNext(t, changes, store.Change{Owner: owner.ID(), Key: lockedKey.ID()})
			}
		})
	}
}

// When the connection was lost, anything may have changed.
func TestWatchAfterARestart(t *testing.T) {
	server := servicetest.StartRedis(t)
	db := open(t, newClient(t, addresses(server)), redisstore.Options{})
	changes := watch(t, db)
	wantNext(t, changes, store.Change{})
	server.Kill()
	server.Start()
	wantNext(t, changes, store.Change{})
	s := storeOf(t, open(t, newClient(t, addresses(server)), redisstore.Options{}), ada)
	mustPut(t, s, lockedKey, "", "")
	wantNext(t, changes, store.Change{Owner: ada.ID(), Key: lockedKey.ID()})
}

// When one replica has refreshed or removed a login, the other one sends the new token, or none.
func TestAppsSeeEachOthersChanges(t *testing.T) {
	servers := addresses(servicetest.StartRedis(t))
	testenv.New(t, testenv.Personality(t, "rotates-strictly")).Apps(
		open(t, newClient(t, servers), redisstore.Options{}),
		open(t, newClient(t, servers), redisstore.Options{}))
}

// What docs/stores.md grants is enough, also in a Cluster. A user of Redis who may not publish
// writes all the same.
func TestPermissions(t *testing.T) {
	alone := []*servicetest.Redis{servicetest.StartRedis(t)}
	user := strings.Fields("on >password ~handstamp:* +@connection -@dangerous +info +wait " +
		"+eval +evalsha +hget +hset +hdel +hmget +hvals +get +set +del +pexpire")
	follows := []string{"&handstamp:change", "+publish", "+subscribe"}
	for name, test := range map[string]struct {
		servers []*servicetest.Redis
		grants  []string
	}{
		"follows": {alone, follows},
		"mute":    {alone, []string{"resetchannels"}},
		"cluster": {servicetest.StartRedisCluster(t), append(slices.Clone(follows), "+cluster|slots")},
	} {
		t.Run(name, func(t *testing.T) {
			for _, server := range test.servers {
				server.Command(slices.Concat([]string{"acl", "setuser", name}, user, test.grants)...)
			}
			o := addresses(test.servers...)
			o.Username, o.Password = name, "password"
			db := open(t, newClient(t, o), redisstore.Options{})
			s := storeOf(t, db, store.Owner{User: name})
			db.SetPoll(0)
			changes := watch(t, db)
			wantNext(t, changes, store.Change{})
			if name == "mute" { // it cannot follow the changes
				wantNext(t, changes, store.Change{})
			}
			unlock, err := s.Lock(t.Context(), lockedKey, store.LockRefresh)
			if err != nil {
				t.Fatal(err)
			}
			defer unlock()
			revision := mustPut(t, s, lockedKey, "written", "")
			if keys, err := s.List(t.Context()); len(keys) != 1 || err != nil {
				t.Errorf("List = %v, %v", keys, err)
			}
			if err := s.Delete(t.Context(), lockedKey, revision); err != nil {
				t.Errorf("Delete = %v", err)
			}
			for _, server := range test.servers {
				denied := server.Command("acl", "log")
				if name != "mute" && strings.Contains(denied, name) {
					t.Errorf("it was denied something:\n%s", denied)
				}
			}
		})
	}
}
