package handstamp

import "syscall"

// Process creation flags of Windows.
const (
	detachedProcess  = 0x00000008 // no console, and so none of its signals
	breakawayFromJob = 0x01000000 // not a part of the job that we may be ended with
)

// detached returns the ways to start a process that outlives this one, the best
// first: not every job lets its processes go.
func detached() []*syscall.SysProcAttr {
	return []*syscall.SysProcAttr{
		{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP | detachedProcess | breakawayFromJob},
		{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP | detachedProcess},
	}
}

func outlive() {}
