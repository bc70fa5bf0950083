//go:build unix

package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
	"github.com/handstamp/handstamp/store/sealed"
)

// keyOf returns one of several keys.
func keyOf(t *testing.T, n byte) sealed.Key {
	t.Helper()
	raw := make([]byte, sealed.KeySize)
	raw[0] = n
	key, err := sealed.NewKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func wantValue(t *testing.T, db *pgstore.Database, user int, want string) store.Revision {
	t.Helper()
	value, revision, err := storeOf(t, db, ownerOf(user)).Get(t.Context(), lockedKey)
	if err != nil || string(value) != want {
		t.Errorf("user %d has %q, %v; want %q", user, value, err, want)
	}
	return revision
}

// Replicas that have both keys read what the others write, whichever of the keys is the first.
func TestKeyRotation(t *testing.T) {
	server := servicetest.StartPostgres(t)
	before, after := keyOf(t, 1), keyOf(t, 2)
	rings := [][]sealed.Key{{before}, {before, after}, {after, before}}
	for i, keys := range rings[1:] {
		old, _ := open(t, server, pgstore.Options{Keys: rings[i]})
		current, _ := open(t, server, pgstore.Options{Keys: keys})
		mustPut(t, storeOf(t, old, ownerOf(i)), lockedKey, []byte("old's"))
		revision := wantValue(t, current, i, "old's")
		s := storeOf(t, current, ownerOf(i))
		if _, err := s.Put(t.Context(), lockedKey, []byte("new"), revision); err != nil {
			t.Fatal(err)
		}
		wantValue(t, old, i, "new")
	}
	only, _ := open(t, server, pgstore.Options{Keys: []sealed.Key{before}})
	_, _, err := storeOf(t, only, ownerOf(1)).Get(t.Context(), lockedKey)
	if keyErr := (*sealed.KeyError)(nil); !errors.As(err, &keyErr) || keyErr.ID != after.ID() {
		t.Errorf("without the key: %v", err)
	}
}

// A reseal that is interrupted goes on with the next call. After it the new key alone opens all
// that is not damaged, and no revision has changed.
func TestReseal(t *testing.T) {
	server := servicetest.StartPostgres(t)
	before, after := keyOf(t, 1), keyOf(t, 2)
	old, pool := open(t, server, pgstore.Options{Keys: []sealed.Key{before}})
	const users, damaged = 600, 7
	revisions := make([]store.Revision, users)
	for user := range users {
		revisions[user] = mustPut(t, storeOf(t, old, ownerOf(user)), lockedKey, fmt.Append(nil, user))
	}
	both, _ := open(t, server, pgstore.Options{Keys: []sealed.Key{after, before}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := both.Reseal(ctx); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Reseal with a context that has ended = %d, %v", n, err)
	}
	// One that the server fails for one of a hundred.
	_, err := pool.Exec(t.Context(), `CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN IF new.user_name::int % 100 = 7 THEN RAISE 'no'; END IF; RETURN new; END $$;
		CREATE TRIGGER fail BEFORE UPDATE ON handstamp_credential FOR EACH ROW EXECUTE FUNCTION fail()`)
	if err != nil {
		t.Fatal(err)
	}
	first, err := both.Reseal(t.Context())
	if first != users-users/100 || !errors.Is(err, store.ErrUnusable) {
		t.Errorf("Reseal with failures = %d, %v", first, err)
	}
	if _, err := pool.Exec(t.Context(), "DROP TRIGGER fail ON handstamp_credential"); err != nil {
		t.Fatal(err)
	}
	tag, err := pool.Exec(t.Context(), "UPDATE handstamp_credential "+
		"SET value = substring(value FOR 40) WHERE user_name = $1", fmt.Sprint(damaged))
	if err != nil || tag.RowsAffected() != 1 {
		t.Fatal(tag, err)
	}
	second, err := both.Reseal(t.Context())
	if !errors.Is(err, store.ErrCorrupt) || strings.Count(err.Error(), "\n") > 0 {
		t.Errorf("Reseal with a damaged value = %v", err)
	}
	if n := first + second; n != users-1 {
		t.Errorf("%d values were resealed", n)
	}
	only, _ := open(t, server, pgstore.Options{Keys: []sealed.Key{after}})
	for user := range users {
		if user != damaged {
			if got := wantValue(t, only, user, fmt.Sprint(user)); got != revisions[user] {
				t.Errorf("the revision of user %d has changed", user)
			}
		}
	}
	_, err = pool.Exec(t.Context(), "DELETE FROM handstamp_credential WHERE user_name = $1",
		fmt.Sprint(damaged))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := both.Reseal(t.Context()); n != 0 || err != nil {
		t.Errorf("one more Reseal = %d, %v", n, err)
	}
}

// Two operators reseal at once, while replicas write: no write is lost, and no value is left behind.
func TestResealBesideAnotherAndWrites(t *testing.T) {
	server := servicetest.StartPostgres(t)
	before, after := keyOf(t, 1), keyOf(t, 2)
	old, _ := open(t, server, pgstore.Options{Keys: []sealed.Key{before}})
	const users, writers, operators = 200, 4, 2
	revisions := make([]store.Revision, users)
	for user := range users {
		revisions[user] = mustPut(t, storeOf(t, old, ownerOf(user)), lockedKey, []byte("old"))
	}
	both, _ := open(t, server, pgstore.Options{Keys: []sealed.Key{after, before}})
	var all sync.WaitGroup
	for range operators {
		all.Go(func() {
			if _, err := both.Reseal(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	for n := range writers {
		all.Go(func() {
			for user := n; user < users; user += writers {
				s := storeOf(t, both, ownerOf(user))
				if _, err := s.Put(t.Context(), lockedKey, []byte("new"), revisions[user]); err != nil {
					t.Errorf("user %d: %v", user, err)
				}
			}
		})
	}
	all.Wait()
	alone, _ := open(t, server, pgstore.Options{Keys: []sealed.Key{after}})
	for user := range users {
		wantValue(t, alone, user, "new")
	}
}

func TestResealNeedsAKey(t *testing.T) {
	db, _ := open(t, servicetest.StartPostgres(t), pgstore.Options{})
	if _, err := db.Reseal(t.Context()); err == nil {
		t.Error("there is nothing to seal with")
	}
}
