package pgstore

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp/internal/errtype"
)

// Statements are prepared in a connection and found there again, as pgx does it by default, until a
// pooler such as PgBouncer in transaction mode takes another connection for the next one. Then the
// server has no such statement, or has one from elsewhere, and says so before it carries anything
// out. From the first such error on nothing is prepared any more.

// Codes of a prepared statement that another connection has.
const (
	noStatement    = "26000"
	statementThere = "42P05"
)

// misplaced reports whether a statement failed because a pooler took another connection for it.
func misplaced(err error) bool {
	e, ok := errtype.As[*pgconn.PgError](err)
	return ok && (e.Code == noStatement || e.Code == statementThere)
}

// notice notes a pooler by the error of a statement.
func (db *Database) notice(err error) {
	if misplaced(err) {
		db.pooled.Store(true)
	}
}

// unprepared returns the mode that prepares nothing.
func unprepared(pool *pgxpool.Pool) pgx.QueryExecMode {
	if mode := pool.Config().ConnConfig.DefaultQueryExecMode; mode == pgx.QueryExecModeSimpleProtocol {
		return mode // does not either, and was chosen
	}
	return pgx.QueryExecModeExec
}

// session is a connection of the pool, whose statements are prepared as long as no pooler is known.
type session struct {
	*pgxpool.Conn
	mode []any // the first arguments of a statement
}

func (db *Database) session(conn *pgxpool.Conn) session {
	s := session{Conn: conn}
	if db.pooled.Load() {
		s.mode = []any{db.unprepared}
	}
	return s
}

func (s session) args(args []any) []any { return append(s.mode[:len(s.mode):len(s.mode)], args...) }

// Exec hides the one of the connection, as the others do.
func (s session) Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error) {
	return s.Conn.Exec(ctx, query, s.args(args)...)
}

func (s session) Query(ctx context.Context, query string, args ...any) (pgx.Rows, error) {
	return s.Conn.Query(ctx, query, s.args(args)...)
}

func (s session) QueryRow(ctx context.Context, query string, args ...any) pgx.Row {
	return s.Conn.QueryRow(ctx, query, s.args(args)...)
}
