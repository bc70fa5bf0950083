package record

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/sealed"
)

var (
	keyA = store.Key{Server: "https://a.example", Profile: "default"}
	keyB = store.Key{Server: "https://b.example", Profile: "default"}
)

// plant stores a value under a key, whatever is there.
func plant(t *testing.T, s store.Store, key store.Key, value []byte) {
	t.Helper()
	_, revision, _ := s.Get(t.Context(), key)
	if _, err := s.Put(t.Context(), key, value, revision); err != nil {
		t.Fatal(err)
	}
}

func TestPutThenGet(t *testing.T) {
	s := new(store.Memory)
	r, err := Get(t.Context(), s, keyA)
	if !errors.Is(err, store.ErrNotFound) || r.Key != keyA || r.Revision != "" {
		t.Fatalf("Get of nothing = %+v, %v", r, err)
	}
	for range 2 {
		before := r.Revision
		if err := Put(t.Context(), s, r); err != nil {
			t.Fatal(err)
		}
		if r.Revision == before || r.Version != SchemaVersion || r.UpdatedAt.IsZero() {
			t.Fatalf("Put left %+v", r)
		}
	}
	got, err := Get(t.Context(), s, keyA)
	if err != nil || got.Revision != r.Revision || !got.UpdatedAt.Equal(r.UpdatedAt) {
		t.Errorf("Get = %+v, %v; want %+v", got, err, r)
	}
	stale := got.Clone()
	if err := Put(t.Context(), s, got); err != nil {
		t.Fatal(err)
	}
	before := *stale
	if err := Put(t.Context(), s, stale); !errors.Is(err, store.ErrConflict) || stale.Revision != before.Revision || !stale.UpdatedAt.Equal(before.UpdatedAt) {
		t.Errorf("Put of the revision before = %v, and left %+v", err, stale)
	}
	if err := Delete(t.Context(), s, got); err != nil {
		t.Error(err)
	}
}

// A clock that was set back makes no change older than the one before: of two records, the newer is used.
func TestPutAfterTheClockWasSetBack(t *testing.T) {
	r := &Record{Key: keyA, UpdatedAt: time.Now().UTC().Add(time.Hour)}
	s := new(store.Memory)
	for range 2 {
		before := r.UpdatedAt
		if err := Put(t.Context(), s, r); err != nil {
			t.Fatal(err)
		}
		got, err := Get(t.Context(), s, keyA)
		if err != nil || !got.UpdatedAt.After(before) {
			t.Errorf("after %v it is of %v (%v)", before, got.UpdatedAt, err)
		}
	}
}

// What a store returns undamaged and is no record of the key is never used, and can be replaced.
func TestValueThatIsNoRecordOfItsKey(t *testing.T) {
	other, err := Encode(&Record{Key: keyB, Grant: &Grant{RefreshToken: "of-another-server"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string][]byte{"of another key": other, "empty": {}, "no record": []byte("{}")} {
		s := new(store.Memory)
		plant(t, s, keyA, value)
		r, err := Get(t.Context(), s, keyA)
		if !errors.Is(err, store.ErrCorrupt) || r.Key != keyA || r.Grant != nil {
			t.Fatalf("%s: Get = %+v, %v", name, r, err)
		}
		if err := Put(t.Context(), s, r); err != nil {
			t.Errorf("%s: Put = %v", name, err)
		}
		if _, err := Get(t.Context(), s, keyA); err != nil {
			t.Errorf("%s: Get after Put = %v", name, err)
		}
	}
}

// A record of a newer version is read, and not replaced, neither by itself nor by one made
// again, whatever its shape.
func TestNewerRecordStays(t *testing.T) {
	for name, value := range map[string]string{
		"readable":   `{"version":2,"key":{"server":"https://a.example","profile":"default"},"news":[1]}`,
		"unreadable": `{"version":2,"key":{"server":"https://a.example","profile":"default"},"grant":[]}`,
		"keyless":    `{"version":2,"login":{"server":"https://a.example"}}`,
		"rekeyed":    `{"version":2,"key":{"server":"https://A.example/"}}`,
		"key first":  `{"key":"https://a.example","version":2}`,
	} {
		s := new(store.Memory)
		plant(t, s, keyA, []byte(value))
		r, err := Get(t.Context(), s, keyA)
		if name == "readable" && (err != nil || !errors.Is(Put(t.Context(), s, r), ErrNewer)) ||
			name != "readable" && (r != nil || !errors.Is(err, ErrNewer) || errors.Is(err, store.ErrCorrupt)) {
			t.Errorf("%s: Get = %+v, %v", name, r, err)
		}
		if err := Put(t.Context(), s, &Record{Key: keyA}); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: Put of a record created again = %v", name, err)
		}
		if stored, _, err := s.Get(t.Context(), keyA); err != nil || string(stored) != value {
			t.Errorf("%s: stored is %s, %v", name, stored, err)
		}
	}
}

// A sealed value in a store that was opened without its key is no damage: the login is all right,
// and is not replaced.
func TestSealedRecordStays(t *testing.T) {
	key, err := sealed.NewKey(make([]byte, sealed.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	s := new(store.Memory)
	if err := Put(t.Context(), sealed.New(s, key), &Record{Key: keyA}); err != nil {
		t.Fatal(err)
	}
	value, _, err := s.Get(t.Context(), keyA)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string]bool{"whole": false, "of a newer version": false, "cut": true} {
		value := bytes.Clone(value)
		switch name {
		case "of a newer version":
			const version, sum, end = 3, 12, 16
			value[version]++
			header := sha256.Sum256(value[:sum])
			copy(value[sum:end], header[:])
		case "cut":
			value = value[:10]
		}
		plant(t, s, keyA, value)
		r, err := Get(t.Context(), s, keyA)
		if errors.Is(err, store.ErrCorrupt) != damaged || errors.Is(err, store.ErrUnusable) == damaged {
			t.Errorf("%s: Get = %+v, %v", name, r, err)
		}
	}
	plant(t, s, keyA, value)
	_, err = Get(t.Context(), s, keyA)
	if missing := (*sealed.KeyError)(nil); !errors.As(err, &missing) || missing.ID != key.ID() {
		t.Errorf("Get = %v; want the id of the key, %s", err, key.ID())
	}
}
