package sealed_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
	"github.com/handstamp/handstamp/store/sealed"
	"github.com/handstamp/handstamp/store/storetest"
)

func TestMain(m *testing.M) {
	proctest.Prepare()
	os.Exit(m.Run())
}

func newKey(t testing.TB) sealed.Key {
	t.Helper()
	raw := make([]byte, sealed.KeySize)
	rand.Read(raw)
	k, err := sealed.NewKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// inners knows which store a sealed one was made around.
type inners struct {
	mu    sync.Mutex
	inner map[store.Store]store.Store
}

func (i *inners) of(s store.Store) store.Store {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.inner[s]
}

func (i *inners) add(s, inner store.Store) store.Store {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.inner == nil {
		i.inner = make(map[store.Store]store.Store)
	}
	i.inner[s] = inner
	return s
}

// The contract holds around any store, and damage of the sealed bytes is noticed even where the
// store within notices none.
func TestSealedKeepsTheContract(t *testing.T) {
	key, other := newKey(t), newKey(t)
	for name, open := range map[string]func(t *testing.T) store.Store{
		"memory": func(*testing.T) store.Store { return new(store.Memory) },
		"files": func(t *testing.T) store.Store {
			s, err := filestore.Open(filestore.Options{Dir: t.TempDir() + "/credentials"})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all inners
			storetest.Suite{
				Open: func(t *testing.T) store.Store {
					inner := open(t)
					return all.add(sealed.New(inner, key, other), inner)
				},
				Reopen: func(_ *testing.T, s store.Store) store.Store {
					return all.add(sealed.New(all.of(s), other, key), all.of(s))
				},
				ReadRaw: func(t *testing.T, s store.Store, k store.Key) []byte {
					data, _, err := all.of(s).Get(t.Context(), k)
					if err != nil {
						t.Fatal(err)
					}
					return data
				},
				WriteRaw: func(t *testing.T, s store.Store, k store.Key, data []byte) {
					_, revision, _ := all.of(s).Get(t.Context(), k)
					if _, err := all.of(s).Put(t.Context(), k, data, revision); err != nil {
						t.Fatal(err)
					}
				},
			}.Run(t)
		})
	}
}

// A store reserves if the one within does, and only then.
func TestSealedReservesWhereTheStoreWithinDoes(t *testing.T) {
	if _, ok := sealed.New(new(store.Memory), newKey(t)).(store.Reserver); ok {
		t.Error("a store in memory has nothing to reserve")
	}
	files, err := filestore.Open(filestore.Options{Dir: t.TempDir() + "/credentials"})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := sealed.New(files, newKey(t)).(store.Reserver); !ok {
		t.Error("a file store reserves space")
	}
}

var mcp = store.Key{Server: "https://mcp.example/mcp", Profile: "default"}

// Whatever is done to the bytes of a value, or wherever they are moved, is damage of that value, and
// never a value and never "nothing is stored".
func TestSealedValueThatWasChangedIsDamaged(t *testing.T) {
	memory := new(store.Memory)
	s := sealed.New(memory, newKey(t))
	revision, err := s.Put(t.Context(), mcp, []byte("refresh-token"), "")
	if err != nil {
		t.Fatal(err)
	}
	box, _, _ := memory.Get(t.Context(), mcp)
	check := func(what string, k store.Key, changed []byte) {
		t.Helper()
		_, before, _ := memory.Get(t.Context(), k)
		if revision, err = memory.Put(t.Context(), k, changed, before); err != nil {
			t.Fatal(err)
		}
		value, got, err := s.Get(t.Context(), k)
		if !errors.Is(err, store.ErrCorrupt) || value != nil || got != revision {
			t.Errorf("%s: Get = %q, %q, %v; want ErrCorrupt and %q", what, value, got, err, revision)
		}
	}
	for at := range box {
		flipped := bytes.Clone(box)
		flipped[at] ^= 0x10
		check(fmt.Sprint("flipped byte ", at), mcp, flipped)
		check(fmt.Sprint("cut before byte ", at), mcp, box[:at])
	}
	check("one byte more", mcp, append(bytes.Clone(box), 0))
	check("in the clear", mcp, []byte(`{"version":1}`))
	for _, other := range []store.Key{
		{Server: mcp.Server, Profile: "work"},
		{Server: mcp.Server + "/", Profile: mcp.Profile},
		{Server: "https://mcp.example/mcp2", Profile: "default"},
		{Server: mcp.Server, Profile: ""},
		{Server: mcp.Server + "d", Profile: "efault"},
	} {
		check("moved to "+fmt.Sprintf("%q", other), other, box)
	}
	check("back, but cut", mcp, box[:len(box)-1])
	if _, err := memory.Put(t.Context(), mcp, box, revision); err != nil {
		t.Fatal(err)
	}
	if value, _, err := s.Get(t.Context(), mcp); err != nil || string(value) != "refresh-token" {
		t.Errorf("in its own place again: %q, %v", value, err)
	}
}

