package chaos

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

var (
	runs      = flag.Int("runs", 100, "how many runs are made")
	firstSeed = flag.Uint64("seed", 1, "the seed of the first run; zero: another each time")
	first     = flag.Bool("first", false, "end with the first run that finds something")
	timeout   = flag.Duration("timeout", 2*time.Minute, "how long a run may take in the world outside")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *firstSeed == 0 {
		*firstSeed = uint64(time.Now().UnixMicro())
	}
	os.Exit(m.Run())
}

// TestChaos makes runs, each with the next seed.
func TestChaos(t *testing.T) {
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		r := run(t, seed)
		t.Log(r)
		if len(r.findings) > 0 {
			t.Fail()
		}
		return
	}
	if testing.Short() {
		*runs = min(*runs, 25)
	}
	var total atomic.Int64
	began := time.Now()
	fmt.Printf("runs %d to %d; CHAOS_SEED repeats one\n", *firstSeed, *firstSeed+uint64(*runs)-1)
	t.Cleanup(func() {
		fmt.Printf("%d runs with %d requests at the server in %.1f s\n", *runs, total.Load(), time.Since(began).Seconds())
	})
	for i := range uint64(*runs) {
		t.Run(fmt.Sprint("seed=", *firstSeed+i), func(t *testing.T) {
			if !*first {
				t.Parallel()
			}
			r := run(t, *firstSeed+i)
			total.Add(int64(r.requests))
			if len(r.findings) > 0 {
				t.Error(r)
			}
		})
		if *first && t.Failed() {
			return
		}
	}
}
