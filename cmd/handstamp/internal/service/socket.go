package service

import (
	"fmt"

	"github.com/gofrs/flock"
)

// lockSocket takes the lock of the service at a socket, or returns an error if another service has
// it.
func lockSocket(path string) (unlock func(), err error) {
	lock := flock.New(path, flock.SetPermissions(0o600))
	taken, err := lock.TryLock()
	switch {
	case err != nil:
		return nil, err
	case !taken:
		return nil, fmt.Errorf("another service has %s", path)
	}
	return func() { _ = lock.Close() }, nil
}
