package filestore_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
	"github.com/handstamp/handstamp/store/storetest"
)

// notices collects the calls of Options.Warn.
type notices struct {
	mu   sync.Mutex
	list []string // guarded by mu
}

func (n *notices) add(message string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, message)
}

// take returns the notices since the last call.
func (n *notices) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.list
	n.list = nil
	return list
}

// open opens a store; notices that it does not expect fail the test.
func open(t testing.TB, options filestore.Options) *filestore.Store {
	t.Helper()
	if options.Warn == nil {
		options.Warn = func(message string) { t.Errorf("unexpected notice: %s", message) }
	}
	s, err := filestore.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func key(t testing.TB, server string) store.Key {
	t.Helper()
	k, err := store.NewKey(server, "")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func file(dir string, k store.Key) string { return filepath.Join(dir, k.Name()+".json") }

func TestStore(t *testing.T) {
	tests := []struct {
		name    string
		options func(t *testing.T) filestore.Options
	}{
		{"plain", func(t *testing.T) filestore.Options { return filestore.Options{} }},
		{"with everything", func(t *testing.T) filestore.Options {
			return filestore.Options{SpareDir: t.TempDir() + "/spare", Volatile: true}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			opened := make(map[store.Store]filestore.Options)
			pathOf := func(s store.Store, k store.Key) string {
				mu.Lock()
				defer mu.Unlock()
				return file(opened[s].Dir, k)
			}
			storetest.Suite{
				Open: func(t *testing.T) store.Store {
					options := test.options(t)
					options.Dir = filepath.Join(t.TempDir(), "credentials")
					options.Warn = func(string) {}
					s := open(t, options)
					mu.Lock()
					defer mu.Unlock()
					opened[s] = options
					return s
				},
				Reopen: func(t *testing.T, s store.Store) store.Store {
					mu.Lock()
					defer mu.Unlock()
					return open(t, opened[s])
				},
				ReadRaw: func(t *testing.T, s store.Store, k store.Key) []byte {
					data, err := os.ReadFile(pathOf(s, k))
					if err != nil {
						t.Fatal(err)
					}
					return data
				},
				WriteRaw: func(t *testing.T, s store.Store, k store.Key, data []byte) {
					// Without the value before, which would take its place.
					if err := os.Remove(pathOf(s, k) + ".prev"); err != nil && !errors.Is(err, os.ErrNotExist) {
						t.Fatal(err)
					}
					if err := os.WriteFile(pathOf(s, k), data, 0o600); err != nil {
						t.Fatal(err)
					}
				},
			}.Run(t)
		})
	}
}

// A value that is too large is not stored, and leaves the one before as it is.
func TestValueThatIsTooLarge(t *testing.T) {
	s, key := open(t, filestore.Options{Dir: t.TempDir() + "/credentials"}), store.Key{Server: "https://mcp.example", Profile: "default"}
	kept := []byte("kept")
	revision, err := s.Put(t.Context(), key, kept, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{16 << 20, 16<<20 + 1, 20 << 20} {
		if _, err := s.Put(t.Context(), key, make([]byte, size), revision); !errors.Is(err, store.ErrUnusable) {
			t.Errorf("Put of %d bytes: %v, want ErrUnusable", size, err)
		}
		if value, again, err := s.Get(t.Context(), key); err != nil || string(value) != "kept" || again != revision {
			t.Errorf("after %d bytes: %.20q, %s, %v", size, value, again, err)
		}
	}
	if _, err := s.Put(t.Context(), key, make([]byte, 1<<20), revision); err != nil {
		t.Errorf("Put of 1 MiB: %v", err)
	}
}