// After the key is changed, what the old one sealed is read, and the next write seals it again.
func TestSealedKeysRotate(t *testing.T) {
	memory := new(store.Memory)
	first, second := newKey(t), newKey(t)
	if _, err := sealed.New(memory, first).Put(t.Context(), mcp, []byte("value"), ""); err != nil {
		t.Fatal(err)
	}
	both := sealed.New(memory, second, first)
	value, revision, err := both.Get(t.Context(), mcp)
	if err != nil || string(value) != "value" {
		t.Fatalf("with the older key: %q, %v", value, err)
	}
	alone := sealed.New(memory, second)
	if value, _, err := alone.Get(t.Context(), mcp); err == nil {
		t.Fatalf("without the key that sealed it: %q", value)
	}
	if _, err := both.Put(t.Context(), mcp, value, revision); err != nil {
		t.Fatal(err)
	}
	if value, _, err := alone.Get(t.Context(), mcp); err != nil || string(value) != "value" {
		t.Errorf("sealed again: %q, %v", value, err)
	}
}

// A value whose key is not at hand is no damage: nothing would be saved by overwriting it.
func TestSealedWithAnotherKeyIsNoDamage(t *testing.T) {
	memory := new(store.Memory)
	first, second := newKey(t), newKey(t)
	if _, err := sealed.New(memory, first).Put(t.Context(), mcp, []byte("value"), ""); err != nil {
		t.Fatal(err)
	}
	_, _, err := sealed.New(memory, second).Get(t.Context(), mcp)
	var missing *sealed.KeyError
	if !errors.As(err, &missing) || missing.ID != first.ID() || !errors.Is(err, store.ErrUnusable) ||
		errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get = %v; want the id %s", err, first.ID())
	}
}

func TestSealedKeyHasASize(t *testing.T) {
	for _, size := range []int{0, 16, 31, 33} {
		if _, err := sealed.NewKey(make([]byte, size)); err == nil {
			t.Errorf("a key of %d bytes was accepted", size)
		}
	}
}

// A printed key shows what tells it apart, and none of its bytes.
func TestSealedKeyIsNotPrinted(t *testing.T) {
	raw := []byte("0123456789abcdef0123456789abcdef")
	k, err := sealed.NewKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		text := fmt.Sprintf(verb, k)
		if !strings.Contains(text, k.ID()) || strings.Contains(text, "0123") || strings.Contains(text, "48 49") {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}

// No byte of the folder, whatever a write leaves behind at any of its steps, tells a secret.
func TestSealedFilesHoldNoSecret(t *testing.T) {
	const planted = "planted-secret-1f0c"
	dir, spare := filepath.Join(t.TempDir(), "credentials"), filepath.Join(t.TempDir(), "spare")
	search := func(filestore.Step) {
		for _, root := range []string{dir, spare} {
			_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return nil
				}
				if data, err := os.ReadFile(path); err == nil && bytes.Contains(data, []byte(planted)) {
					t.Errorf("%s has the secret", path)
				}
				return nil
			})
		}
	}
	files, err := filestore.Open(filestore.Options{Dir: dir, SpareDir: spare, Trace: search,
		Warn: func(string) {}})
	if err != nil {
		t.Fatal(err)
	}
	s := sealed.New(files, newKey(t))
	value := []byte(strings.Repeat(planted, 100))
	var revision store.Revision
	for range 3 {
		if revision, err = s.Put(t.Context(), mcp, value, revision); err != nil {
			t.Fatal(err)
		}
	}
	space, err := s.(store.Reserver).Reserve(t.Context(), mcp, len(value))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = space.Put(t.Context(), value, revision); err != nil {
		t.Fatal(err)
	}
	space.Release()
	damaged := filepath.Join(dir, mcp.Name()+".json")
	if err := os.WriteFile(damaged, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _, err := s.Get(t.Context(), mcp); err != nil || !bytes.Equal(got, value) {
		t.Errorf("the value before: %.20q, %v", got, err)
	}
	search("")
	list, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(list) < 3 {
		t.Errorf("there is little to search: %q", list)
	}
}

// A value that another version has sealed for an owner is opened, and for that owner alone.
func TestSealedValuesOfAnOwnerStay(t *testing.T) {
	box, err := hex.DecodeString("48537801b3494bdabe91cbd24f680f4a14ab6b57f04a91a69913f6358ce3c17b4a78ba77ab5b7e7e61a59fcb2c81c9327cf3bf")
	if err != nil {
		t.Fatal(err)
	}
	k, err := sealed.NewKey(make([]byte, sealed.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	key, err := store.NewKey("https://mcp.example.com/mcp", "")
	if err != nil {
		t.Fatal(err)
	}
	inner := new(store.Memory)
	if _, err := inner.Put(t.Context(), key, box, ""); err != nil {
		t.Fatal(err)
	}
	if value, _, err := sealed.New(inner, k.For("acme", "ada")).Get(t.Context(), key); string(value) != "a value" || err != nil {
		t.Errorf("it is %q, %v", value, err)
	}
	for _, other := range [][]string{nil, {"acme"}, {"acme", "ad"}, {"acmeada", ""}, {"ada", "acme"}, {"acme", "ada", ""}} {
		if value, _, err := sealed.New(inner, k.For(other...)).Get(t.Context(), key); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%q gets %q, %v", other, value, err)
		}
	}
}
