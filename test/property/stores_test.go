package property

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// revisions are what one caller holds of a key, in each store.
type revisions struct{ file, model store.Revision }

// TestFileStoreIsLikeMemory does operations in any order on two handles of a folder and on the
// memory store: the results are the same. Revisions differ between stores, so the caller holds
// what both returned at the same time.
func TestFileStoreIsLikeMemory(t *testing.T) {
	servers := []string{"https://a.example", "https://b.example"}
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		dir = filepath.Join(dir, "credentials")
		handles := []store.Store{open(t, dir), open(t, dir)}
		model := new(store.Memory)
		held := make(map[store.Key]revisions)
		drawKey := func(rt *rapid.T) store.Key {
			k, err := store.NewKey(rapid.SampledFrom(servers).Draw(rt, "server"), "")
			if err != nil {
				rt.Fatal(err)
			}
			return k
		}
		handle := func(rt *rapid.T) store.Store { return handles[rapid.IntRange(0, 1).Draw(rt, "handle")] }
		rt.Repeat(map[string]func(*rapid.T){
			"get": func(rt *rapid.T) {
				k := drawKey(rt)
				got, revision, err := handle(rt).Get(rt.Context(), k)
				want, modelRevision, wantErr := model.Get(rt.Context(), k)
				same(rt, "Get", err, wantErr)
				if string(got) != string(want) {
					rt.Fatalf("Get returned %q, want %q", got, want)
				}
				held[k] = revisions{revision, modelRevision}
			},
			"put": func(rt *rapid.T) {
				k := drawKey(rt)
				value := rapid.SliceOf(rapid.Byte()).Draw(rt, "value")
				revision, err := handle(rt).Put(rt.Context(), k, value, held[k].file)
				modelRevision, wantErr := model.Put(rt.Context(), k, value, held[k].model)
				same(rt, "Put", err, wantErr)
				if err == nil && rapid.Bool().Draw(rt, "go on with it") {
					held[k] = revisions{revision, modelRevision}
				}
			},
			"delete": func(rt *rapid.T) {
				k := drawKey(rt)
				err := handle(rt).Delete(rt.Context(), k, held[k].file)
				same(rt, "Delete", err, model.Delete(rt.Context(), k, held[k].model))
			},
			"": func(rt *rapid.T) {
				got, err := handles[0].List(rt.Context())
				want, _ := model.List(rt.Context())
				if err != nil || !slices.Equal(got, want) {
					rt.Fatalf("List = %v, %v, want %v", got, err, want)
				}
			},
		})
	})
}

// same ends the test if two errors are of different kinds.
func same(rt *rapid.T, what string, got, want error) {
	rt.Helper()
	kinds := []error{nil, store.ErrNotFound, store.ErrConflict}
	kind := func(err error) int {
		return slices.IndexFunc(kinds, func(e error) bool { return errors.Is(err, e) })
	}
	if kind(got) != kind(want) {
		rt.Fatalf("%s = %v, want %v", what, got, want)
	}
}

func open(t *testing.T, dir string) store.Store {
	t.Helper()
	s, err := filestore.Open(filestore.Options{
		Dir: dir, Warn: func(message string) { t.Errorf("unexpected notice: %s", message) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
