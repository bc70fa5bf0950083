//go:build unix && !linux

package main

import "syscall"

// harden keeps the secrets in this process's memory out of core dumps. Failing
// is no reason to stop.
func harden() {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_CORE, &limit) == nil {
		limit.Cur = 0
		_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &limit)
	}
}
