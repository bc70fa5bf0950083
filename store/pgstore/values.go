package pgstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/handstamp/handstamp/store"
)

// maxValue is the size of the largest value that is taken.
const maxValue = 16 << 20

// writeTimeout bounds a write that has begun, which the caller's context does not end.
const writeTimeout = 30 * time.Second

// ownedStore has the credentials of one user.
type ownedStore struct {
	db    *Database
	owner store.Owner
}

var _ store.Store = (*ownedStore)(nil)

// id returns the primary key of a credential.
func (s *ownedStore) id(key store.Key) []byte {
	h := sha256.New()
	for _, part := range []string{s.owner.Tenant, s.owner.User, key.Server, key.Profile} {
		// With its length, so that no two lists of parts are the same bytes.
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return h.Sum(nil)
}

// checksumSize is how many bytes of a hash precede a value in its row. They find one that was
// changed, cut or moved to another row; that it was done on purpose, only a seal finds.
const checksumSize = 8

func withChecksum(id, value []byte) []byte {
	h := sha256.New()
	h.Write(id)
	h.Write(value)
	return append(h.Sum(nil)[:checksumSize:checksumSize], value...)
}

func withoutChecksum(id, row []byte) ([]byte, error) {
	value := row[min(len(row), checksumSize):]
	if !bytes.Equal(row, withChecksum(id, value)) {
		return nil, fmt.Errorf(
			"%w: the value in handstamp_credential does not match its checksum", store.ErrCorrupt)
	}
	return value, nil
}

// Get implements [store.Store].
func (s *ownedStore) Get(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	id := s.id(key)
	var row []byte
	var revision store.Revision
	err := s.db.pool.QueryRow(ctx,
		"SELECT value, revision FROM handstamp_credential WHERE id = $1", id).Scan(&row, &revision)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, "", store.ErrNotFound
	case err != nil:
		return nil, "", unusable(ctx, err)
	}
	value, err := withoutChecksum(id, row)
	return value, revision, err
}

// Put implements [store.Store].
func (s *ownedStore) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	switch {
	case len(value) > maxValue:
		return "", fmt.Errorf("%w: a value of %d bytes is too large", store.ErrUnusable, len(value))
	case !isText(key.Server) || !isText(key.Profile):
		return "", fmt.Errorf("%w: PostgreSQL keeps no name with bytes that are not UTF-8",
			store.ErrUnusable)
	}
	id, next := s.id(key), rand.Text()
	query, args := "UPDATE handstamp_credential SET value = $2, revision = $3, written_at = now() "+
		"WHERE id = $1 AND revision = $4",
		[]any{id, withChecksum(id, value), next, string(revision)}
	if revision == "" {
		query = "INSERT INTO handstamp_credential " +
			"(id, value, revision, tenant, user_name, server, profile) " +
			"VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING"
		args = append(args[:3], s.owner.Tenant, s.owner.User, key.Server, key.Profile)
	}
	changed, err := s.write(ctx, query, args...)
	if changed {
		return store.Revision(next), err
	}
	if err == nil {
		err = store.ErrConflict
	}
	return "", err
}

// Delete implements [store.Store].
func (s *ownedStore) Delete(ctx context.Context, key store.Key, revision store.Revision) error {
	id := s.id(key)
	deleted, err := s.write(ctx,
		"DELETE FROM handstamp_credential WHERE id = $1 AND revision = $2", id, string(revision))
	if deleted || err != nil {
		return err
	}
	var there bool
	err = s.db.pool.QueryRow(ctx,
		"SELECT EXISTS (SELECT FROM handstamp_credential WHERE id = $1)", id).Scan(&there)
	switch {
	case err != nil:
		return unusable(ctx, err)
	case there:
		return store.ErrConflict
	}
	return nil
}

// write carries out a statement that changes one row, and reports whether it did. Once it is sent,
// ctx does not end it: the value may be the only copy of a refresh token.
func (s *ownedStore) write(ctx context.Context, query string, args ...any) (changed bool, err error) {
	conn, err := s.db.pool.Acquire(ctx)
	if err != nil {
		return false, unusable(ctx, err)
	}
	defer conn.Release()
	if ctx.Err() != nil {
		return false, unusable(ctx, ctx.Err())
	}
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	var tag pgconn.CommandTag
	if tag, err = conn.Exec(sending, query, args...); err != nil {
		return false, unusable(sending, err)
	}
	return tag.RowsAffected() == 1, nil
}

// List implements [store.Store].
func (s *ownedStore) List(ctx context.Context) ([]store.Key, error) {
	rows, err := s.db.pool.Query(ctx, "SELECT server, profile FROM handstamp_credential "+
		"WHERE tenant = $1 AND user_name = $2", s.owner.Tenant, s.owner.User)
	if err != nil {
		return nil, unusable(ctx, err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByPos[store.Key])
	if err != nil {
		return nil, unusable(ctx, err)
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
	rows, err := s.db.pool.Query(ctx, "SELECT server, profile, value, revision "+
		"FROM handstamp_credential WHERE tenant = $1 AND user_name = $2 AND $3 IN ('', server)",
		s.owner.Tenant, s.owner.User, server)
	if err != nil {
		return nil, unusable(ctx, err)
	}
	var key store.Key
	var row []byte
	var revision store.Revision
	_, err = pgx.ForEachRow(rows, []any{&key.Server, &key.Profile, &row, &revision}, func() error {
		if value, err := withoutChecksum(s.id(key), row); err != nil {
			rest = append(rest, key)
		} else {
			visit(key, value, revision)
		}
		return nil
	})
	if err != nil {
		return nil, unusable(ctx, err)
	}
	return rest, nil
}

var _ store.Scanner = (*ownedStore)(nil)

// isText reports whether a column of PostgreSQL can have a text.
func isText(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }
