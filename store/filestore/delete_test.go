package filestore

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/handstamp/handstamp/store"
)

// A folder that a user has put beside a value is no file of the store's: it stays, and does not
// keep the token in the value before from being removed.
func TestDeleteBesideAnotherFolder(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Options{Dir: filepath.Join(dir, "credentials")})
	if err != nil {
		t.Fatal(err)
	}
	key, err := store.NewKey("https://a.example", "")
	if err != nil {
		t.Fatal(err)
	}
	var revision store.Revision
	for range 2 {
		if revision, err = s.Put(t.Context(), key, []byte(`"secret"`), revision); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(s.options.Dir, fileName(key))
	if err := os.MkdirAll(path+".backup/kept", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), key, revision); err != nil {
		t.Errorf("Delete = %v", err)
	}
	left, err := filepath.Glob(path + "*")
	if want := []string{path + ".backup"}; err != nil || !slices.Equal(left, want) {
		t.Errorf("left is %q, want %q", left, want)
	}
}
