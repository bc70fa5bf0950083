//go:build unix

package pgstore_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
)

// newOutage signs two replicas in, each with a pool of its own.
func newOutage(t *testing.T, url string) *testenv.Outage {
	t.Helper()
	return testenv.NewOutage(t, func() store.Store {
		db, _ := openURL(t, url, pgstore.Options{})
		return storeOf(t, db, ownerOf(0))
	})
}

// long returns a time that is as long as it is in the field where there is time.
func long(short, field time.Duration) time.Duration {
	if testenv.Long() {
		return field
	}
	return short
}

// The database is down when the new refresh token arrives. The replica that has it goes on with it,
// the other one fails with the right error, and neither needs a restart once the database is back.
func TestDatabaseDownWhenATokenArrives(t *testing.T) {
	server := servicetest.StartPostgres(t)
	o := newOutage(t, server.URL())
	gate, results := o.Hold("token:refresh:committed")
	server.Kill()
	gate.Release()
	first := <-results
	for end := time.Now().Add(long(time.Second, 30*time.Second)); time.Now().Before(end); {
		r := <-o.Start(o.Second)
		if !errors.Is(r.Err, handstamp.ErrStore) || !errors.Is(r.Err, store.ErrUnusable) {
			t.Fatalf("without a database: %v", r.Err)
		}
		time.Sleep(100 * time.Millisecond) // so as not to keep the machine busy
	}
	server.Start()
	o.WantSame(first, <-o.Start(o.Second))
}

// The database is restarted while a refresh waits for the authorization server. Its lock ends with
// the connection, and still no other replica sends the refresh token.
func TestDatabaseRestartDuringARefresh(t *testing.T) {
	server := servicetest.StartPostgres(t)
	o := newOutage(t, server.URL())
	gate, results := o.Hold("token:refresh:committed")
	server.Kill()
	server.Start()
	waiting := o.Start(o.Second)
	ctx, cancel := context.WithTimeout(t.Context(), long(2*time.Second, 15*time.Second))
	defer cancel()
	if r, err := gate.Wait(ctx); err == nil {
		t.Errorf("another replica sent the refresh token: %v", r)
	}
	gate.Release()
	o.WantSame(<-results, <-waiting)
}

// A standby takes over while a refresh waits for the authorization server.
func TestFailoverDuringARefresh(t *testing.T) {
	primary := servicetest.StartPostgres(t, "synchronous_standby_names=*")
	standby := primary.StartStandby()
	o := newOutage(t, servicetest.URLs(primary, standby))
	gate, results := o.Hold("token:refresh:committed")
	primary.Kill()
	waiting := o.Start(o.Second)
	standby.Promote()
	ctx, cancel := context.WithTimeout(t.Context(), long(time.Second, 15*time.Second))
	defer cancel()
	if r, err := gate.Wait(ctx); err == nil {
		t.Errorf("another replica sent the refresh token: %v", r)
	}
	gate.Release()
	first := <-results
	second := <-waiting
	if errors.Is(second.Err, store.ErrUnusable) { // it came before the standby took over
		second = <-o.Start(o.Second)
	}
	o.WantSame(first, second)
}

// Without a database no refresh begins: the refresh token is still good when it is back.
func TestNoRefreshBeginsWithoutADatabase(t *testing.T) {
	server := servicetest.StartPostgres(t)
	o := newOutage(t, server.URL())
	server.Kill()
	for _, c := range []*handstamp.Client{o.First, o.Second} {
		r := <-o.Start(c)
		if !errors.Is(r.Err, handstamp.ErrStore) || !errors.Is(r.Err, store.ErrUnusable) {
			t.Errorf("without a database: %v", r.Err)
		}
	}
	o.WantCounts(map[string]int{"token:refresh": 0})
	server.Start()
	o.WantSame(<-o.Start(o.First), <-o.Start(o.Second))
}

// The database does not respond any more when the new refresh token arrives, and goes on later,
// with whatever it was sent meanwhile. A write that timed out may have been carried out. The
// caller has the token long before.
func TestDatabaseHangsWhenATokenArrives(t *testing.T) {
	if !testenv.Long() {
		t.Skip("takes a minute")
	}
	server := servicetest.StartPostgres(t)
	o := newOutage(t, server.URL())
	gate, results := o.Hold("token:refresh:committed")
	server.Pause()
	began := time.Now()
	gate.Release()
	first := <-results
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the token that is at hand took %v", took)
	}
	r := <-o.Start(o.Second)
	if !errors.Is(r.Err, handstamp.ErrStore) {
		t.Errorf("while the database hangs: %v", r.Err)
	}
	server.Resume()
	o.WantSame(first, <-o.Start(o.Second))
}

// A server that is there and does not respond is reported within seconds, by each write, also of a
// pool that waits for connections for ever. When another one takes its place, locks are had there,
// although the first one keeps what it has accepted.
func TestSilentServer(t *testing.T) {
	server := servicetest.StartPostgres(t)
	open(t, server, pgstore.Options{})
	dir, err := os.MkdirTemp("", "mute") // the path of a socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const socket = ".s.PGSQL.5432"
	mute, err := net.Listen("unix", filepath.Join(dir, socket))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), "host="+dir+
		" user=postgres dbname=postgres pool_max_conns=1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	db, err := pgstore.New(t.Context(), pool, pgstore.Options{Refreshes: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	s := storeOf(t, db, ownerOf(0))
	for range 2 {
		began := time.Now()
		_, err := s.Put(t.Context(), lockedKey, []byte("value"), "")
		if !errors.Is(err, store.ErrUnusable) || time.Since(began) > 25*time.Second {
			t.Errorf("Put = %v after %v", err, time.Since(began))
		}
	}
	impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Lock(impatient, lockedKey, store.LockRefresh); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lock = %v", err)
	}
	mute.Close()
	if err := os.Symlink(filepath.Join(filepath.Dir(server.Dir()), socket), filepath.Join(dir, socket)); err != nil {
		t.Fatal(err)
	}
	mustLock(t, s)()
}
