//go:build !unix

package main

// harden has nothing to do: these systems write no core files.
func harden() {}
