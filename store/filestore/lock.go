package filestore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/internal/locks"
)

// locksName is the folder of the lock files, in the folder of the credentials: it is not a
// matter of configuration, so that all who open that folder use the same locks.
const locksName = "locks"

// goroutines has the part of every lock that keeps the goroutines of this process apart, by
// the path of the lock's file, for all Stores.
var goroutines locks.Set[string]

// Lock implements store.Store. Where the lock's file can be made neither in
// Dir nor in SpareDir, and Options.Volatile is set, the lock holds between
// the goroutines of this process only, with a notice.
//
// A process that waits is woken by the system: it uses no processor. When ctx ends first, the
// error is a *store.BusyError that names the holder.
func (s *Store) Lock(ctx context.Context, key store.Key, name store.LockName) (unlock func(), err error) {
	if name == "" || strings.Trim(string(name), "abcdefghijklmnopqrstuvwxyz") != "" {
		return nil, errors.New("filestore: the name of a lock must be made of lower-case letters")
	}
	l, err := s.lock(ctx, key.Name()+"."+string(name)+".lock")
	if err != nil {
		return nil, err
	}
	return l.unlock, nil
}

// lockEntry takes the lock that makes Put's comparison and its write one step.
func (s *Store) lockEntry(ctx context.Context, key store.Key) (*held, error) {
	return s.lock(ctx, key.Name()+".lock")
}

// held is a lock that is held.
type held struct {
	unlock func()    // may be called twice
	file   *lockFile // nil if the lock holds in this process only
	proper string    // the path that every process tries first
	absent bool      // there was no file at proper when the lock was taken elsewhere
}

// lost reports whether another process may hold the same lock: a user removed the lock's
// file, or this one is in SpareDir and the one in Dir exists by now.
func (h *held) lost() bool {
	if h.file == nil {
		return false
	}
	return h.absent && exists(h.proper) || !h.file.inPlace()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// lock takes first the goroutines' lock, then the processes'.
func (s *Store) lock(ctx context.Context, name string) (*held, error) {
	proper := filepath.Join(s.options.Dir, locksName, name)
	release, err := goroutines.Lock(ctx, proper)
	if err != nil {
		return nil, busy(err, proper)
	}
	f, err := s.lockFile(ctx, name)
	if err != nil {
		release()
		return nil, err
	}
	absent := f != nil && f.path != proper && !exists(proper)
	return &held{file: f, proper: proper, absent: absent, unlock: sync.OnceFunc(func() {
		if f != nil {
			f.release()
		}
		release()
	})}, nil
}

func (s *Store) lockFile(ctx context.Context, name string) (*lockFile, error) {
	var first error
	for _, dir := range s.dirs() {
		f, err := lockIn(ctx, filepath.Join(dir, locksName), name)
		if err == nil || ctx.Err() != nil || errors.Is(err, store.ErrUnusable) {
			return f, err
		}
		if first == nil {
			first = err
		}
	}
	if s.options.Volatile {
		s.warnOnce("Cannot lock credentials against other processes (" + first.Error() + "): do not run two at once.")
		return nil, nil
	}
	return nil, unusable("cannot lock: %w", first)
}

func lockIn(ctx context.Context, dir, name string) (f *lockFile, err error) {
	// A user may remove the folder while we wait.
	for range 10 {
		if err := inFolder(dir, true, usable); err != nil {
			return nil, err
		}
		path := filepath.Join(dir, name)
		if f, err = acquire(ctx, path); !notThere(err) {
			return f, busy(err, path)
		}
	}
	return nil, err
}

// busy adds to the end of a wait who holds the lock. A caller who went away does not want to
// know.
func busy(err error, path string) error {
	if !errors.Is(err, context.DeadlineExceeded) || store.Busy(err) != nil {
		return err
	}
	e := &store.BusyError{Path: path, Err: err}
	e.PID, e.Program, e.Stopped = holder(path)
	return e
}
