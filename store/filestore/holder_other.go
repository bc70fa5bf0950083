//go:build !linux

package filestore

// holder returns zeros: other systems do not tell who holds the lock of a file. A number
// written into the file could be of a process that has ended, and name a stranger.
func holder(string) (pid int, program string, stopped bool) { return 0, "", false }
