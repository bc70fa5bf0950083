package filestore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"github.com/handstamp/handstamp/internal/atomicfile"
	"github.com/handstamp/handstamp/store"
)

// Put implements [store.Store].
func (s *Store) Put(ctx context.Context, key store.Key, value []byte, revision store.Revision) (store.Revision, error) {
	return s.put(ctx, key, value, revision, nil)
}

// put stores a value, in reserved space if there is some.
func (s *Store) put(ctx context.Context, key store.Key, value []byte, revision store.Revision, space *reservation) (store.Revision, error) {
	value = bytes.Clone(value) // it may be kept in this process
	s.sweep()
	for {
		lock, err := s.lockEntry(ctx, key)
		if err != nil {
			return "", err
		}
		next, err := s.putLocked(key, value, revision, space, lock)
		lock.unlock()
		if !errors.Is(err, errLockLost) {
			return next, err
		}
	}
}

func (s *Store) putLocked(key store.Key, value []byte, revision store.Revision, space *reservation, lock *held) (store.Revision, error) {
	stored, err := s.current(key, lock)
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return "", err
	}
	next, err := successor(stored, key, value, revision)
	if err != nil {
		return "", err
	}
	w, err := newWrite(next, lock)
	if err != nil {
		return "", err
	}
	w.space = space
	if err := s.save(w); err != nil {
		return "", err
	}
	return next.Revision, nil
}

// write is an entry on its way to the disk.
type write struct {
	entry *entry
	data  []byte       // the content of its file
	space *reservation // nil: none
	lock  *held        // the credential's
	quiet bool         // the user knows already that Dir cannot be written
	back  bool         // the value is the one before, whose file stays until another is written
}

func newWrite(e *entry, lock *held) (*write, error) {
	data, err := e.encode()
	return &write{entry: e, data: data, lock: lock}, err
}

// errLockLost: the comparison that led to this write may be out of date.
var errLockLost = errors.New("filestore: lock file was removed")

// save writes the record into the first place that takes it.
func (s *Store) save(w *write) error {
	key := w.entry.Key
	failure := s.writeTo(s.options.Dir, w)
	switch {
	case failure == nil:
		s.forget(key, w.entry.Generation)
		if s.options.SpareDir != "" {
			_ = inFolder(s.options.SpareDir, false, func(root *os.Root) error {
				if err := root.Remove(fileName(key)); err != nil {
					return err
				}
				return atomicfile.SyncDir(root)
			})
		}
		return nil
	case errors.Is(failure, errLockLost), errors.Is(failure, store.ErrUnusable):
		return failure
	}
	if s.options.SpareDir != "" {
		err := s.writeTo(s.options.SpareDir, w)
		switch {
		case err == nil:
			s.forget(key, w.entry.Generation)
			s.notify(w, "The login at %s could not be saved in %s (%v). It is in %s for now, which may be emptied when you sign out of this machine.",
				key, s.options.Dir, failure, s.options.SpareDir)
			return nil
		case errors.Is(err, errLockLost):
			return err
		}
		failure = fmt.Errorf("%w; %w", failure, err)
	}
	if s.options.Volatile {
		s.keep(w.entry)
		s.notify(w, "The login at %s COULD NOT BE SAVED (%v). It works until this process ends; other processes may have to sign in again. Make space, or make the folder writable, and it will be saved.",
			key, failure)
		return nil
	}
	return unusable("cannot save the credential: %w", failure)
}

func (s *Store) notify(w *write, format string, args ...any) {
	if !w.quiet {
		s.options.Warn(fmt.Sprintf(format, args...))
	}
}

// writeTo replaces the record's file in dir.
func (s *Store) writeTo(dir string, w *write) error {
	if temp := w.space.take(dir); temp != nil {
		err := s.finish(dir, w, temp)
		temp.Discard()
		if err == nil || errors.Is(err, errLockLost) {
			return err
		}
	}
	return inFolder(dir, true, func(root *os.Root) error {
		temp, err := atomicfile.Create(root, fileName(w.entry.Key), s.options.Trace)
		if err != nil {
			return err
		}
		defer temp.Discard()
		return s.finish(dir, w, temp)
	})
}

// finish writes into temp and puts it in its place. What was there stays as the
// record before, except in the spare folder.
func (s *Store) finish(dir string, w *write, temp *atomicfile.Temp) error {
	if err := temp.Write(w.data); err != nil {
		return err
	}
	if w.lock.lost() {
		return errLockLost
	}
	if dir == s.options.Dir && !w.back {
		if err := keepPrevious(dir, fileName(w.entry.Key)); err != nil {
			return err
		}
	}
	err := temp.Publish()
	if errors.Is(err, atomicfile.ErrNotDurable) {
		s.options.Warn(fmt.Sprintf("The login at %s is saved, but might not survive a power failure (%v).", w.entry.Key, err))
		return nil
	}
	return err
}

// keepPrevious gives the file called name the second name of the record before.
// A file system without hard links has no such record.
func keepPrevious(dir, name string) error {
	return inFolder(dir, false, func(root *os.Root) error {
		linked, err := link(root, name, "", previousExt)
		if !linked {
			// What is called so now is an older record, or one that was deleted.
			root.Remove(name + previousExt)
		}
		return err
	})
}

// link makes name+to a second name of the file name+from, in one step. linked is false if there is
// no such file, or the file system has no hard links.
func link(root *os.Root, name, from, to string) (linked bool, err error) {
	temp := name + ".tmp-link-" + rand.Text()[:10]
	if root.Link(name+from, temp) != nil {
		return false, nil
	}
	err = root.Rename(temp, name+to)
	root.Remove(temp) // renaming onto another name of the same file does nothing
	return true, err
}
