package filestore

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/store"
)

// List implements store.Store. A damaged file is listed as long as the record
// before it tells whose it is; Get then tells about it. Unsafe files are left
// out.
func (s *Store) List(context.Context) ([]store.Key, error) {
	s.mu.Lock()
	found := make(map[store.Key]bool)
	for key := range s.kept {
		found[key] = true
	}
	s.mu.Unlock()
	for _, dir := range s.dirs() {
		if err := listFolder(dir, found); err != nil && !notThere(err) {
			if errors.Is(err, store.ErrUnusable) {
				return nil, err
			}
			return nil, unusable("cannot list credentials: %w", err)
		}
	}
	keys := make([]store.Key, 0, len(found))
	for key := range found {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, store.Key.Compare)
	return keys, nil
}

func listFolder(dir string, found map[store.Key]bool) error {
	root, err := openFolder(dir, false)
	if err != nil {
		return err
	}
	defer root.Close()
	list, err := names(root)
	if err != nil {
		return err
	}
	for _, name := range list {
		if !strings.HasSuffix(name, extension) {
			continue
		}
		// A file that cannot be read concerns its own key only.
		for _, file := range []string{name, name + previousExt} {
			data, err := readFile(root, file)
			if err != nil {
				continue
			}
			if r, err := store.Decode(data); err == nil && fileName(r.Key) == name {
				found[r.Key] = true
				break
			}
		}
	}
	return nil
}
