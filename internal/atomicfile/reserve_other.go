//go:build !linux

package atomicfile

import "os"

func reserve(file *os.File, size int64) error { return writeZeros(file, size) }
