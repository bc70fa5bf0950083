package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/store"
)

const (
	// writeTimeout bounds a write with the wait for its connection. Once it has begun, the caller's
	// context does not end it, and a connection that breaks is replaced.
	writeTimeout = 5 * time.Second

	// readTimeout bounds how long a read replaces connections that break, from the first one on.
	readTimeout = time.Second

	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second
)

// read reads in a connection of the pool, and in another one if that was broken, as all of them are
// after a restart of the server. Without a server it fails at once.
func (db *Database) read(ctx context.Context, query func(session) error) error {
	var giveUp time.Time
	for wait := firstRetry; ; wait *= 2 {
		conn, err := db.pool.Acquire(ctx)
		if err != nil {
			return unusable(ctx, err)
		}
		err = query(db.session(conn))
		conn.Release()
		db.notice(err)
		switch {
		case err == nil || errors.Is(err, pgx.ErrNoRows):
			return err
		case ctx.Err() != nil || !broken(err) || wait > firstRetry && time.Now().After(giveUp):
			return unusable(ctx, err)
		case wait == firstRetry:
			giveUp = time.Now().Add(readTimeout)
		}
		if err := pause(ctx, wait); err != nil {
			return unusable(ctx, err)
		}
	}
}

// write carries out a statement that may be carried out twice, and returns how many rows it has
// changed. Once it is sent, ctx does not end it: the value may be the only copy of a refresh token.
// If the connection breaks before the server has responded, it is sent again, in another one.
func (db *Database) write(ctx context.Context, query string, args ...any) (rows int64, err error) {
	defer func() {
		// The server may have vanished, and have closed none of them: each would be tried in turn.
		if errors.Is(err, errSilent) && db.pool.Stat().IdleConns() > 0 {
			db.pool.Reset()
		}
	}()
	// By the time that the process is awake: after a stop the response only needs to be read.
	sending, cancel := awake.WithTimeout(context.WithoutCancel(ctx), writeTimeout, nil)
	defer cancel()
	// A server that is there and does not respond also keeps others' connections from being had.
	acquiring, stop := awake.WithTimeout(ctx, writeTimeout, nil)
	defer stop()
	sent := false
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		conn, err := db.pool.Acquire(acquiring)
		switch {
		case err == nil && acquiring.Err() == nil:
			var tag pgconn.CommandTag
			tag, err = exec(sending, db.session(conn), query, args)
			db.notice(err)
			if err == nil {
				return tag.RowsAffected(), unclear(sent, tag)
			}
			if sent = sent || !misplaced(err) && !pgconn.SafeToRetry(err); sent {
				acquiring = sending
			}
			if !broken(err) {
				return 0, unusable(sending, err)
			}
		case err == nil:
			conn.Release()
			return 0, silent(ctx, acquiring.Err())
		case !sent || !broken(err):
			return 0, silent(ctx, err)
		}
		if pause(sending, wait) != nil {
			if e, ok := errtype.As[*pgconn.PgError](err); ok { // which responds, as one does that is read-only
				return 0, fmt.Errorf("%w: PostgreSQL: %w", store.ErrUnusable, e)
			}
			return 0, errSilent
		}
	}
}

// errSilent is what a write returns that had no response in its time.
var errSilent error = unusableError("PostgreSQL did not respond to a write for " + writeTimeout.String())

// unusableError is [store.ErrUnusable] with a reason. Package fmt would be at work before main
// begins, in every program that has this package.
type unusableError string

func (e unusableError) Error() string { return store.ErrUnusable.Error() + ": " + string(e) }

func (unusableError) Unwrap() error { return store.ErrUnusable }

// silent is [unusable] for a write that was not sent.
func silent(ctx context.Context, err error) error {
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return errSilent
	}
	return unusable(ctx, err)
}

// errUnclear is what a write returns that is not there, although it may have been carried out before
// its connection broke: another write came after it, or in its place.
var errUnclear error = unusableError("the connection to PostgreSQL broke during a write, and it is not " +
	"known whether it was carried out before another one was")

// unclear returns errUnclear for a statement that was sent before and has changed nothing now.
func unclear(sent bool, tag pgconn.CommandTag) error {
	if sent && tag.RowsAffected() == 0 {
		return errUnclear
	}
	return nil
}

// exec carries out a statement, and gives the connection back.
func exec(
	ctx context.Context, conn session, query string, args []any,
) (tag pgconn.CommandTag, err error) {
	defer conn.Release()
	tag, err = conn.Exec(ctx, query, args...)
	leaveReadOnly(ctx, conn.Conn, err)
	return tag, err
}

// leaveReadOnly closes a connection whose server takes no writes, so that the next one is to the server
// that took over.
func leaveReadOnly(ctx context.Context, conn *pgxpool.Conn, err error) {
	if e, ok := errtype.As[*pgconn.PgError](err); ok && e.Code == readOnly {
		_ = conn.Conn().Close(ctx)
	}
}

// readOnly is the code of a server that was demoted.
const readOnly = "25006"

// broken reports whether the connection, the server or a pooler has failed, and not the statement.
func broken(err error) bool {
	e, ok := errtype.As[*pgconn.PgError](err)
	if !ok {
		return true
	}
	switch e.Code {
	case readOnly, noStatement, statementThere,
		"40001", "40P01", "53300": // serialization, deadlock, too many connections
		return true
	}
	// Connection exceptions, and a server that shuts down, crashed or comes up.
	return strings.HasPrefix(e.Code, "08") || strings.HasPrefix(e.Code, "57P")
}
