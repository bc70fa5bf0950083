//go:build !unix

package mcphost

// KeepOwner does nothing: a file in a folder of the user's is the user's.
func KeepOwner(_, _ string) error { return nil }
