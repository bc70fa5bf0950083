package handstamp_test

import (
	"testing"

	"github.com/handstamp/handstamp/lab"
)

// Access tokens that live for seconds, at a server that does not say so: each
// refusal is a renewal, however soon it comes, as long as the token before did
// work. The test catches a guard against servers that refuse every token which
// takes a short life for that, and opens a tab.
func TestShortLivedTokens(t *testing.T) {
	w := newWorld(t, lab.Habits{ExpiresIn: lab.ExpiresOmitted})
	c := w.session()
	w.mustCall(c)
	for range 5 {
		w.lab.RevokeAccessTokens()
		w.mustCall(c)
		w.mustCall(c)
	}
	w.wantCounts(map[string]int{"token:refresh": 5})
	w.wantTabs(1)
}
