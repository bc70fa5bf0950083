package storetest_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"sync"
	"testing"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/storetest"
)

// sealedStore encrypts the values of another store, each bound to its key.
type sealedStore struct {
	store.Store
	aead cipher.AEAD
}

func newSealedStore(inner store.Store) (store.Store, error) {
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return sealedStore{inner, aead}, err
}

func (s sealedStore) Get(ctx context.Context, key store.Key) ([]byte, store.Revision, error) {
	sealed, revision, err := s.Store.Get(ctx, key)
	if err != nil {
		return nil, revision, err
	}
	value, err := s.aead.Open(nil, nil, sealed, []byte(key.Name()))
	if err != nil {
		return nil, revision, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	return value, revision, nil
}

func (s sealedStore) Put(ctx context.Context, key store.Key, value []byte, revision store.Revision) (store.Revision, error) {
	return s.Store.Put(ctx, key, s.aead.Seal(nil, nil, value, []byte(key.Name())), revision)
}

// The contract lets a store wrap another one: revisions and locks pass through, and a value that
// cannot be opened is damage that Put and Delete replace.
func TestStoreAroundAnother(t *testing.T) {
	var mu sync.Mutex
	memories := make(map[store.Store]*store.Memory)
	memoryOf := func(s store.Store) *store.Memory {
		mu.Lock()
		defer mu.Unlock()
		return memories[s]
	}
	storetest.Suite{
		Open: func(t *testing.T) store.Store {
			memory := new(store.Memory)
			s, err := newSealedStore(memory)
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			memories[s] = memory
			return s
		},
		Reopen: func(_ *testing.T, s store.Store) store.Store {
			sealed := s.(sealedStore)
			return &sealed
		},
		ReadRaw: func(t *testing.T, s store.Store, key store.Key) []byte {
			data, _, err := memoryOf(s).Get(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			return data
		},
		WriteRaw: func(t *testing.T, s store.Store, key store.Key, data []byte) {
			_, revision, _ := memoryOf(s).Get(t.Context(), key)
			if _, err := memoryOf(s).Put(t.Context(), key, data, revision); err != nil {
				t.Fatal(err)
			}
		},
	}.Run(t)
}
