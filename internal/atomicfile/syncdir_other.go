//go:build !unix

package atomicfile

import "os"

// SyncDir makes the names in root durable. Here the system does so by itself.
func SyncDir(*os.Root) error { return nil }
