//go:build unix

package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/servicetest"
)

// transactionLock is a way to have a lock that lasts as long as a transaction. Decision 0134 has
// what the benchmark below prints.
type transactionLock struct {
	name string

	// ready prepares the locks of n credentials.
	ready func(ctx context.Context, pool *pgxpool.Pool, n int) error

	// try takes the lock of a credential, or reports that it is held.
	try func(ctx context.Context, tx pgx.Tx, credential int) (held bool, err error)
}

var transactionLocks = []transactionLock{
	{
		name:  "advisory",
		ready: func(context.Context, *pgxpool.Pool, int) error { return nil },
		try: func(ctx context.Context, tx pgx.Tx, credential int) (held bool, err error) {
			err = tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock($1)", int64(credential)).Scan(&held)
			return held, err
		},
	},
	{
		name: "row",
		ready: func(ctx context.Context, pool *pgxpool.Pool, n int) error {
			_, err := pool.Exec(ctx, "CREATE TABLE IF NOT EXISTS lock "+
				"(id bytea, name text, PRIMARY KEY (id, name))")
			if err == nil {
				_, err = pool.Exec(ctx, "INSERT INTO lock SELECT sha256(i::text::bytea), 'refresh' "+
					"FROM generate_series(0, $1) AS i ON CONFLICT DO NOTHING", n)
			}
			return err
		},
		try: func(ctx context.Context, tx pgx.Tx, credential int) (held bool, err error) {
			err = tx.QueryRow(ctx, "SELECT true FROM lock WHERE id = sha256($1::text::bytea) "+
				"AND name = 'refresh' FOR UPDATE NOWAIT", fmt.Sprint(credential)).Scan(&held)
			if e, ok := errtype.As[*pgconn.PgError](err); ok && e.Code == "55P03" { // lock_not_available
				return false, nil
			}
			return held, err
		},
	},
}

// with takes the lock of a credential, does the work, and gives it back.
func (l transactionLock) with(
	ctx context.Context, pool *pgxpool.Pool, credential int, work func(),
) error {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		tx, err := pool.Begin(ctx)
		if err != nil {
			return err
		}
		held, err := l.try(ctx, tx, credential)
		if held {
			work()
		}
		if err = errors.Join(err, tx.Rollback(ctx)); err != nil || held {
			return err
		}
		time.Sleep(wait/2 + rand.N(wait))
	}
}

// BenchmarkLock compares locks, directly and through PgBouncer. "uncontended" takes those of 1000
// credentials with 8 connections; "waiters" has 50 take the same one, and hold it for 5 ms each.
func BenchmarkLock(b *testing.B) {
	const credentials, waiters = 1000, 50
	server := servicetest.StartPostgres(b)
	bouncer := servicetest.StartPgBouncer(b, server, 20)
	for _, way := range []struct{ name, url string }{
		{"direct", server.URL()}, {"pgbouncer", bouncer.URL()},
	} {
		pool, err := pgxpool.New(b.Context(), way.url+" pool_max_conns=8")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(pool.Close)
		for _, l := range transactionLocks {
			if err := l.ready(b.Context(), pool, credentials); err != nil {
				b.Fatal(err)
			}
			b.Run("uncontended/"+way.name+"/"+l.name, func(b *testing.B) {
				walBefore := walPosition(b, pool)
				b.SetParallelism(4)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := l.with(context.Background(), pool, rand.N(credentials), func() {}); err != nil {
							b.Error(err)
						}
					}
				})
				b.ReportMetric(float64(walPosition(b, pool)-walBefore)/float64(b.N), "WAL-B/op")
			})
			b.Run("waiters/"+way.name+"/"+l.name, func(b *testing.B) {
				for b.Loop() {
					var all sync.WaitGroup
					for range waiters {
						all.Go(func() {
							err := l.with(context.Background(), pool, 0, func() { time.Sleep(5 * time.Millisecond) })
							if err != nil {
								b.Error(err)
							}
						})
					}
					all.Wait()
				}
			})
		}
	}
}

func walPosition(b *testing.B, pool *pgxpool.Pool) (position int64) {
	b.Helper()
	err := pool.QueryRow(b.Context(), "SELECT (pg_current_wal_insert_lsn() - '0/0')::int8").
		Scan(&position)
	if err != nil {
		b.Fatal(err)
	}
	return position
}
