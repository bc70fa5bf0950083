package installed_test

import (
	"testing"

	"github.com/handstamp/handstamp/internal/installed"
)

func TestNeed(t *testing.T) {
	for _, test := range []struct {
		name, require, problem string
		skipped, failed        bool
	}{
		{"it is there", "", "", testing.Short(), false},
		{"it is not", "", "no cake", true, false},
		{"it is required", "tea cake", "", false, false},
		{"it is required and not there", "tea cake", "no cake", false, true},
		{"another is required", "cakes", "no cake", true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("HANDSTAMP_TEST_REQUIRE", test.require)
			seen := &witness{TB: t}
			installed.Need(seen, "cake", test.problem)
			if seen.skipped != test.skipped || seen.failed != test.failed {
				t.Errorf("skipped %t, failed %t", seen.skipped, seen.failed)
			}
		})
	}
}

// witness is a test that goes on.
type witness struct {
	testing.TB
	skipped, failed bool
}

func (w *witness) Skip(...any)  { w.skipped = true }
func (w *witness) Fatal(...any) { w.failed = true }
