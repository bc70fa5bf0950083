package filestore

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/handstamp/handstamp/internal/envelope"
	"github.com/handstamp/handstamp/store"
)

// List implements store.Store. A damaged file is listed as long as it or the record
// before it tells whose it is, and one that others may touch as long as it can be
// read; Get then tells about it.
func (s *Store) List(context.Context) ([]store.Key, error) {
	found := s.keptKeys()
	var mu sync.Mutex // guards found
	for _, dir := range s.dirs() {
		err := lookThrough(dir, "", func(f *foundFile) error {
			mu.Lock()
			defer mu.Unlock()
			found[f.Key] = true
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return slices.SortedFunc(maps.Keys(found), store.Key.Compare), nil
}

// Scan implements [store.Scanner]. Each file is read once, and of one server's only its own: their
// names begin with its host.
func (s *Store) Scan(
	ctx context.Context, server string,
	visit func(key store.Key, value []byte, revision store.Revision),
) (rest []store.Key, err error) {
	host := ""
	if server != "" {
		host = hostOf(fileName(store.Key{Server: server}))
	}
	// As in newest, what is in several places is looked for in this order, and Get decides.
	later := s.keptKeys()
	var mu sync.Mutex // guards later, and makes one call of visit follow the other
	for _, dir := range slices.Backward(s.dirs()) {
		err := lookThrough(dir, host, func(f *foundFile) error {
			e := f.entry()
			mu.Lock()
			defer mu.Unlock()
			if e != nil && dir == s.options.Dir && !later[f.Key] {
				if server == "" || f.Key.Server == server {
					visit(f.Key, e.value, e.Revision)
				}
				return ctx.Err()
			}
			later[f.Key] = true
			return ctx.Err()
		})
		if err != nil {
			return nil, err
		}
	}
	for key := range later {
		if server == "" || key.Server == server {
			rest = append(rest, key)
		}
	}
	return rest, nil
}

var _ store.Scanner = (*Store)(nil)

// keptKeys returns the keys of what is in this process only.
func (s *Store) keptKeys() map[store.Key]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make(map[store.Key]bool)
	for key := range s.kept {
		keys[key] = true
	}
	return keys
}

// foundFile is the file of a credential, or the one of the record before it.
type foundFile struct {
	header
	data []byte // nil where the file itself does not tell whose it is, or must not be used
}

// entry returns what is in the file, nil if that cannot be used.
func (f *foundFile) entry() *entry {
	value, err := envelope.Open(f.data, nil) // whose header is read
	if err != nil || f.Revision == "" {
		return nil
	}
	return &entry{header: f.header, value: value}
}

// hostOf returns the part of a file's name that all credentials at a host have in common.
func hostOf(name string) string { return name[:strings.LastIndexByte(name, '-')+1] }

// lookThrough reads the credentials in a folder, those of a host or all. Several goroutines call visit
// at once; an error of it ends them.
func lookThrough(dir, host string, visit func(f *foundFile) error) error {
	root, err := openFolder(dir, false)
	if err == nil {
		defer root.Close()
		var list []string
		if list, err = names(root); err == nil {
			return lookAt(root, list, host, visit)
		}
	}
	switch {
	case notThere(err):
		return nil
	case errors.Is(err, store.ErrUnusable):
		return err
	}
	return unusable("cannot list credentials: %w", err)
}

// lookAt is lookThrough of the files in list.
func lookAt(root *os.Root, list []string, host string, visit func(f *foundFile) error) error {
	list = slices.DeleteFunc(list, func(name string) bool {
		return !strings.HasSuffix(name, extension) || host != "" && hostOf(name) != host
	})
	var next atomic.Int64
	var workers sync.WaitGroup
	failed := make([]error, min(len(list), runtime.GOMAXPROCS(0)))
	for n := range failed {
		workers.Go(func() {
			for i := next.Add(1); i <= int64(len(list)); i = next.Add(1) {
				f := findAt(root, list[i-1])
				if f == nil {
					continue
				}
				if failed[n] = visit(f); failed[n] != nil {
					next.Store(int64(len(list)))
				}
			}
		})
	}
	workers.Wait()
	return cmp.Or(failed...)
}

// findAt returns the credential whose file has a name, or nil.
func findAt(root *os.Root, name string) *foundFile {
	// A file that cannot be read concerns its own key only.
	for _, file := range []string{name, name + previousExt} {
		var rejected error
		data, err := readFile(root, file, func(path string, info fs.FileInfo) error {
			rejected = checkPrivate(path, info) // but its key is no secret
			return nil
		})
		if err != nil {
			continue
		}
		h, ok := headerOf(data)
		if !ok || fileName(h.Key) != name {
			continue
		}
		if rejected != nil || file != name {
			data = nil
		}
		return &foundFile{h, data}
	}
	return nil
}
