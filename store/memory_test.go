package store_test

import (
	"testing"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return new(store.Memory) })
}
