//go:build !unix

package mcphost

// keepOwner does nothing: a file in a folder of the user's is the user's.
func keepOwner(_, _ string) error { return nil }
