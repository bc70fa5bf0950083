package handstamp_test

import (
	"testing"

	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// Unknown expiry is unknown: the token is used until it is rejected.
func TestUnknownExpiry(t *testing.T) {
	for _, expires := range []string{lab.ExpiresOmitted, lab.ExpiresZero, lab.ExpiresString} {
		t.Run(expires, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{ExpiresIn: expires})
			w.MustCall(w.Session())
			w.Lab.Reset()
			w.MustCall(w.Session())
			w.WantCounts(map[string]int{"mcp": 1, "token:refresh": 0})
			w.Lab.RevokeAccessTokens()
			w.MustCall(w.Session())
			w.WantCounts(map[string]int{"token:refresh": 1})
			w.WantTabs(1)
		})
	}
}
