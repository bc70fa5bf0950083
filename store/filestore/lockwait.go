package filestore

import (
	"context"
	"sync"
	"time"
)

// lookEvery is how often a waiting process makes sure that the file it waits for is still
// the lock's: nothing removes lock files, but users do.
const lookEvery = 2 * time.Second

// wait is the system's call that blocks until a lock file is free. It takes a thread, and
// cannot be cancelled. So there is at most one for each file in a process, and one whose
// caller went away is left to the next caller: calls that time out again and again while
// another process hangs do not collect threads.
type wait struct {
	file *lockFile
	done chan struct{} // closed when the call has returned
	err  error         // of the call, once done is closed

	abandoned bool // guarded by waitsMu; no caller waits for the lock
}

var (
	waitsMu sync.Mutex
	waits   = make(map[string]*wait) // guarded by waitsMu; by path
)

// acquire waits for the lock of a file, or until ctx ends. One goroutine at a time calls it
// for a path.
func acquire(ctx context.Context, path string) (*lockFile, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		w, f, err := tryOrWait(path)
		if err != nil {
			return nil, err
		}
		if w != nil {
			if f, err = w.result(ctx); err != nil {
				return nil, err
			}
		}
		if f != nil && f.inPlace() {
			return f, nil
		}
		if f != nil {
			f.release() // what we locked was removed: others lock another file
		}
	}
}

// tryOrWait returns the lock if it is free, and otherwise the wait for it.
func tryOrWait(path string) (*wait, *lockFile, error) {
	waitsMu.Lock()
	defer waitsMu.Unlock()
	if w := waits[path]; w != nil && w.file.inPlace() {
		w.abandoned = false
		return w, nil, nil
	}
	f, err := openLockFile(path)
	if err != nil {
		return nil, nil, err
	}
	free, err := f.try()
	if free {
		return nil, f, nil
	}
	if err != nil {
		f.release()
		return nil, nil, err
	}
	w := &wait{file: f, done: make(chan struct{})}
	waits[path] = w
	go w.run()
	return w, nil, nil
}

func (w *wait) run() {
	err := w.file.wait()
	waitsMu.Lock()
	defer waitsMu.Unlock()
	if waits[w.file.path] == w {
		delete(waits, w.file.path)
	}
	if w.err = err; err != nil || w.abandoned {
		w.file.release()
	}
	close(w.done)
}

// result returns the lock, or nil if its file was removed meanwhile.
func (w *wait) result(ctx context.Context) (*lockFile, error) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-w.done:
			if w.err != nil {
				return nil, w.err
			}
			return w.file, nil
		case <-ctx.Done():
			w.abandon(false)
			return nil, ctx.Err()
		case <-look.C:
			if !w.file.inPlace() {
				w.abandon(true)
				return nil, nil
			}
		}
	}
}

// abandon leaves the wait to the next caller, or drops it if forever: the file is no longer a
// lock.
func (w *wait) abandon(forever bool) {
	waitsMu.Lock()
	defer waitsMu.Unlock()
	select {
	case <-w.done:
		if w.err == nil {
			w.file.release()
		}
		return
	default:
	}
	w.abandoned = true
	if forever && waits[w.file.path] == w {
		delete(waits, w.file.path)
	}
}
