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
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
)

// outage is a login that two replicas have, at a server that ends a login whose refresh token is
// used twice, and whose access token has expired.
type outage struct {
	*testenv.Env
	first, second *handstamp.Client
}

func newOutage(t *testing.T, url string) *outage {
	t.Helper()
	o := &outage{Env: testenv.New(t, testenv.Personality(t, "rotates-strictly"))}
	for _, c := range []**handstamp.Client{&o.second, &o.first} {
		db, _ := openURL(t, url, pgstore.Options{})
		o.Store = storeOf(t, db, ownerOf(0))
		*c = o.Session()
		(*c).LoginPolicy = handstamp.LoginNever
	}
	o.MustLogin(o.Session())
	o.Expire()
	o.Lab.Reset()
	return o
}

// result is what a call of Token has returned.
type result struct {
	token *handstamp.Token
	err   error
}

func (o *outage) start(c *handstamp.Client) <-chan result {
	results := make(chan result, 1)
	go func() {
		got, err := c.Token(context.Background(), o.Lab.MCPURL(), handstamp.TokenOptions{})
		results <- result{got, err}
	}()
	return results
}

// hold starts a refresh, which waits at a point of the authorization server.
func (o *outage) hold(t *testing.T, point string) (*lab.Gate, <-chan result) {
	t.Helper()
	gate := o.Lab.Hold(point)
	t.Cleanup(gate.Release)
	results := o.start(o.first)
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
	defer cancel()
	if _, err := gate.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return gate, results
}

// wantSame checks that both replicas have the token of the one refresh.
func (o *outage) wantSame(t *testing.T, first, second result) {
	t.Helper()
	if first.err != nil || second.err != nil {
		t.Fatalf("the replicas got %v and %v\n%s", first.err, second.err, o.Diary())
	}
	if first.token.Value != second.token.Value {
		t.Error("the replicas have two tokens")
	}
	o.WantCounts(map[string]int{"token:refresh": 1, "authorize": 0})
	if a := o.Lab.Audit(); a.Reuses != 0 || a.FamiliesRevoked != 0 {
		t.Errorf("%d reuses, %d families revoked", a.Reuses, a.FamiliesRevoked)
	}
	o.MustCall(o.first)
	o.MustCall(o.second)
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
	gate, results := o.hold(t, "token:refresh:committed")
	server.Kill()
	gate.Release()
	first := <-results
	for end := time.Now().Add(long(time.Second, 30*time.Second)); time.Now().Before(end); {
		r := <-o.start(o.second)
		if !errors.Is(r.err, handstamp.ErrStore) || !errors.Is(r.err, store.ErrUnusable) {
			t.Fatalf("without a database: %v", r.err)
		}
		time.Sleep(100 * time.Millisecond) // so as not to keep the machine busy
	}
	server.Start()
	o.wantSame(t, first, <-o.start(o.second))
}

// The database is restarted while a refresh waits for the authorization server. Its lock ends with
// the connection, and still no other replica sends the refresh token.
func TestDatabaseRestartDuringARefresh(t *testing.T) {
	server := servicetest.StartPostgres(t)
	o := newOutage(t, server.URL())
	gate, results := o.hold(t, "token:refresh:committed")
	server.Kill()
	server.Start()
	waiting := o.start(o.second)
	ctx, cancel := context.WithTimeout(t.Context(), long(2*time.Second, 15*time.Second))
	defer cancel()
	if r, err := gate.Wait(ctx); err == nil {
		t.Errorf("another replica sent the refresh token: %v", r)
	}
	gate.Release()
	o.wantSame(t, <-results, <-waiting)
}

// A standby takes over while a refresh waits for the authorization server.
func TestFailoverDuringARefresh(t *testing.T) {
	primary := servicetest.StartPostgres(t, "synchronous_standby_names=*")
	standby := primary.StartStandby()
	o := newOutage(t, servicetest.URLs(primary, standby))
	gate, results := o.hold(t, "token:refresh:committed")
	primary.Kill()
	waiting := o.start(o.second)
	standby.Promote()
	ctx, cancel := context.WithTimeout(t.Context(), long(time.Second, 15*time.Second))
	defer cancel()
	if r, err := gate.Wait(ctx); err == nil {
		t.Errorf("another replica sent the refresh token: %v", r)
	}
	gate.Release()
	first := <-results
	second := <-waiting
	if errors.Is(second.err, store.ErrUnusable) { // it came before the standby took over
		second = <-o.start(o.second)
	}
	o.wantSame(t, first, second)
}

// Without a database no refresh begins: the refresh token is still good when it is back.
func TestNoRefreshBeginsWithoutADatabase(t *testing.T) {
	server := servicetest.StartPostgres(t)
	o := newOutage(t, server.URL())
	server.Kill()
	for _, c := range []*handstamp.Client{o.first, o.second} {
		r := <-o.start(c)
		if !errors.Is(r.err, handstamp.ErrStore) || !errors.Is(r.err, store.ErrUnusable) {
			t.Errorf("without a database: %v", r.err)
		}
	}
	o.WantCounts(map[string]int{"token:refresh": 0})
	server.Start()
	o.wantSame(t, <-o.start(o.first), <-o.start(o.second))
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
	gate, results := o.hold(t, "token:refresh:committed")
	server.Pause()
	began := time.Now()
	gate.Release()
	first := <-results
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the token that is at hand took %v", took)
	}
	r := <-o.start(o.second)
	if !errors.Is(r.err, handstamp.ErrStore) {
		t.Errorf("while the database hangs: %v", r.err)
	}
	server.Resume()
	o.wantSame(t, first, <-o.start(o.second))
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
