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
	name := fileName(key)
	var places []string
	for _, copied := range damaged {
		aside, err := setAside(copied.dir, name)
		place := filepath.Join(copied.dir, aside)
		if err != nil {
			place = filepath.Join(copied.dir, name) + ", where it has to stay (" + err.Error() + ")"
		}
		places = append(places, place)
		defer vacate(copied.dir, name, aside)
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

// restore brings back the value before the damaged one, or returns nil. Its file takes the damaged
// one's place at once, so that other processes find it also where it cannot be rewritten, as on
// a full disk. Then it gets a generation that the damaged one cannot have had.
func (s *Store) restore(key store.Key, lock *held) *entry {
	previous, err := readEntry(s.options.Dir, fileName(key)+previousExt, key)
	if err != nil {
		return nil
	}
	if !lock.lost() {
		_ = inFolder(s.options.Dir, false, func(root *os.Root) error {
			_, err := link(root, fileName(key), previousExt, "")
			return err
		})
	}
	e := newEntry(key, previous.Generation+2, previous.value)
	w, err := newWrite(e, lock)
	if err != nil {
		return previous // still better than nothing
	}
	w.back = true
	if s.save(w) != nil {
		return previous
	}
	return e
}

// setAside gives a damaged file a second name, which it returns. The first one stays until another
// file takes it, or vacate: without it, other processes would take the login for one that was
// removed. Where there are no hard links, the file is renamed.
func setAside(dir, name string) (aside string, err error) {
	err = inFolder(dir, false, func(root *os.Root) error {
		list, err := names(root)
		if err != nil {
			return err
		}
		for _, aside = range list {
			if strings.HasPrefix(aside, name+corruptExt) && sameFile(root, name, aside) {
				return nil // a process was killed after it had done this
			}
		}
		aside = name + corruptExt + time.Now().UTC().Format("20060102T150405.000000000Z")
		if root.Link(name, aside) == nil {
			return nil
		}
		return root.Rename(name, aside)
	})
	return aside, err
}

// vacate removes the first name of a damaged file, unless another file has it by now.
func vacate(dir, name, aside string) {
	_ = inFolder(dir, false, func(root *os.Root) error {
		if !sameFile(root, name, aside) {
			return nil
		}
		return root.Remove(name)
	})
}

func sameFile(root *os.Root, name, other string) bool {
	one, err := root.Lstat(name)
	if err != nil {
		return false
	}
	two, err := root.Lstat(other)
	return err == nil && os.SameFile(one, two)
}
