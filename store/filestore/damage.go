package filestore

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/store"
)

// current is newest for the holder of the credential's lock: it sets damaged copies aside, and if
// there is no other brings back the value before or fails with store.ErrCorrupt, which states
// where the damaged file is now.
func (s *Store) current(key store.Key, lock *held) (*entry, error) {
	e, damaged, err := s.newest(key)
	if err != nil || len(damaged) == 0 {
		return e, err
	}
	var places []string
	for _, copied := range damaged {
		place, err := setAside(copied.dir, fileName(key))
		if err != nil {
			place = filepath.Join(copied.dir, fileName(key)) + ", where it has to stay (" + err.Error() + ")"
		}
		places = append(places, place)
	}
	place, fault := strings.Join(places, " and "), damaged[0].err
	if e == nil && slices.ContainsFunc(damaged, func(c damagedCopy) bool { return c.dir == s.options.Dir }) {
		e = s.restore(key, lock)
	}
	if e == nil {
		return nil, fmt.Errorf("%w; the file is now %s", fault, place)
	}
	s.options.Warn(fmt.Sprintf("The saved login at %s was damaged (%s), so another copy is used; the damaged file is now %s.",
		key, strings.TrimPrefix(fault.Error(), store.ErrCorrupt.Error()+": "), place))
	return e, nil
}

// restore brings back the value before the damaged one, or returns nil. It gets a generation
// that the damaged one cannot have had. Where it cannot be written, as on a full disk, its file
// gets a second name instead, so that later processes find it.
func (s *Store) restore(key store.Key, lock *held) *entry {
	previous, err := readEntry(s.options.Dir, fileName(key)+previousExt, key)
	if err != nil {
		return nil
	}
	e := newEntry(key, previous.Generation+2, previous.value)
	w, err := newWrite(e, lock)
	if err != nil {
		return previous // still better than nothing
	}
	w.back = true
	if s.save(w) != nil {
		// The file before gets the name of the current one, which is free.
		_ = inFolder(s.options.Dir, false, func(root *os.Root) error {
			return root.Link(fileName(key)+previousExt, fileName(key))
		})
		return previous
	}
	return e
}

// setAside renames a damaged file and returns where it is now.
func setAside(dir, name string) (string, error) {
	aside := name + corruptExt + time.Now().UTC().Format("20060102T150405.000000000Z")
	err := inFolder(dir, false, func(root *os.Root) error { return root.Rename(name, aside) })
	return filepath.Join(dir, aside), err
}
