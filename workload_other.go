//go:build !unix

package handstamp

import "os/exec"

// ownGroup does nothing here: a program of an assertion whose time is over may leave others behind.
func ownGroup(*exec.Cmd) {}
