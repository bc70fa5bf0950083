//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/handstamp/handstamp/internal/checksum"
	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/textlist"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
	"github.com/handstamp/handstamp/store/sealed"
)

// database is a PostgreSQL server with the credentials of many users, each of whom has one, and one
// user who has listed ones.
type database struct {
	url      string
	pool     *pgxpool.Pool
	store    *pgstore.Database
	rawKey   []byte
	key      sealed.Key
	template *template
	rows     int // so far
}

// listed is how many logins the user has whose logins are listed.
const listed = 100

// connections is how many a replica's pool has.
const connections = 16

// measureDatabase measures what there is to measure of PostgreSQL.
func measureDatabase(ctx context.Context, r *report) (err error) {
	progress("starting PostgreSQL")
	end := new(ending)
	defer end.run()
	defer func() {
		if failure, ok := recover().(failure); ok {
			err = failure.err
		}
	}()
	server := servicetest.StartPostgres(end, "fsync=on", "full_page_writes=on", "max_connections=300", "shared_buffers=1GB",
		"max_wal_size=8GB", "wal_level=minimal", "max_wal_senders=0", "checkpoint_timeout=1h")
	as, err := lab.Start(lab.NoneFirst())
	if err != nil {
		return err
	}
	end.Cleanup(as.Close)
	d := &database{url: server.URL(), rawKey: make([]byte, sealed.KeySize)}
	rand.Read(d.rawKey)
	if d.key, err = sealed.NewKey(d.rawKey); err != nil {
		return err
	}
	if d.template, err = signIn(ctx, as, time.Now().Add(24*time.Hour)); err != nil {
		return err
	}
	if d.pool, err = openPool(ctx, d.url, connections); err != nil {
		return err
	}
	end.Cleanup(d.pool.Close)
	d.store, err = pgstore.New(ctx, d.pool, pgstore.Options{Keys: []sealed.Key{d.key}})
	if err != nil {
		return err
	}
	end.Cleanup(d.store.Close)
	if err := d.store.CreateSchema(ctx); err != nil {
		return err
	}
	if err := d.fillListed(ctx); err != nil {
		return err
	}
	return d.measure(ctx, r)
}

// measure fills the database, step by step.
func (d *database) measure(ctx context.Context, r *report) error {
	for rows := 1000; ; rows = min(10*rows, r.rows) {
		rows = min(rows, r.rows)
		progress("%s credentials in PostgreSQL", count(rows))
		if err := d.fill(ctx, rows); err != nil {
			return err
		}
		last := rows == r.rows
		if err := d.measureLookups(ctx, r, last); err != nil {
			return err
		}
		if last {
			break
		}
	}
	for _, part := range []func(context.Context, *report) error{
		d.measureList, d.measureHits, d.measureMemory, d.measureRefreshes,
	} {
		if err := part(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func openPool(ctx context.Context, url string, size int32) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns, config.MinConns = size, size
	return pgxpool.NewWithConfig(ctx, config)
}

// owner returns a user, who has one login, at the template's server.
func owner(number int) store.Owner {
	return store.Owner{Tenant: "tenant-" + strconv.Itoa(number/1000), User: strconv.Itoa(number)}
}

var listOwner = store.Owner{Tenant: "listed", User: "ada"}

// fillListed stores the logins of the user who has many.
func (d *database) fillListed(ctx context.Context) error {
	s, err := d.store.Store(listOwner)
	if err != nil {
		return err
	}
	for i := range listed {
		key, value, err := d.template.at(i)
		if err != nil {
			return err
		}
		if _, err := s.Put(ctx, key, value, ""); err != nil {
			return err
		}
	}
	return nil
}

// fill adds users until there are rows. They are sent with COPY: a million Puts would take longer
// than all that is measured.
func (d *database) fill(ctx context.Context, rows int) error {
	number := d.rows
	key := d.template.record.Key
	columns := []string{"id", "tenant", "user_name", "server", "profile", "value", "revision"}
	var failed error
	copied, err := d.pool.CopyFrom(ctx, pgx.Identifier{"handstamp_credential"}, columns,
		pgx.CopyFromFunc(func() ([]any, error) {
			if number == rows {
				return nil, failed
			}
			o := owner(number)
			id := rowID(o, key)
			box, err := d.seal(ctx, o, key, d.template.value(number))
			number++
			return []any{id, o.Tenant, o.User, key.Server, key.Profile, checksum.Add(id, box), rand.Text()}, err
		}))
	if err == nil && copied != int64(rows-d.rows) {
		err = fmt.Errorf("%d of %d rows were copied", copied, rows-d.rows)
	}
	if err != nil {
		return err
	}
	d.rows = rows
	_, err = d.pool.Exec(ctx, "VACUUM ANALYZE handstamp_credential")
	return err
}

// seal returns what pgstore keeps of a value beside its checksum.
func (d *database) seal(ctx context.Context, o store.Owner, key store.Key, value []byte) ([]byte, error) {
	box := new(captured)
	_, err := sealed.New(box, d.key.For(o.Tenant, o.User)).Put(ctx, key, value, "")
	return box.value, err
}

// captured is a store that keeps what is put last.
type captured struct {
	store.Store
	value []byte
}

func (c *captured) Put(
	_ context.Context, _ store.Key, value []byte, _ store.Revision,
) (store.Revision, error) {
	c.value = value
	return "1", nil
}

// rowID is what pgstore does; that it is is found out by reading with it.
func rowID(o store.Owner, key store.Key) []byte {
	sum := sha256.Sum256(textlist.Append(nil, o.Tenant, o.User, key.Server, key.Profile))
	return sum[:]
}

// ending is a testing.TB for servicetest outside of a test.
type ending struct {
	testing.TB
	cleanups []func()
}

type failure struct{ err error }

func (e *ending) Helper()          {}
func (e *ending) Cleanup(f func()) { e.cleanups = append(e.cleanups, f) }
func (e *ending) Fatal(args ...any) {
	panic(failure{errors.New(fmt.Sprint(args...))})
}
func (e *ending) Fatalf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }
func (e *ending) Skip(args ...any)                  { e.Fatal(args...) }

// run runs the cleanups, the last one first.
func (e *ending) run() {
	for i := len(e.cleanups) - 1; i >= 0; i-- {
		e.cleanups[i]()
	}
}
