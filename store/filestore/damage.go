package filestore

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/store"
)

// current is newest for who holds the record's lock: it sets damaged copies
// aside, and if no other is there brings back the record before or fails with
// store.ErrCorrupt, which says where it is now.
func (s *Store) current(key store.Key, lock *held) (*store.Record, error) {
	r, damaged, err := s.newest(key)
	if err != nil || len(damaged) == 0 {
		return r, err
	}
	var places []string
	for _, copied := range damaged {
		place, err := setAside(copied.dir, fileName(key))
		if err != nil {
			place = filepath.Join(copied.dir, fileName(key)) + ", where it has to stay (" + err.Error() + ")"
		}
		places = append(places, place)
	}
	place, why := strings.Join(places, " and "), damaged[0].err
	if r == nil && slices.ContainsFunc(damaged, func(c damagedCopy) bool { return c.dir == s.options.Dir }) {
		r = s.restore(key, lock)
	}
	if r == nil {
		return nil, fmt.Errorf("%w; the file is now %s", why, place)
	}
	s.options.Warn(fmt.Sprintf("The saved login at %s was damaged (%s), so another copy is used; the damaged file is now %s.",
		key, strings.TrimPrefix(why.Error(), store.ErrCorrupt.Error()+": "), place))
	return r, nil
}

// restore brings back the record before the damaged one, or returns nil. It gets
// a generation that the damaged one cannot have had. Where it cannot be written, as on
// a full disk, its file gets a second name instead, so that later processes find it.
func (s *Store) restore(key store.Key, lock *held) *store.Record {
	r, err := readRecord(s.options.Dir, fileName(key)+previousExt, key)
	if err != nil {
		return nil
	}
	read := r.Clone()
	r.Generation += 2
	w, err := newWrite(r, lock)
	if err != nil {
		return read // still better than nothing
	}
	w.back = true
	if s.save(w) != nil {
		_ = linkPrevious(s.options.Dir, fileName(key))
		return read
	}
	return r
}

// linkPrevious gives the record before the name of the record, which is free.
func linkPrevious(dir, name string) error {
	root, err := openFolder(dir, false)
	if err != nil {
		return err
	}
	defer root.Close()
	return root.Link(name+previousExt, name)
}

// setAside renames a damaged file and returns where it is now.
func setAside(dir, name string) (string, error) {
	root, err := openFolder(dir, false)
	if err != nil {
		return "", err
	}
	defer root.Close()
	aside := name + corruptExt + time.Now().UTC().Format("20060102T150405.000000000Z")
	if err := root.Rename(name, aside); err != nil {
		return "", err
	}
	return filepath.Join(dir, aside), nil
}
