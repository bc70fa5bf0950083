// Package stack makes the stack of a goroutine large enough before its work begins. Without that the
// runtime doubles a stack several times in the middle of the work, and walks and copies all frames
// each time.
package stack

// Grow8K gives the calling goroutine a stack of 8 KiB, which a request over HTTP or to a database takes.
//
//go:noinline
func Grow8K() {
	if used {
		var space [5 << 10]byte
		touch(space[:])
	}
}

// Grow32K gives the calling goroutine a stack of 32 KiB, which all that a command does takes.
//
//go:noinline
func Grow32K() {
	if used {
		var space [24 << 10]byte
		touch(space[:])
	}
}

// used is false. A function has stack for its variables as soon as it is called; their memory is
// touched only where they are used.
var used bool

// touch keeps the compiler from leaving the variable out.
//
//go:noinline
func touch(space []byte) { space[0] = 1 }
