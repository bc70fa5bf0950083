package proctest

import "testing"

// Allocations is [testing.AllocsPerRun], the least of several times: that counts what the whole process
// allocates meanwhile, and a [Sampler] allocates whenever it looks.
func Allocations(runs int, f func()) float64 {
	least := testing.AllocsPerRun(runs, f)
	for range 9 {
		least = min(least, testing.AllocsPerRun(runs, f))
	}
	return least
}
