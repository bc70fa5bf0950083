package storetest_test

import (
	"testing"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/storetest"
)

// The example passes. It has a file without tests, of which the documentation shows all.
func TestOwnStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store {
		return &ownStore{values: make(map[store.Key]ownValue)}
	})
}
