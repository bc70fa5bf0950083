//go:build unix

package pgstore_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
	"github.com/handstamp/handstamp/store/storetest"
)

// A role that may not create tables is enough behind PgBouncer, too, whose connections keep what a
// replica has prepared.
func TestRoleThatCreatesNothingBehindPgBouncer(t *testing.T) {
	server := servicetest.StartPostgres(t)
	_, admin := open(t, server, pgstore.Options{})
	for _, sql := range []string{
		"CREATE ROLE app LOGIN",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app",
	} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	url := strings.Replace(servicetest.StartPgBouncer(t, server, 1).URL(), "dbname=postgres", "dbname=app", 1)
	for replica := range 3 { // each of which meets the statements of the one before
		pool, err := pgxpool.New(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		db, err := pgstore.New(t.Context(), pool, pgstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.CreateSchema(t.Context()); err != nil {
			t.Errorf("replica %d: %v", replica, err)
		}
		db.Close()
		pool.Close()
	}
}

// A role that may not create tables, but use them all, is enough. Where it may not use one, it is
// named, whichever that is: without this check the first login would find out.
func TestRoleThatCreatesNothing(t *testing.T) {
	server := servicetest.StartPostgres(t)
	_, admin := open(t, server, pgstore.Options{})
	run := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	run("CREATE ROLE app LOGIN")
	pool, err := pgxpool.New(t.Context(), strings.Replace(server.URL(), "user=postgres", "user=app", 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	db, err := pgstore.New(t.Context(), pool, pgstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	for _, found := range regexp.MustCompile("CREATE TABLE IF NOT EXISTS ([a-z_]+)").
		FindAllStringSubmatch(pgstore.Schema, -1) {
		err := db.CreateSchema(t.Context())
		if !errors.Is(err, store.ErrUnusable) || !strings.Contains(err.Error(), found[1]) {
			t.Errorf("without rights on %s: %v", found[1], err)
		}
		run("GRANT SELECT, INSERT, UPDATE, DELETE ON " + found[1] + " TO app")
	}
	if err := db.CreateSchema(t.Context()); err != nil {
		t.Error(err)
	}
	storetest.Run(t, func(t *testing.T) store.Store {
		return storeOf(t, db, store.Owner{Tenant: t.Name()})
	})
	run("DROP TABLE handstamp_due")
	if err := db.CreateSchema(t.Context()); !errors.Is(err, store.ErrUnusable) {
		t.Errorf("without a table: %v", err)
	}
}
