package proctest

import "os"

// Prepare makes a process of tests and those that it starts cheaper, for TestMain. What they write is
// in memory where the system has a place for that, unless TMPDIR names another: a killed process
// loses nothing that the kernel has, so that it proves as much there as on a disk, whose speed depends
// on what else the machine does. And the race detector does not sleep for a second at the end of
// each process.
func Prepare() {
	const memory = "/dev/shm"
	if info, err := os.Stat(memory); err == nil && info.IsDir() && os.Getenv("TMPDIR") == "" {
		os.Setenv("TMPDIR", memory)
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
}
