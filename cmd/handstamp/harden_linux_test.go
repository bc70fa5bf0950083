package main

import (
	"syscall"
	"testing"
)

func TestHarden(t *testing.T) {
	harden()
	dumpable, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_GET_DUMPABLE, 0, 0)
	if errno != 0 || dumpable != 0 {
		t.Errorf("the process is still dumpable: %d, %v", dumpable, errno)
	}
}
