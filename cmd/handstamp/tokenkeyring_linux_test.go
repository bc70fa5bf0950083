package main

import (
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/keyringtest"
)

// maxKeyringTokenCPU is what it may cost where the key is in a keyring: the process connects to the
// session bus, and agrees on a session key there.
const maxKeyringTokenCPU = 25 * time.Millisecond

func TestTokenFromAKeyringIsCheap(t *testing.T) {
	needBin(t)
	k := keyringtest.Start(t)
	wantCheapToken(t, maxKeyringTokenCPU, "DBUS_SESSION_BUS_ADDRESS="+k.Address(), "HANDSTAMP_STORE=keyring")
	if n := k.Items(); n != 1 {
		t.Errorf("the keyring has %d items", n)
	}
}
