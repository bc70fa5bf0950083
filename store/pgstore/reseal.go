package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/handstamp/handstamp/internal/checksum"
	"github.com/handstamp/handstamp/store"
)

const (
	// resealBatch is how many rows are selected at a time.
	resealBatch = 500

	// resealPasses is how often the table is gone through, as long as there are values that replicas
	// have written meanwhile with an older key.
	resealPasses = 3

	// resealErrors is how many values an error names.
	resealErrors = 10
)

// Reseal seals with the first key what older keys have sealed, and returns how many values it has
// sealed. If it returns no error, no value needs an older key any more. All replicas must have the
// first key as their first one by then, or they go on using another.
//
// Values are replaced one at a time, and keep their revision: the replicas go on meanwhile. Where
// it is interrupted, the next call does what is left. A value that cannot be opened stays as it is,
// and the error, which names its row, has the reason.
func (db *Database) Reseal(ctx context.Context) (resealed int, err error) {
	if len(db.keys) == 0 {
		return 0, errors.New("pgstore: there is no key to seal with")
	}
	for range resealPasses {
		done, left, err := db.resealPass(ctx)
		resealed += done
		if left == 0 || err != nil {
			return resealed, err
		}
	}
	return resealed, errors.New("pgstore: replicas write values that are sealed with an older key; " +
		"make the new one their first")
}

// resealPass goes through the table once. left is how many values were changed meanwhile.
func (db *Database) resealPass(ctx context.Context) (done, left int, err error) {
	var failed []error
	for last := []byte{}; ; {
		rows, err := db.olderThanKey(ctx, last)
		if err != nil {
			return done, left, err
		}
		for _, r := range rows {
			last = r.ID
			err := db.reseal(ctx, r)
			switch {
			case err == nil:
				done++
			case ctx.Err() != nil:
				return done, left, unusable(ctx, ctx.Err())
			case errors.Is(err, store.ErrConflict):
				left++
			case !errors.Is(err, store.ErrNotFound): // which needs no key any more
				failed = append(failed, fmt.Errorf("pgstore: the value with the id %x: %w", r.ID, err))
			}
		}
		if len(rows) < resealBatch {
			break
		}
	}
	if more := len(failed) - resealErrors; more > 0 {
		failed = append(failed[:resealErrors], fmt.Errorf("pgstore: and %d more values", more))
	}
	return done, left, errors.Join(failed...)
}

// sealedRow is the row of a value that another key has sealed than the first.
type sealedRow struct {
	ID                            []byte
	Tenant, User, Server, Profile string
}

// olderThanKey returns the next rows.
func (db *Database) olderThanKey(ctx context.Context, last []byte) (rows []sealedRow, err error) {
	header := db.keys[0].Header()
	err = db.read(ctx, func(conn session) error {
		found, err := conn.Query(ctx, "SELECT id, tenant, user_name, server, profile "+
			"FROM handstamp_credential WHERE id > $1 AND substring(value FROM $2 FOR $3) <> $4 "+
			"ORDER BY id LIMIT $5", last, checksum.Size+1, len(header), header, resealBatch)
		if err == nil {
			rows, err = pgx.CollectRows(found, pgx.RowToStructByPos[sealedRow])
		}
		return err
	})
	return rows, err
}

// reseal seals one value.
func (db *Database) reseal(ctx context.Context, r sealedRow) error {
	owner := store.Owner{Tenant: r.Tenant, User: r.User}
	key := store.Key{Server: r.Server, Profile: r.Profile}
	inner := &ownedStore{db, owner}
	if !slices.Equal(r.ID, inner.id(key)) {
		return fmt.Errorf("%w: the row is not the one of its tenant, user, server and profile",
			store.ErrCorrupt)
	}
	s := db.seal(&resealedStore{inner}, owner)
	value, revision, err := s.Get(ctx, key)
	if err == nil {
		_, err = s.Put(ctx, key, value, revision)
	}
	return err
}

// resealedStore is a store in which a value is replaced by the same, sealed with another key.
type resealedStore struct{ *ownedStore }

// Put replaces the bytes and leaves the revision, which is that of the value.
func (s *resealedStore) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	id := s.id(key)
	return revision, changed(s.db.write(ctx, "UPDATE handstamp_credential SET value = $2 "+
		"WHERE id = $1 AND revision = $3", id, checksum.Add(id, value), string(revision)))
}
