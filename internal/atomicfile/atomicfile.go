// Package atomicfile replaces a file in one step: whoever reads it, at any time
// and after any crash, reads the old bytes or the new ones, whole.
//
//	t, err := atomicfile.Create(root, "name", trace)
//	defer t.Discard()
//	t.Reserve(size) // optional: fails now rather than at Write
//	t.Write(data)   // durable, under another name
//	t.Publish()     // in place of the old file
//
// A file is never changed in place: not truncated, not written over, not
// chmod'ed.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
)

// Step is a step of a write, in this order.
type Step string

// The steps of a write. A step that is tried again is reported again.
const (
	StepCreate  Step = "create"  // the temporary file
	StepReserve Step = "reserve" // space for it
	StepWrite   Step = "write"   // its bytes
	StepSync    Step = "sync"    // them to the disk
	StepRename  Step = "rename"  // it onto the file
	StepSyncDir Step = "syncdir" // the new name to the disk
	StepDone    Step = "done"    // nothing is left to do
)

// ErrNotDurable is what Publish returns if the new file is in place, but might
// not be after a power failure.
var ErrNotDurable = errors.New("atomicfile: folder could not be synced")

// attempts bounds how often bytes that did not reach the disk are written.
const attempts = 3

const infix = ".tmp-"

// Temp is the file that is going to take another's place. It must not be used by
// several goroutines at once, except for Discard.
type Temp struct {
	root  *os.Root
	name  string
	trace func(Step)

	mu   sync.Mutex
	file *os.File // guarded by mu; nil once written
	temp string   // guarded by mu; its name, "" once published or discarded
}

// Create makes the temporary file for name in root, which must stay open until
// the end, with mode 0600. trace, if not nil, is called before each step.
func Create(root *os.Root, name string, trace func(Step)) (*Temp, error) {
	if trace == nil {
		trace = func(Step) {}
	}
	t := &Temp{root: root, name: name, trace: trace}
	return t, t.create()
}

// Target returns the name of the file that the temporary file of this name was
// made for; ok says whether it is a name that Create gives.
func Target(temp string) (name string, ok bool) {
	i := strings.LastIndex(temp, infix)
	if i <= 0 {
		return "", false
	}
	return temp[:i], true
}

// create makes a new file. O_EXCL also does not follow a link at its name.
func (t *Temp) create() error {
	t.trace(StepCreate)
	temp := t.name + infix + strings.ToLower(rand.Text()[:10])
	file, err := t.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.file, t.temp = file, temp
	return nil
}

// Reserve takes space for size bytes from the disk, so that Write cannot fail for
// want of it.
func (t *Temp) Reserve(size int64) error {
	t.trace(StepReserve)
	return reserve(t.file, size)
}

// Write makes data the content of the temporary file, and durable. If it fails,
// the Temp is of no further use.
func (t *Temp) Write(data []byte) error {
	for try := 1; ; try++ {
		err := t.write(data)
		// After a failed sync the kernel may hold the lost pages for clean, and
		// a second sync of the same file would succeed: only a new one will do.
		if err == nil || try == attempts || !errors.Is(err, syscall.EIO) {
			return err
		}
		t.Discard()
		if err := t.create(); err != nil {
			return err
		}
	}
}

func (t *Temp) write(data []byte) error {
	t.mu.Lock()
	file := t.file
	t.file = nil
	t.mu.Unlock()
	if file == nil {
		return fmt.Errorf("atomicfile: %s: %w", t.name, fs.ErrClosed)
	}
	defer file.Close()
	t.trace(StepWrite)
	if _, err := file.WriteAt(data, 0); err != nil {
		return err
	}
	if err := file.Truncate(int64(len(data))); err != nil { // what was reserved too much
		return err
	}
	t.trace(StepSync)
	if err := file.Sync(); err != nil {
		return err
	}
	return file.Close()
}

// Publish puts the written file in its place. With any error but ErrNotDurable
// the old file is still there.
func (t *Temp) Publish() error {
	t.trace(StepRename)
	t.mu.Lock()
	err := t.root.Rename(t.temp, t.name)
	if err == nil {
		t.temp = ""
	}
	t.mu.Unlock()
	if err != nil {
		return err
	}
	t.trace(StepSyncDir)
	for range attempts {
		if err = SyncDir(t.root); err == nil {
			t.trace(StepDone)
			return nil
		}
	}
	return fmt.Errorf("%w: %w", ErrNotDurable, err)
}

// Discard removes the temporary file, unless it was published. It may be called
// more than once.
func (t *Temp) Discard() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file != nil {
		t.file.Close()
	}
	if t.temp != "" {
		t.root.Remove(t.temp)
	}
	t.file, t.temp = nil, ""
}

// writeZeros is reserve where the system has no call for it.
func writeZeros(file *os.File, size int64) error {
	zeros := make([]byte, 32<<10)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := file.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
	}
	return nil
}
