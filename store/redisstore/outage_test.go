//go:build unix

package redisstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/redisstore"
)

// newOutage signs two replicas in, each with a client of its own.
func newOutage(t *testing.T, servers *redis.UniversalOptions, o redisstore.Options) *testenv.Outage {
	t.Helper()
	return testenv.NewOutage(t, func() store.Store {
		return storeOf(t, open(t, newClient(t, servers), o), ada)
	})
}

// The database is down when the new refresh token arrives. The replica that has it goes on with it,
// the other one fails with the right error, and neither needs a restart once the database is back.
func TestDatabaseDownWhenATokenArrives(t *testing.T) {
	t.Parallel()
	server := servicetest.StartRedis(t)
	o := newOutage(t, addresses(server), redisstore.Options{})
	gate, results := o.Hold("token:refresh:committed")
	server.Kill()
	gate.Release()
	for range 3 {
		r := <-o.Start(o.Second)
		if !errors.Is(r.Err, handstamp.ErrStore) || !errors.Is(r.Err, store.ErrUnusable) {
			t.Fatalf("without a database: %v", r.Err)
		}
	}
	server.Start()
	o.WantSame(<-results, <-o.Start(o.Second))
}

// The database is restarted while a refresh waits for the authorization server. The lock of the
// replica that refreshes is there again, and no other one sends the refresh token.
func TestDatabaseRestartDuringARefresh(t *testing.T) {
	t.Parallel()
	server := servicetest.StartRedis(t)
	o := newOutage(t, addresses(server), redisstore.Options{})
	gate, results := o.Hold("token:refresh:committed")
	server.Kill()
	server.Start()
	waiting := o.Start(o.Second)
	wantNoOther(t, gate, 2*time.Second)
	gate.Release()
	o.WantSame(<-results, <-waiting)
}

// Sentinel promotes a server that has what the primary one had, while a refresh waits for the
// authorization server.
func TestFailoverDuringARefresh(t *testing.T) {
	t.Parallel()
	g := servicetest.StartRedisGroup(t, 2)
	o := newOutage(t, group(g), redisstore.Options{Replicas: 1})
	gate, results := o.Hold("token:refresh:committed")
	g.CatchUp()
	g.Failover()
	waiting := o.Start(o.Second)
	wantNoOther(t, gate, time.Second)
	gate.Release()
	first, second := <-results, <-waiting
	for end := time.Now().Add(testenv.Timeout); errors.Is(second.Err, store.ErrUnusable) && time.Now().Before(end); {
		second = <-o.Start(o.Second) // it came before its client had found the new primary server
	}
	o.WantSame(first, second)
}

// wantNoOther checks that the refresh token is not sent a second time meanwhile.
func wantNoOther(t *testing.T, gate *lab.Gate, meanwhile time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), meanwhile)
	defer cancel()
	if r, err := gate.Wait(ctx); err == nil {
		t.Errorf("another replica sent the refresh token: %v", r)
	}
}
