package pgstore

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/handstamp/handstamp/store"
)

const (
	// defaultPoll is how often everything is taken for changed where nothing listens.
	defaultPoll = time.Minute

	// quietTime is how long a connection that listens may say nothing before it is tested.
	quietTime = 20 * time.Second

	connectTimeout = 10 * time.Second

	// pingTimeout bounds the trial of a connection that was idle.
	pingTimeout = 2 * time.Second
)

// Watch implements [store.Watcher]. It has a connection of its own, which it opens again when it is
// lost. Without it, or without [Options.Listen], everything may have changed each [Options.Poll].
func (db *Database) Watch(ctx context.Context, changed func(store.Change)) error {
	if db.listen == nil {
		return db.poll(ctx, changed)
	}
	poll := cmp.Or(db.pollEach, defaultPoll)
	reported := time.Now()
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		listened, pooled := db.follow(ctx, changed)
		if pooled {
			return db.poll(ctx, changed)
		}
		if listened {
			reported, wait = time.Now(), firstRetry
		}
		if time.Since(reported) >= poll {
			reported = time.Now()
			changed(store.Change{})
		}
		if err := pause(ctx, wait/2+rand.N(wait)); err != nil {
			return err
		}
	}
}

var _ store.Watcher = (*Database)(nil)

// follow reports changes until the connection is lost, and whether there was one, or one that ends at
// a pooler.
func (db *Database) follow(ctx context.Context, changed func(store.Change)) (listened, pooled bool) {
	connecting, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(connecting, db.listen.Copy())
	if err != nil {
		return false, false
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), unlockTimeout)
		defer cancel()
		_ = conn.Close(closing)
	}()
	if pooled, err := isPooled(connecting, conn); pooled || err != nil {
		return false, pooled
	}
	_, err = conn.Exec(connecting, "LISTEN "+channel, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return false, false
	}
	changed(store.Change{}) // before it listened
	for {
		quiet, cancel := context.WithTimeout(ctx, quietTime)
		n, err := conn.WaitForNotification(quiet)
		cancel()
		switch {
		case err == nil:
			for _, change := range db.changes.changesIn(n.Payload) {
				changed(change)
			}
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) || ping(ctx, conn) != nil:
			return true, false
		}
	}
}

// isPooled reports whether a connection ends at a pooler such as PgBouncer, which would take LISTEN and
// pass no notification on: its process is not the server's.
func isPooled(ctx context.Context, conn *pgx.Conn) (bool, error) {
	var pid uint32
	err := conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&pid)
	return err == nil && pid != conn.PgConn().PID(), err
}

// ping finds out whether a connection that says nothing is still there.
func ping(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return conn.Ping(ctx)
}

func (db *Database) poll(ctx context.Context, changed func(store.Change)) error {
	for {
		changed(store.Change{})
		if err := pause(ctx, cmp.Or(db.pollEach, defaultPoll)); err != nil {
			return err
		}
	}
}

// pause waits for d, or returns the error of a context that has ended.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
