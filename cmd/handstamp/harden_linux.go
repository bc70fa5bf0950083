package main

import "syscall"

// harden keeps the secrets in this process's memory from other processes of the
// same user and from core dumps. Both are lost by starting another program, so
// what exec runs is not affected (prctl(2), PR_SET_DUMPABLE). Failing is no
// reason to stop.
func harden() {
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, 0, 0)
}
