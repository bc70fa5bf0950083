package filestore

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/handstamp/handstamp/store"
)

// List implements store.Store. A damaged file is listed as long as it or the record
// before it tells whose it is, and one that others may touch as long as it can be
// read; Get then tells about it.
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
			data, err := readFile(root, file, anybodys)
			if err != nil {
				continue
			}
			if key, ok := keyOf(data); ok && fileName(key) == name {
				found[key] = true
				break
			}
		}
	}
	return nil
}

// anybodys has nothing against any file: only a key is read from it.
func anybodys(string, fs.FileInfo) error { return nil }
