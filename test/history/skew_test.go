//go:build unix

package history

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// skewedStore is what a store looks like to a program whose clock is ahead by skew: to a clock that
// is ahead, all times that others wrote are earlier, and all that it writes are later for them.
type skewedStore struct {
	store.Store
	skew time.Duration
}

func (s *skewedStore) Get(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	value, revision, err := s.Store.Get(ctx, key)
	if err == nil {
		value, err = shifted(value, -s.skew)
	}
	return value, revision, err
}

func (s *skewedStore) Put(
	ctx context.Context, key store.Key, value []byte, revision store.Revision,
) (store.Revision, error) {
	value, err := shifted(value, s.skew)
	if err != nil {
		return "", err
	}
	return s.Store.Put(ctx, key, value, revision)
}

// shifted returns a stored record with all of its times later by d.
func shifted(value []byte, d time.Duration) ([]byte, error) {
	rec, err := record.Decode(value)
	if err != nil {
		return nil, err
	}
	shift(reflect.ValueOf(rec), d)
	return record.Encode(rec)
}

func shift(v reflect.Value, d time.Duration) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			shift(v.Elem(), d)
		}
	case reflect.Slice:
		for i := range v.Len() {
			shift(v.Index(i), d)
		}
	case reflect.Struct:
		if at, ok := v.Interface().(time.Time); ok {
			if !at.IsZero() {
				v.Set(reflect.ValueOf(at.Add(d)))
			}
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				shift(v.Field(i), d)
			}
		}
	}
}

// Every time in a record is shifted, and what is written is read as it was.
func TestSkew(t *testing.T) {
	key, err := store.NewKey("https://a.example/mcp", "")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Round(time.Second)
	rec := &record.Record{Version: 1, Key: key, Grant: &record.Grant{ExpiresAt: now},
		Intent:    &record.Intent{At: now, Response: &record.RawResponse{ReceivedAt: now}},
		Cooldowns: []record.Cooldown{{Until: now}}}
	inner := new(store.Memory)
	ahead := &skewedStore{inner, time.Hour}
	if err := record.Put(t.Context(), ahead, rec); err != nil {
		t.Fatal(err)
	}
	for s, want := range map[store.Store]time.Time{inner: now.Add(time.Hour), ahead: now} {
		got, err := record.Get(t.Context(), s, key)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []time.Time{
			got.Grant.ExpiresAt, got.Intent.At, got.Intent.Response.ReceivedAt, got.Cooldowns[0].Until,
		} {
			if !at.Equal(want) {
				t.Errorf("%v, want %v", at, want)
			}
		}
		if !got.Grant.ObtainedAt.IsZero() {
			t.Errorf("no time became %v", got.Grant.ObtainedAt)
		}
	}
}
