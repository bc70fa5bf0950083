package pgstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/handstamp/handstamp/internal/checksum"
	"github.com/handstamp/handstamp/internal/textlist"
	"github.com/handstamp/handstamp/store"
)

// maxValue is the size of the largest value that is taken.
const maxValue = 16 << 20

// ownedStore has the credentials of one user.
type ownedStore struct {
	db    *Database
	owner store.Owner
}

var _ store.Store = (*ownedStore)(nil)

// id returns the primary key of a credential.
func (s *ownedStore) id(key store.Key) []byte {
	sum := sha256.Sum256(textlist.Append(nil, s.owner.Tenant, s.owner.User, key.Server, key.Profile))
	return sum[:]
}

// Get implements [store.Store].
func (s *ownedStore) Get(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	id := s.id(key)
	var row []byte
	var revision store.Revision
	err := s.db.read(ctx, func(conn session) error {
		return conn.QueryRow(ctx, "SELECT value, revision FROM handstamp_credential WHERE id = $1", id).
			Scan(&row, &revision)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, "", store.ErrNotFound
	}
	if err != nil {
		return nil, "", err
	}
	value, ok := checksum.Cut(id, row)
	if !ok {
		return nil, revision, fmt.Errorf(
			"%w: the value in handstamp_credential does not match its checksum", store.ErrCorrupt)
	}
	return value, revision, nil
}

// Put implements [store.Store].
func (s *ownedStore) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	return s.PutScheduled(ctx, key, value, revision, store.Schedule{})
}

// PutScheduled implements [store.SchedulePutter].
func (s *ownedStore) PutScheduled(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
	schedule store.Schedule,
) (store.Revision, error) {
	switch {
	case len(value) > maxValue:
		return "", fmt.Errorf("%w: a value of %d bytes is too large", store.ErrUnusable, len(value))
	case !isText(key.Server) || !isText(key.Profile):
		return "", fmt.Errorf("%w: PostgreSQL keeps no name with bytes that are not UTF-8",
			store.ErrUnusable)
	}
	w := &put{
		id: s.id(key), value: value, from: string(revision), to: rand.Text(), schedule: schedule,
	}
	err := s.put(ctx, key, w)
	if err != nil {
		return "", err
	}
	s.db.changes.add(store.Change{Owner: s.owner.ID(), Key: key.ID()})
	return store.Revision(w.to), nil
}

// put is one Put. Its revision is made here, so that one that is sent again finds its own write.
type put struct {
	id, value []byte
	from, to  string
	schedule  store.Schedule
}

func (s *ownedStore) put(ctx context.Context, key store.Key, w *put) error {
	row := checksum.Add(w.id, w.value)
	if w.from == "" {
		query, args := w.scheduled("INSERT INTO handstamp_credential AS c "+
			"(id, value, revision, tenant, user_name, server, profile) "+
			"VALUES ($1, $2, $3, $4, $5, $6, $7) "+
			"ON CONFLICT (id) DO UPDATE SET written_at = c.written_at WHERE c.revision = $3",
			w.id, row, w.to, s.owner.Tenant, s.owner.User, key.Server, key.Profile)
		return changed(s.db.write(ctx, query+"SELECT FROM written", args...))
	}
	if lock := s.db.holds(w.id); lock != nil {
		return lock.put(ctx, w, row)
	}
	return s.db.update(ctx, w, row)
}

// update is a put that replaces a value.
func (db *Database) update(ctx context.Context, w *put, row []byte) error {
	query, args := w.scheduled("UPDATE handstamp_credential "+
		"SET value = $2, revision = $3, written_at = now() WHERE id = $1 AND revision IN ($3, $4)",
		w.id, row, w.to, w.from)
	return changed(db.write(ctx, query+"SELECT FROM written", args...))
}

// changed returns the error of a write that has to change a row.
func changed(rows int64, err error) error {
	if err == nil && rows == 0 {
		err = store.ErrConflict
	}
	return err
}

// Delete implements [store.Store].
func (s *ownedStore) Delete(ctx context.Context, key store.Key, revision store.Revision) error {
	id := s.id(key)
	rows, err := s.db.write(ctx,
		"DELETE FROM handstamp_credential WHERE id = $1 AND revision = $2", id, string(revision))
	if err != nil && !errors.Is(err, errUnclear) {
		return err
	}
	if rows > 0 {
		s.db.changes.add(store.Change{Owner: s.owner.ID(), Key: key.ID()})
		return nil
	}
	var there bool
	failed := s.db.read(ctx, func(conn session) error {
		return conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM handstamp_credential WHERE id = $1)", id).
			Scan(&there)
	})
	switch {
	case failed != nil:
		return failed
	case !there:
		return nil
	}
	return cmp.Or(err, store.ErrConflict)
}

// List implements [store.Store].
func (s *ownedStore) List(ctx context.Context) ([]store.Key, error) {
	var keys []store.Key
	err := s.db.read(ctx, func(conn session) error {
		rows, err := conn.Query(ctx, "SELECT server, profile FROM handstamp_credential "+
			"WHERE tenant = $1 AND user_name = $2", s.owner.Tenant, s.owner.User)
		if err == nil {
			keys, err = pgx.CollectRows(rows, pgx.RowToStructByPos[store.Key])
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(keys, store.Key.Compare) // which is not any collation's order
	return keys, nil
}

// Scan implements [store.Scanner].
func (s *ownedStore) Scan(
	ctx context.Context, server string,
	visit func(key store.Key, value []byte, revision store.Revision),
) (rest []store.Key, err error) {
	if !isText(server) {
		return nil, nil
	}
	scanned := make(map[store.Key]bool) // also by a query whose connection broke
	err = s.db.read(ctx, func(conn session) error {
		rows, err := conn.Query(ctx, "SELECT server, profile, value, revision "+
			"FROM handstamp_credential WHERE tenant = $1 AND user_name = $2 AND $3 IN ('', server)",
			s.owner.Tenant, s.owner.User, server)
		if err != nil {
			return err
		}
		var key store.Key
		var row []byte
		var revision store.Revision
		_, err = pgx.ForEachRow(rows, []any{&key.Server, &key.Profile, &row, &revision}, func() error {
			value, ok := checksum.Cut(s.id(key), row)
			switch {
			case scanned[key]:
				return nil
			case !ok:
				rest = append(rest, key)
			default:
				visit(key, value, revision)
			}
			scanned[key] = true
			return nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest, nil
}

var _ store.Scanner = (*ownedStore)(nil)

// isText reports whether a column of PostgreSQL can have a text.
func isText(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }
