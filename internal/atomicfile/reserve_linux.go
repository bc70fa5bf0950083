package atomicfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// reserve allocates the blocks. Some file systems cannot: they get zeros.
func reserve(file *os.File, size int64) error {
	if size <= 0 {
		return nil
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	err = conn.Control(func(fd uintptr) {
		for {
			failure = unix.Fallocate(int(fd), 0, 0, size)
			if !errors.Is(failure, unix.EINTR) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	if errors.Is(failure, unix.EOPNOTSUPP) || errors.Is(failure, unix.ENOSYS) {
		return writeZeros(file, size)
	}
	if failure != nil {
		return &os.PathError{Op: "fallocate", Path: file.Name(), Err: failure}
	}
	return nil
}
