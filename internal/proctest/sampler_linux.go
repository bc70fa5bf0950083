package proctest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// table is the processes of the system, as far as they are known, by their ids.
type table struct {
	s       *Sampler
	proc    *os.File
	loads   *os.File
	self    int
	round   int
	looks   int
	known   map[int]*process
	newest  string // the id that was given last, before the last list of all
	scratch []byte
}

// process is a process. An id that is used again is another one.
type process struct {
	round    int // the last in which it was there
	kin      kinship
	counted  bool
	sealed   bool // its environment cannot be read
	carried  string
	same     int  // in how many visits it carried that
	executed bool // it is a program of its own, not yet only a copy of its parent
}

// kinship is whether a process comes from this one.
type kinship int

const (
	unknown kinship = iota
	stranger
	child
	descendant
)

// looker returns a function that looks at every process once.
func (s *Sampler) looker() (look func(), err error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	loads, err := os.Open("/proc/loadavg")
	if err != nil {
		return nil, errors.Join(err, proc.Close())
	}
	t := &table{s: s, proc: proc, loads: loads, self: os.Getpid(), known: make(map[int]*process), scratch: make([]byte, 64<<10)}
	if _, ok := t.status(t.self); !ok {
		return nil, errors.Join(errors.New("/proc has nothing on this process"), proc.Close(), loads.Close())
	}
	return t.look, nil
}

// look notes what all descendants carry. Where no process has begun, the list of all, which costs
// the most, is the one before.
func (t *table) look() {
	t.looks++
	newest, err := t.newestID()
	if err == nil && newest == t.newest {
		for pid, p := range t.known {
			if p.kin != stranger {
				t.visit(pid)
			}
		}
		return
	}
	t.newest = newest
	if _, err := t.proc.Seek(0, 0); err != nil {
		return
	}
	names, err := t.proc.Readdirnames(-1)
	if err != nil {
		return
	}
	t.round++
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid != t.self {
			t.visit(pid)
		}
	}
	for pid, p := range t.known {
		if p.round != t.round {
			delete(t.known, pid)
		}
	}
}

// newestID returns the id that the system gave last to a process or a thread (proc(5), loadavg).
func (t *table) newestID() (string, error) {
	if _, err := t.loads.Seek(0, 0); err != nil {
		return "", err
	}
	n, err := t.loads.Read(t.scratch)
	if err != nil {
		return "", err
	}
	line := strings.TrimSpace(string(t.scratch[:n]))
	return line[strings.LastIndexByte(line, ' ')+1:], nil
}

// A process that carried the same in so many visits is steady, and visited in one of so many looks:
// a server that a test has started is there for all of it.
const steady, steadyEvery = 16, 8

// visit finds out whether the process is a descendant and notes what it carries.
// A program can start another one in its place, so that is done again and again.
func (t *table) visit(pid int) {
	p := t.kin(pid)
	if p.kin != child && p.kin != descendant || p.same >= steady && t.looks%steadyEvery != 0 {
		return
	}
	if !p.executed {
		status, ok := t.status(pid)
		if !ok || status.flags&forkedOnly != 0 {
			return // it has the memory of its parent, which is looked at itself
		}
		p.executed = true
	}
	args, err := t.read(pid, "cmdline")
	if err != nil || len(args) == 0 {
		return // it has ended
	}
	carried := string(args)
	environ, err := t.read(pid, "environ")
	sealed := errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM)
	if bytes.Contains(environ, []byte(Service)) {
		p.kin = stranger
		return
	}
	if carried += string(environ); carried == p.carried {
		p.same++
		return
	}
	p.carried, p.same = carried, 0
	t.s.mu.Lock()
	if !p.counted {
		t.s.count.processes++
	}
	if sealed && !p.sealed {
		t.s.count.sealed++
	}
	t.s.mu.Unlock()
	p.counted, p.sealed = true, p.sealed || sealed
	t.s.note(split(carried[:len(args)]), split(carried[len(args):]), p.kin == child)
}

// kin returns the process, with its kinship as far as that can be known.
func (t *table) kin(pid int) *process {
	p := t.known[pid]
	if p == nil {
		p = new(process)
		t.known[pid] = p
	}
	p.round = t.round
	if p.kin != unknown {
		return p
	}
	status, ok := t.status(pid)
	switch {
	case !ok || status.flags&kernelThread != 0:
		p.kin = stranger
	case status.parent == t.self:
		p.kin = child
	case status.parent > 0 && t.descends(status.parent):
		p.kin = descendant
	default:
		// Its parent may have died before the first sample.
		environ, err := t.read(pid, "environ")
		if err == nil && len(environ) == 0 && status.state != 'Z' {
			return p // it is about to become another program
		}
		p.kin = stranger
		if bytes.Contains(environ, []byte(t.s.Mark())) && !bytes.Contains(environ, []byte(Service)) {
			p.kin = descendant
		}
	}
	return p
}

// descends reports whether a parent comes from this process.
func (t *table) descends(parent int) bool {
	p := t.known[parent]
	if p == nil {
		p = t.kin(parent) // ids do not always grow
	}
	return p.kin == child || p.kin == descendant
}

// Flags of a process (include/linux/sched.h).
const (
	forkedOnly   = 0x00000040 // PF_FORKNOEXEC
	kernelThread = 0x00200000 // PF_KTHREAD
)

// status is what /proc/<pid>/stat tells (proc_pid_stat(5)).
type status struct {
	state  byte
	parent int
	flags  int
}

func (t *table) status(pid int) (s status, ok bool) {
	text, err := t.read(pid, "stat")
	if err != nil {
		return s, false
	}
	// The name, in parentheses, may have anything in it.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 7 || len(fields[0]) != 1 {
		return s, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return s, false
	}
	flags, err := strconv.Atoi(string(fields[6]))
	return status{fields[0][0], parent, flags}, err == nil
}

// read returns a file of a process, until the next read. It is called so often
// that what package os does for other files counts.
func (t *table) read(pid int, name string) ([]byte, error) {
	var fd int
	err := again(func() (err error) {
		fd, err = syscall.Open(fmt.Sprintf("/proc/%d/%s", pid, name), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	for length := 0; ; {
		if length == len(t.scratch) {
			t.scratch = append(t.scratch, make([]byte, length)...)
		}
		var n int
		err := again(func() (err error) {
			n, err = syscall.Read(fd, t.scratch[length:])
			return err
		})
		if err != nil || n == 0 {
			return t.scratch[:length], err
		}
		length += n
	}
}

// again repeats what a signal has interrupted.
func again(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}

// split splits texts that end with NUL.
func split(text string) []string {
	return strings.Split(strings.TrimSuffix(text, "\x00"), "\x00")
}
