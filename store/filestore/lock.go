package filestore

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/handstamp/handstamp/store"
)

// pollEvery is how often a lock that another process holds is tried: often
// enough that waiters lose little, at next to no load.
const pollEvery = 25 * time.Millisecond

// Lock implements store.Store. Where the lock's file can be made neither in
// LockDir nor in SpareDir, and Options.Volatile is set, the lock holds between
// the goroutines of this process only, with a notice.
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

// lockRecord takes the lock that makes Put's comparison and its write one step.
func (s *Store) lockRecord(ctx context.Context, key store.Key) (*held, error) {
	return s.lock(ctx, key.Name()+".lock")
}

// held is a lock that is held.
type held struct {
	unlock func()       // may be called twice
	file   *flock.Flock // nil if the lock holds in this process only
}

// lost says whether somebody removed the lock's file, so that another process
// may hold the same lock.
func (h *held) lost() bool { return h.file != nil && !inPlace(h.file) }

// lock takes first the goroutines' lock, then the processes'.
func (s *Store) lock(ctx context.Context, file string) (*held, error) {
	release, err := s.locks.Lock(ctx, file)
	if err != nil {
		return nil, err
	}
	f, err := s.lockFile(ctx, file)
	if err != nil {
		release()
		return nil, err
	}
	return &held{file: f, unlock: sync.OnceFunc(func() {
		if f != nil {
			f.Unlock()
		}
		release()
	})}, nil
}

func (s *Store) lockFile(ctx context.Context, file string) (*flock.Flock, error) {
	dirs := []string{s.options.LockDir}
	if s.options.SpareDir != "" {
		dirs = append(dirs, filepath.Join(s.options.SpareDir, "locks"))
	}
	var first error
	for _, dir := range dirs {
		f, err := lockIn(ctx, dir, file)
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

func lockIn(ctx context.Context, dir, file string) (f *flock.Flock, err error) {
	// Somebody may remove the folder while we wait.
	for range 10 {
		root, folderErr := openFolder(dir, true)
		if folderErr != nil {
			return nil, folderErr
		}
		root.Close()
		if f, err = acquire(ctx, filepath.Join(dir, file)); !notThere(err) {
			return f, err
		}
	}
	return nil, err
}

// acquire waits for the lock of a file. The system's call may hang where the
// file system is remote, so the wait for it is left when ctx ends.
func acquire(ctx context.Context, path string) (*flock.Flock, error) {
	type result struct {
		file *flock.Flock
		err  error
	}
	done := make(chan result, 1)
	go func() {
		file, err := poll(ctx, path)
		done <- result{file, err}
	}()
	select {
	case r := <-done:
		return r.file, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.err == nil {
				r.file.Unlock()
			}
		}()
		return nil, ctx.Err()
	}
}

func poll(ctx context.Context, path string) (*flock.Flock, error) {
	for {
		// Reading is enough to lock, and possible on a full or read-only disk
		// once the file is there.
		file := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDONLY|noFollow), flock.SetPermissions(0o600))
		_, err := file.TryLockContext(ctx, pollEvery)
		switch {
		case errors.Is(err, syscall.ENOLCK):
			return nil, unusable("the file system of %s has no locks; keep credentials on a local disk: %w", path, err)
		case errors.Is(err, syscall.ELOOP):
			return nil, unusable("%s is a symbolic link; remove it", path)
		case errors.Is(err, fs.ErrPermission):
			if info, statErr := os.Lstat(path); statErr == nil {
				err = cmp.Or(checkOwner(path, info), err)
			}
			return nil, err
		case err != nil:
			return nil, err
		}
		if inPlace(file) {
			return file, nil
		}
		file.Unlock() // what we locked was removed: others lock another file
	}
}

// inPlace says whether the file that is locked is still the one at its path.
func inPlace(file *flock.Flock) bool {
	locked, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(file.Path())
	return err == nil && os.SameFile(locked, named)
}
