package handstamp_test

import (
	"errors"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// The server ends a login whose access token looks good for another hour. A
// renewal that was forced is refused, and the token kept, for the server may only
// mind that it came so early; but when the MCP server refuses the token too, the
// login is over and must not be called out of reach until the token's expiry.
func TestRefusedEarlyAndForGood(t *testing.T) {
	w := newWorld(t, lab.NoneFirst())
	w.mustCall(w.session())
	w.lab.RevokeFamilies()
	forced := w.session()
	forced.LoginPolicy = handstamp.LoginNever
	if _, err := forced.Token(t.Context(), w.lab.MCPURL(), handstamp.TokenOptions{Refresh: true}); err == nil {
		t.Fatal("a revoked login was renewed")
	}
	quiet := w.session()
	quiet.LoginPolicy = handstamp.LoginNever
	if err := w.call(quiet); !errors.Is(err, handstamp.ErrLoginRequired) {
		t.Errorf("error %v, want ErrLoginRequired", err)
	}
	w.mustCall(w.session())
	w.wantTabs(2)
	w.wantCounts(map[string]int{"register": 1})
}
