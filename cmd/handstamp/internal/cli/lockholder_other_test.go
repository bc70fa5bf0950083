//go:build !unix

package cli

// holdLock is for tests that stop a process.
func holdLock() int { return 1 }

// goProgram is for tests of processes.
func goProgram() int { return 1 }
