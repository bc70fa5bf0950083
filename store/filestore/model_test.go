package filestore_test

import (
	"errors"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// Whatever is done in whatever order, two handles on a folder give the results
// that the memory store gives. Revisions differ, so the callers of both hold
// what they read at the same time.
func TestLikeMemory(t *testing.T) {
	servers := []string{"https://a.example", "https://b.example"}
	errs := []error{nil, store.ErrNotFound, store.ErrConflict}
	kind := func(err error) int {
		return slices.IndexFunc(errs, func(e error) bool { return errors.Is(err, e) })
	}
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		dir += "/credentials"
		handles := []store.Store{open(t, filestore.Options{Dir: dir}), open(t, filestore.Options{Dir: dir})}
		model := new(store.Memory)
		type pair struct{ file, model *saved } // what a caller holds
		held := make(map[store.Key]pair)
		drawKey := func(rt *rapid.T) store.Key { return key(t, rapid.SampledFrom(servers).Draw(rt, "server")) }
		handle := func(rt *rapid.T) store.Store { return handles[rapid.IntRange(0, 1).Draw(rt, "handle")] }
		hold := func(k store.Key) pair {
			if p, ok := held[k]; ok {
				return pair{p.file.clone(), p.model.clone()}
			}
			return pair{&saved{Key: k}, &saved{Key: k}}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"get": func(rt *rapid.T) {
				k := drawKey(rt)
				got, err := read(rt.Context(), handle(rt), k)
				want, wantErr := read(rt.Context(), model, k)
				if kind(err) != kind(wantErr) {
					rt.Fatalf("Get = %v, want %v", err, wantErr)
				}
				if err != nil {
					delete(held, k)
					return
				}
				if got.Token != want.Token {
					rt.Fatalf("Get gave %q, want %q", got.Token, want.Token)
				}
				held[k] = pair{got, want}
			},
			"put": func(rt *rapid.T) {
				k := drawKey(rt)
				p := hold(k)
				text := rapid.String().Draw(rt, "text")
				p.file.Token, p.model.Token = text, text
				err, wantErr := p.file.put(rt.Context(), handle(rt)), p.model.put(rt.Context(), model)
				if kind(err) != kind(wantErr) {
					rt.Fatalf("Put = %v, want %v", err, wantErr)
				}
				if err == nil && rapid.Bool().Draw(rt, "go on with it") {
					held[k] = p
				}
			},
			"delete": func(rt *rapid.T) {
				k := drawKey(rt)
				p := hold(k)
				err := handle(rt).Delete(rt.Context(), k, p.file.Revision)
				wantErr := model.Delete(rt.Context(), k, p.model.Revision)
				if kind(err) != kind(wantErr) {
					rt.Fatalf("Delete = %v, want %v", err, wantErr)
				}
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
