package service

import (
	"sync"

	"github.com/handstamp/handstamp/store"
)

// ownedKey names a login of a user.
type ownedKey struct {
	owner store.Owner
	key   store.Key
}

// maxKnown bounds the logins that are remembered to be there.
const maxKnown = 100_000

// knownLogins are logins that were in the database.
type knownLogins struct {
	mu  sync.RWMutex
	all map[ownedKey]struct{} // guarded by mu
}

func (k *knownLogins) has(l ownedKey) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	_, ok := k.all[l]
	return ok
}

func (k *knownLogins) add(l ownedKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil || len(k.all) >= maxKnown { // each costs one query to find again
		k.all = make(map[ownedKey]struct{})
	}
	k.all[l] = struct{}{}
}
