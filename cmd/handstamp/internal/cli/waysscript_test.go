package cli

import (
	"os"
	"time"

	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/lab"
	"github.com/rogpeppe/go-internal/testscript"
)

// cmdKey writes a private key to a file: key ALGORITHM FILE.
func cmdKey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: key ALGORITHM FILE")
	}
	key, err := clientkey.Generate(args[0])
	ts.Check(err)
	pem, err := key.RevealPrivatePEM()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), pem, 0o600))
}

// decideDevice decides on the device code of a login that runs in the background.
func decideDevice(ts *testscript.TestScript, server *lab.Server, approve bool) {
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, code := range server.DeviceCodes() {
			if approve {
				ts.Check(server.ApproveDevice(code))
			} else {
				ts.Check(server.DenyDevice(code))
			}
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("no device code waits for a user")
		}
	}
}
