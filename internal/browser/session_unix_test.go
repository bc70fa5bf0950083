//go:build unix

package browser

import "golang.org/x/sys/unix"

// session returns the number of this process's session.
func session() int {
	id, err := unix.Getsid(0)
	if err != nil {
		return -1
	}
	return id
}
