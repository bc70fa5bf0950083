package filestore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/handstamp/handstamp/internal/atomicfile"
	"github.com/handstamp/handstamp/internal/envelope"
	"github.com/handstamp/handstamp/store"
)

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, r *store.Record) error { return s.put(ctx, r, nil) }

// put stores r, in reserved room if there is some.
func (s *Store) put(ctx context.Context, r *store.Record, room *reservation) error {
	for {
		lock, err := s.lockRecord(ctx, r.Key)
		if err != nil {
			return err
		}
		err = s.putLocked(r, room, lock)
		lock.unlock()
		if !errors.Is(err, errLockLost) {
			return err
		}
	}
}

func (s *Store) putLocked(r *store.Record, room *reservation, lock *held) error {
	stored, err := s.current(r.Key, lock)
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	next, err := store.Successor(stored, r)
	if err != nil {
		return err
	}
	w, err := newWrite(next, lock)
	if err != nil {
		return err
	}
	w.room = room
	if err := s.save(w); err != nil {
		return err
	}
	r.Stored(next)
	return nil
}

// write is a record on its way to the disk.
type write struct {
	record *store.Record
	data   []byte       // the content of its file
	room   *reservation // nil: none
	lock   *held        // the record's
	quiet  bool         // the user knows already that Dir cannot be written
	back   bool         // the record is the one before, which stays until another is written
}

// newWrite encodes a record, with its checksum.
func newWrite(r *store.Record, lock *held) (*write, error) {
	record, err := store.Encode(r)
	if err != nil {
		return nil, err
	}
	data, err := envelope.Seal(record)
	return &write{record: r, data: data, lock: lock}, err
}

// errLockLost: the comparison that led to this write may be out of date.
var errLockLost = errors.New("filestore: lock file was removed")

// save writes the record into the first place that takes it.
func (s *Store) save(w *write) error {
	key := w.record.Key
	failure := s.writeTo(s.options.Dir, w)
	switch {
	case failure == nil:
		s.forget(key, w.record.Generation)
		if s.options.SpareDir != "" {
			removeSpare(s.options.SpareDir, fileName(key))
		}
		return nil
	case errors.Is(failure, errLockLost), errors.Is(failure, store.ErrUnusable):
		return failure
	}
	if s.options.SpareDir != "" {
		err := s.writeTo(s.options.SpareDir, w)
		switch {
		case err == nil:
			s.forget(key, w.record.Generation)
			s.tell(w, "The login at %s could not be saved in %s (%v). It is in %s for now, which may be emptied when you sign out of this machine.",
				key, s.options.Dir, failure, s.options.SpareDir)
			return nil
		case errors.Is(err, errLockLost):
			return err
		}
		failure = fmt.Errorf("%w; %w", failure, err)
	}
	if s.options.Volatile {
		s.keep(w.record)
		s.tell(w, "The login at %s COULD NOT BE SAVED (%v). It works until this process ends; other processes may have to sign in again. Make room, or make the folder writable, and it will be saved.",
			key, failure)
		return nil
	}
	return unusable("cannot save the credential: %w", failure)
}

func (s *Store) tell(w *write, format string, args ...any) {
	if !w.quiet {
		s.options.Warn(fmt.Sprintf(format, args...))
	}
}

// writeTo replaces the record's file in dir.
func (s *Store) writeTo(dir string, w *write) error {
	if temp := w.room.take(dir); temp != nil {
		err := s.finish(dir, w, temp)
		temp.Discard()
		if err == nil || errors.Is(err, errLockLost) {
			return err
		}
	}
	root, err := openFolder(dir, true)
	if err != nil {
		return err
	}
	defer root.Close()
	temp, err := atomicfile.Create(root, fileName(w.record.Key), s.options.Trace)
	if err != nil {
		return err
	}
	defer temp.Discard()
	return s.finish(dir, w, temp)
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
		if err := keepPrevious(dir, fileName(w.record.Key)); err != nil {
			return err
		}
	}
	err := temp.Publish()
	if errors.Is(err, atomicfile.ErrNotDurable) {
		s.options.Warn(fmt.Sprintf("The login at %s is saved, but might not survive a power failure (%v).", w.record.Key, err))
		return nil
	}
	return err
}

// keepPrevious gives the file called name the second name of the record before.
// A file system without hard links has no such record.
func keepPrevious(dir, name string) error {
	root, err := openFolder(dir, false)
	if err != nil {
		return err
	}
	defer root.Close()
	previous := name + previousExt
	temp := name + ".tmp-link-" + rand.Text()[:10]
	if err := root.Link(name, temp); err != nil {
		// What is called so now is an older record, or one that was deleted.
		root.Remove(previous)
		return nil
	}
	err = root.Rename(temp, previous)
	root.Remove(temp) // renaming onto another name of the same file does nothing
	return err
}

func removeSpare(dir, name string) {
	root, err := openFolder(dir, false)
	if err != nil {
		return
	}
	defer root.Close()
	if root.Remove(name) == nil {
		atomicfile.SyncDir(root)
	}
}
