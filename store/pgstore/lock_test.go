//go:build unix

package pgstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
)

// holderVariable holds the database in which a process of this test binary holds a lock.
const holderVariable = "HANDSTAMP_TEST_HOLDER"

var lockedKey = store.Key{Server: "https://a.example/mcp", Profile: store.DefaultProfile}

// writes is what a holder's database begins with if it is to write under the lock.
const writes = "writes "

// hold takes a lock, says so, and holds it until the process ends.
func hold(ctx context.Context, database string) error {
	database, writing := strings.CutPrefix(database, writes)
	pool, err := pgxpool.New(ctx, database)
	if err != nil {
		return err
	}
	db, err := pgstore.New(ctx, pool, pgstore.Options{})
	if err != nil {
		return err
	}
	s, err := db.Store(ownerOf(0))
	if err != nil {
		return err
	}
	if _, err := s.Lock(ctx, lockedKey, store.LockRefresh); err != nil {
		return err
	}
	if writing {
		value, revision, err := s.Get(ctx, lockedKey)
		if err == nil {
			_, err = s.Put(ctx, lockedKey, value, revision)
		}
		if err != nil {
			return err
		}
	}
	fmt.Println("locked")
	select {}
}

// startHolder starts a process that holds the lock.
func startHolder(t *testing.T, url string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holderVariable+"="+url)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		t.Fatalf("the holder printed %q, %v", line, err)
	}
	return cmd
}

// lockWithin returns the error of a wait for the lock, which is given back.
func lockWithin(t *testing.T, s store.Store, d time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	unlock, err := s.Lock(ctx, lockedKey, store.LockRefresh)
	if err == nil {
		unlock()
	}
	return err
}

// The lock of a refresh is held by a holder that is suspended, even where the server ends
// transactions that are idle, and ends with the holder's process.
func TestLockLastsAsLongAsItsHolder(t *testing.T) {
	server := servicetest.StartPostgres(t, "idle_in_transaction_session_timeout=100ms")
	db, _ := open(t, server, pgstore.Options{})
	s := storeOf(t, db, ownerOf(0))
	holder := startHolder(t, server.URL())
	if err := holder.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := lockWithin(t, s, time.Second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside a suspended holder: %v", err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := lockWithin(t, s, testenv.Timeout); err != nil {
		t.Errorf("after the holder was killed: %v", err)
	}
}

// farAway delays each batch of statements, as a server does that is far away.
type farAway struct{}

func (farAway) TraceBatchStart(
	ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData,
) context.Context {
	time.Sleep(50 * time.Millisecond) // the distance itself
	return ctx
}

func (farAway) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (farAway) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func (farAway) TraceQueryStart(
	ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData,
) context.Context {
	return ctx
}
func (farAway) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// A server that ends idle transactions sooner than the next statement reaches it does not keep the
// lock from being had.
func TestLockOfAServerThatIsFarAway(t *testing.T) {
	server := servicetest.StartPostgres(t, "idle_in_transaction_session_timeout=5ms")
	c := config(t, server.URL())
	c.ConnConfig.Tracer = farAway{}
	db, _ := openConfig(t, c, pgstore.Options{})
	if err := lockWithin(t, storeOf(t, db, ownerOf(0)), testenv.Timeout); err != nil {
		t.Error(err)
	}
}

// Those who wait for a lock hold no connection: whatever else the pool is for goes on.
func TestWaitersHoldNoConnection(t *testing.T) {
	server := servicetest.StartPostgres(t)
	db, pool := open(t, server, pgstore.Options{Refreshes: 2})
	startHolder(t, server.URL())
	s := storeOf(t, db, ownerOf(0))
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error)
	const waiters = 50
	for i := range waiters {
		name := store.LockRefresh
		if i%2 == 0 {
			name = store.LockLogin
		}
		go func() {
			unlock, err := s.Lock(ctx, lockedKey, name)
			for err == nil { // as many as there are, one after the other
				unlock()
				unlock, err = s.Lock(ctx, lockedKey, name)
			}
			waited <- err
		}()
	}
	other := storeOf(t, db, ownerOf(1))
	for range 20 {
		if err := lockWithin(t, other, testenv.Timeout); err != nil {
			t.Errorf("the lock of another credential: %v", err)
		}
	}
	cancel()
	for range waiters {
		if err := <-waited; !errors.Is(err, context.Canceled) {
			t.Errorf("a wait ended with %v", err)
		}
	}
	for range pool.Config().MaxConns {
		ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
		defer cancel()
		conn, err := pool.Acquire(ctx)
		if err != nil {
			t.Fatalf("a connection is still used: %v", err)
		}
		defer conn.Release()
	}
}

// A database that crashes takes its locks with it. The store goes on once it is there again.
func TestDatabaseRestart(t *testing.T) {
	server := servicetest.StartPostgres(t)
	db, _ := open(t, server, pgstore.Options{})
	s := storeOf(t, db, ownerOf(0))
	revision := mustPut(t, s, lockedKey, []byte("kept"))
	unlock, err := s.Lock(t.Context(), lockedKey, store.LockRefresh)
	if err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if _, _, err := s.Get(t.Context(), lockedKey); !errors.Is(err, store.ErrUnusable) {
		t.Errorf("without a database: %v", err)
	}
	if err := lockWithin(t, storeOf(t, db, ownerOf(1)), time.Second); err == nil ||
		strings.Contains(err.Error(), "password") {
		t.Errorf("the lock without a database: %v", err)
	}
	unlock()
	server.Start()
	if err := lockWithin(t, s, testenv.Timeout); err != nil {
		t.Errorf("the lock after a restart: %v", err)
	}
	if value, now, err := s.Get(t.Context(), lockedKey); string(value) != "kept" || now != revision {
		t.Errorf("after a restart: %q, %v", value, err)
	}
}

// A lock that is held for a minute is not in the way of VACUUM, neither by a transaction's number
// nor by a snapshot, both before and after the first write under it.
func TestLockDoesNotHoldVacuumUp(t *testing.T) {
	db, pool := open(t, servicetest.StartPostgres(t), pgstore.Options{})
	s := storeOf(t, db, ownerOf(0))
	revision := mustPut(t, s, lockedKey, nil)
	unlock, err := s.Lock(t.Context(), lockedKey, store.LockRefresh)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	for _, when := range []string{"before a write", "after a write"} {
		var open, held int
		err := pool.QueryRow(t.Context(), "SELECT count(*), count(*) FILTER "+
			"(WHERE backend_xid IS NOT NULL OR backend_xmin IS NOT NULL) "+
			"FROM pg_stat_activity WHERE state = 'idle in transaction'").Scan(&open, &held)
		if err != nil || open != 1 || held != 0 {
			t.Errorf("%s: %d of %d transactions hold VACUUM up, %v", when, held, open, err)
		}
		if revision, err = s.Put(t.Context(), lockedKey, nil, revision); err != nil {
			t.Fatal(err)
		}
	}
}
