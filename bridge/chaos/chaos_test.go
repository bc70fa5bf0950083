package chaos

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
)

var (
	runs = flag.Int("runs", 100, "how many runs are made")
	seed = flag.Uint64("seed", 1, "the seed of the first run; CHAOS_SEED makes that run alone")
)

// TestChaos makes runs, each with the next seed.
func TestChaos(t *testing.T) {
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		one, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		r := run(t, one)
		t.Log(r)
		if len(r.findings) > 0 {
			t.Fail()
		}
		return
	}
	t.Logf("runs %d to %d", *seed, *seed+uint64(*runs)-1)
	for i := range *runs {
		t.Run(fmt.Sprint("seed=", *seed+uint64(i)), func(t *testing.T) {
			t.Parallel()
			if r := run(t, *seed+uint64(i)); len(r.findings) > 0 {
				t.Error(r)
			}
		})
	}
}
