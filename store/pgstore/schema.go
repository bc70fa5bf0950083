package pgstore

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/store"
)

// Schema is the SQL that creates the tables. It may be run any number of times.
//
//go:embed schema.sql
var Schema string

// CreateSchema runs [Schema]. Any number of replicas may do it at once. A role that may not create
// tables finds out whether they are there, and whether it may do with them what a Database does.
func (db *Database) CreateSchema(ctx context.Context) error {
	// The setting comes with it: the server may be far away, and a short timeout end the transaction
	// before the next statement.
	begin := pgx.TxOptions{BeginQuery: "BEGIN ISOLATION LEVEL READ COMMITTED; " +
		"SET LOCAL idle_in_transaction_session_timeout = 0"}
	err := pgx.BeginTxFunc(ctx, db.pool, begin, func(tx pgx.Tx) error {
		// CREATE TABLE IF NOT EXISTS fails when two do it at once.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", db.unprepared, schemaLock); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, Schema, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if e, ok := errtype.As[*pgconn.PgError](err); ok && e.Code == insufficientPrivilege {
		return db.checkRights(ctx, err)
	}
	if err != nil {
		return unusable(ctx, err)
	}
	return nil
}

// insufficientPrivilege is the code of what a role may not do.
const insufficientPrivilege = "42501"

// checkRights returns an error that names what the role may not do, and nil if there is nothing.
func (db *Database) checkRights(ctx context.Context, reason error) error {
	var lacks *string
	err := db.pool.QueryRow(ctx, `
		SELECT string_agg(name || ' (' || rights || ')', ', ' ORDER BY name) FROM (
			SELECT name, string_agg(privilege, ', ' ORDER BY privilege) AS rights
			FROM unnest(ARRAY['handstamp_credential', 'handstamp_lease', 'handstamp_due']) AS name,
				unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
			WHERE NOT coalesce(has_table_privilege(to_regclass(name), privilege), false)
			GROUP BY name
		) AS lacks`, db.unprepared).Scan(&lacks)
	switch {
	case err != nil:
		return unusable(ctx, err)
	case lacks != nil:
		return fmt.Errorf("%w: PostgreSQL: the role lacks rights on tables, or they are missing: %s: %w",
			store.ErrUnusable, *lacks, reason)
	}
	return nil
}
