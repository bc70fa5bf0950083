package storetest

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/handstamp/handstamp/store"
)

// flips is how many places of a value's raw bytes are changed, one after the other.
const flips = 61

// Damage is detected, concerns its own key, and does not stand in the way of a new value.
func testDamage(t *testing.T, suite Suite) {
	if suite.ReadRaw == nil || suite.WriteRaw == nil {
		t.Skip("there is no access to raw bytes")
	}
	key, other := keyOf(t, "https://a.example", ""), keyOf(t, "https://b.example", "")
	damages := map[string]func(own, others []byte) []byte{
		"empty":     func([]byte, []byte) []byte { return []byte{} },
		"cut off":   func(own, _ []byte) []byte { return own[:len(own)/2] },
		"one short": func(own, _ []byte) []byte { return own[:len(own)-1] },
		"zeros":     func(own, _ []byte) []byte { return make([]byte, len(own)) },
		"garbage":   func([]byte, []byte) []byte { return []byte("{}") },
		"other key": func(_, others []byte) []byte { return others },
	}
	for at := range flips {
		damages[fmt.Sprint("flipped byte ", at)] = func(own, _ []byte) []byte {
			changed := bytes.Clone(own)
			changed[at*len(own)/flips] ^= 1 << (at % 8)
			return changed
		}
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			s := suite.Open(t)
			i, stays := newItem(key), newItem(other)
			mustPut(t, s, i)
			mustPut(t, s, stays)
			raw := damage(suite.ReadRaw(t, s, key), suite.ReadRaw(t, s, other))
			for _, replace := range []func(revision store.Revision) error{
				func(revision store.Revision) error { return s.Delete(t.Context(), key, revision) },
				func(revision store.Revision) error {
					i.revision = revision
					return i.put(t.Context(), s)
				},
			} {
				suite.WriteRaw(t, s, key, raw)
				wantDamageLeftOut(t, s, key)
				value, revision, err := s.Get(t.Context(), key)
				if len(value) > 0 {
					t.Errorf("Get returned %q", shown(value))
				}
				wantError(t, "Get", err, store.ErrCorrupt)
				wantStored(t, s, stays)
				if err := replace(revision); err != nil {
					t.Fatalf("the damage cannot be replaced: %v", err)
				}
				if _, err := s.List(t.Context()); err != nil {
					t.Errorf("List: %v", err)
				}
			}
			wantStored(t, s, i)
			wantStored(t, s, stays)
		})
	}
}
