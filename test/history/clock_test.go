//go:build unix

package history

import "golang.org/x/sys/unix"

// now returns the time of the machine's monotonic clock, which all processes share and nothing sets.
func now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err)
	}
	return t.Nano()
}
