package filestore_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/internal/envelope"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// damaged is a store with a record that was written twice, and the bytes of its
// file.
func damaged(t *testing.T, collected *notices) (s *filestore.Store, r *saved, path string, data []byte) {
	t.Helper()
	dir := t.TempDir() + "/credentials"
	s = open(t, filestore.Options{Dir: dir, Warn: collected.add})
	r = &saved{Key: key(t, "https://a.example"), Token: "first"}
	for _, token := range []string{"first", "second"} {
		r.Token = token
		if err := r.put(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	path = file(dir, r.Key)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return s, r, path, data
}

func replace(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A damaged file gives way to the record before it; nothing is thrown away.
func TestDamagedFileGivesWay(t *testing.T) {
	var collected notices
	s, r, path, data := damaged(t, &collected)
	seen := map[store.Revision]bool{r.Revision: true}
	for cut := 0; cut < len(data)-1; cut += 7 {
		replace(t, path+".prev", data)
		replace(t, path, data[:cut])
		got, err := read(t.Context(), s, r.Key)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if got.Token != "second" || seen[got.Revision] {
			t.Fatalf("cut at %d: %q came back as revision %q", cut, got.Token, got.Revision)
		}
		seen[got.Revision] = true
		list := collected.take()
		if len(list) != 1 || !strings.Contains(list[0], "damaged") || !strings.Contains(list[0], ".corrupt-") {
			t.Fatalf("cut at %d: notices %q", cut, list)
		}
		aside, err := filepath.Glob(path + ".corrupt-*")
		if err != nil || len(aside) != 1 {
			t.Fatalf("cut at %d: set aside is %q (%v)", cut, aside, err)
		}
		if kept, err := os.ReadFile(aside[0]); err != nil || string(kept) != string(data[:cut]) {
			t.Fatalf("cut at %d: %q was set aside (%v)", cut, kept, err)
		}
		if err := os.Remove(aside[0]); err != nil {
			t.Fatal(err)
		}
		again, err := read(t.Context(), s, r.Key)
		if err != nil || again.Revision != got.Revision {
			t.Fatalf("cut at %d: the second Get gave %v", cut, err)
		}
		if err := again.put(t.Context(), s); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	if err := r.put(t.Context(), s); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Put of the generation that was damaged = %v", err)
	}
}

// A wrong bit in any byte is noticed: what comes back is the record before, or nothing
// where there is none. The envelope's own test has every bit of every byte.
func TestWrongBitInAnyByteIsDamage(t *testing.T) {
	var collected notices
	s, r, path, data := damaged(t, &collected)
	step := 1
	if testing.Short() {
		step = 7 // of all bits, as well
	}
	for at := 0; at < len(data); at += step {
		for i, bit := range []int{at % 8, (at + 4) % 8} {
			spoiled := bytes.Clone(data)
			spoiled[at] ^= 1 << bit
			replace(t, path, spoiled)
			before := "there"
			if i == 0 {
				before = "absent"
				os.Remove(path + ".prev")
			} else {
				replace(t, path+".prev", data)
			}
			got, err := read(t.Context(), s, r.Key)
			aside, globErr := filepath.Glob(path + ".corrupt-*")
			if globErr != nil || len(aside) != 1 {
				t.Fatalf("bit %d at %d, record before %s: set aside is %q (%v)", bit, at, before, aside, globErr)
			}
			os.Remove(aside[0])
			if before == "absent" {
				if !errors.Is(err, store.ErrCorrupt) {
					t.Fatalf("bit %d at %d, without a record before: %v\n%s", bit, at, err, spoiled)
				}
				continue
			}
			if err != nil {
				t.Fatalf("bit %d at %d: %v", bit, at, err)
			}
			if got.Token != r.Token {
				t.Fatalf("bit %d at %d: another value came back: %q", bit, at, got.Token)
			}
			if list := collected.take(); len(list) != 1 {
				t.Fatalf("bit %d at %d: notices %q", bit, at, list)
			}
		}
	}
}

// The checksum is looked at wherever a file is read: in the record before, in the spare
// folder, and at a deletion.
func TestWrongByteElsewhere(t *testing.T) {
	spoil := func(data []byte, token string) []byte {
		t.Helper()
		spoiled := bytes.Replace(data, []byte(token), []byte(strings.ToUpper(token[:1])+token[1:]), 1)
		if bytes.Equal(spoiled, data) {
			t.Fatalf("there is no %q in\n%s", token, data)
		}
		return spoiled
	}
	t.Run("both", func(t *testing.T) {
		var collected notices
		s, r, path, data := damaged(t, &collected)
		before, err := os.ReadFile(path + ".prev")
		if err != nil {
			t.Fatal(err)
		}
		replace(t, path, spoil(data, "second"))
		replace(t, path+".prev", spoil(before, "first"))
		if keys, err := s.List(t.Context()); err != nil || len(keys) != 1 {
			t.Errorf("List = %v, %v", keys, err)
		}
		if got, err := read(t.Context(), s, r.Key); !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("Get = %v, %v", got, err)
		}
	})
	t.Run("deleted", func(t *testing.T) {
		var collected notices
		s, r, path, data := damaged(t, &collected)
		if err := os.Remove(path + ".prev"); err != nil {
			t.Fatal(err)
		}
		replace(t, path, spoil(data, "second"))
		if err := s.Delete(t.Context(), r.Key, r.Revision); err != nil {
			t.Errorf("Delete = %v", err)
		}
		if left, err := filepath.Glob(path + "*"); err != nil || len(left) != 0 {
			t.Errorf("left is %q (%v)", left, err)
		}
	})
	t.Run("spare", func(t *testing.T) {
		var collected notices
		dir, spare := t.TempDir()+"/credentials", t.TempDir()+"/spare"
		s := open(t, filestore.Options{Dir: dir, SpareDir: spare, Warn: collected.add})
		r := &saved{Key: key(t, "https://a.example"), Token: "first"}
		if err := r.put(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		// A process that cannot write Dir leaves a newer value in SpareDir.
		kept, err := os.ReadFile(file(dir, r.Key))
		if err != nil {
			t.Fatal(err)
		}
		r.Token = "second"
		if err := r.put(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(file(dir, r.Key))
		if err != nil {
			t.Fatal(err)
		}
		replace(t, file(dir, r.Key), kept)
		if err := os.Mkdir(spare, 0o700); err != nil {
			t.Fatal(err)
		}
		replace(t, file(spare, r.Key), data)
		if got, err := read(t.Context(), s, r.Key); err != nil || got.Token != "second" {
			t.Fatalf("Get = %v, %v; want what is in the spare folder", got, err)
		}
		replace(t, file(spare, r.Key), spoil(data, "second"))
		if got, err := read(t.Context(), s, r.Key); err != nil || got.Token != "first" {
			t.Errorf("Get = %v, %v; want the undamaged copy", got, err)
		}
		if list := collected.take(); len(list) != 1 || !strings.Contains(list[0], "checksum") {
			t.Errorf("notices %q", list)
		}
	})
}

// A file without an envelope is damage, and so is one that was changed by hand.
func TestFileWithoutChecksum(t *testing.T) {
	var collected notices
	s, r, path, data := damaged(t, &collected)
	for name, changed := range map[string][]byte{
		"bare":    r.value(),
		"by hand": bytes.Replace(data, []byte("second"), []byte("by hand"), 1),
		"compact": bytes.ReplaceAll(data, []byte("\n"), nil),
	} {
		replace(t, path, changed)
		if got, err := read(t.Context(), s, r.Key); err != nil || got.Token != "first" {
			t.Errorf("%s: Get = %v, %v; want the value before", name, got, err)
		}
		if list := collected.take(); len(list) != 1 || !strings.Contains(list[0], "checksum") {
			t.Errorf("%s: notices %q", name, list)
		}
	}
}

// The value and whose it is can be read in an editor.
func TestFileIsReadable(t *testing.T) {
	var collected notices
	_, _, _, data := damaged(t, &collected)
	for _, part := range []string{`"server":"https://a.example"`, "\n    \"token\": \"second\"\n"} {
		if !strings.Contains(string(data), part) {
			t.Errorf("there is no %s in\n%s", part, data)
		}
	}
}

// A file that a later version has written in another layout is neither read nor replaced.
func TestFileOfNewerVersion(t *testing.T) {
	var collected notices
	s, r, path, _ := damaged(t, &collected)
	newer, err := envelope.Seal(map[string]int{"layout": 2}, r.value())
	if err != nil {
		t.Fatal(err)
	}
	replace(t, path, newer)
	_, err = read(t.Context(), s, r.Key)
	for what, err := range map[string]error{
		"Get": err, "Put": r.clone().put(t.Context(), s), "Put again": (&saved{Key: r.Key}).put(t.Context(), s),
		"Delete": s.Delete(t.Context(), r.Key, r.Revision),
	} {
		if !errors.Is(err, store.ErrUnusable) || !strings.Contains(err.Error(), "newer version") {
			t.Errorf("%s = %v", what, err)
		}
	}
	if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, newer) {
		t.Errorf("the file was changed (%v)", err)
	}
}

// With nothing to go back to, the damage is an error, once.
func TestDamagedWithoutRecordBefore(t *testing.T) {
	for _, before := range []string{"absent", "damaged too", "of another key"} {
		t.Run(before, func(t *testing.T) {
			var collected notices
			s, r, path, data := damaged(t, &collected)
			switch before {
			case "absent":
				if err := os.Remove(path + ".prev"); err != nil {
					t.Fatal(err)
				}
			case "damaged too":
				replace(t, path+".prev", data[:20])
			case "of another key":
				other := &saved{Key: key(t, "https://b.example")}
				if err := other.put(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				text, err := os.ReadFile(file(filepath.Dir(path), other.Key))
				if err != nil {
					t.Fatal(err)
				}
				replace(t, path+".prev", text)
			}
			replace(t, path, nil)
			_, err := read(t.Context(), s, r.Key)
			if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), ".corrupt-") {
				t.Errorf("Get = %v; want ErrCorrupt and where the file is", err)
			}
			if _, err := read(t.Context(), s, r.Key); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("second Get = %v", err)
			}
			if err := (&saved{Key: r.Key}).put(t.Context(), s); err != nil {
				t.Errorf("Put = %v", err)
			}
		})
	}
}

// A login that was deleted does not come back as the record before.
func TestDeletedDoesNotComeBack(t *testing.T) {
	var collected notices
	s, r, path, data := damaged(t, &collected)
	if err := s.Delete(t.Context(), r.Key, r.Revision); err != nil {
		t.Fatal(err)
	}
	// A crash in the middle of Delete may leave this.
	replace(t, path+".prev", data)
	if _, err := read(t.Context(), s, r.Key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get = %v", err)
	}
	if err := (&saved{Key: r.Key}).put(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	replace(t, path, nil)
	if got, err := read(t.Context(), s, r.Key); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("Get = %v, %v", got, err)
	}
}

// After a logout no token of it is left on the disk.
func TestDeleteLeavesNothing(t *testing.T) {
	var collected notices
	s, r, path, data := damaged(t, &collected)
	dir := filepath.Dir(path)
	replace(t, path+".corrupt-20260101T000000.000000000Z", data)
	replace(t, path+".tmp-abcdefghij", data)
	other := &saved{Key: key(t, "https://b.example")}
	if err := other.put(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), r.Key, r.Revision); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(dir + "/*.json*")
	if err != nil || len(left) != 1 || left[0] != file(dir, other.Key) {
		t.Errorf("left is %q (%v)", left, err)
	}
}

// Copies that a synchronisation program or a user made are no credentials.
func TestCopiesAreIgnored(t *testing.T) {
	var collected notices
	s, r, path, data := damaged(t, &collected)
	base := strings.TrimSuffix(path, ".json")
	for _, copied := range []string{
		base + " (conflicted copy).json", base + ".sync-conflict-20260101.json", base + " 2.json", path + ".json",
		filepath.Dir(path) + "/.json", filepath.Dir(path) + "/notes.json", strings.ToUpper(path[len(filepath.Dir(path)):]),
	} {
		if !strings.HasPrefix(copied, filepath.Dir(path)) {
			copied = filepath.Dir(path) + copied
		}
		replace(t, copied, data)
	}
	if err := os.Mkdir(filepath.Dir(path)+"/folder.json", 0o755); err != nil {
		t.Fatal(err)
	}
	keys, err := s.List(t.Context())
	if err != nil || len(keys) != 1 || keys[0] != r.Key {
		t.Errorf("List = %v, %v", keys, err)
	}
	if list := collected.take(); len(list) != 0 {
		t.Errorf("notices %q", list)
	}
}

// Steps are traced in their order, each before it is taken.
func TestTrace(t *testing.T) {
	var got []string
	dir := t.TempDir() + "/credentials"
	s := open(t, filestore.Options{Dir: dir, Trace: func(step filestore.Step) { got = append(got, string(step)) }})
	want := func(steps string) {
		t.Helper()
		if strings.Join(got, " ") != steps {
			t.Errorf("steps were %q, want %q", got, steps)
		}
		got = nil
	}
	r := &saved{Key: key(t, "https://a.example")}
	if err := r.put(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	want("create write sync rename syncdir done")
	space, err := s.Reserve(t.Context(), r.Key, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	want("create reserve")
	if err := r.putInto(t.Context(), space); err != nil {
		t.Fatal(err)
	}
	want("write sync rename syncdir done")
	space.Release()
	if info, err := os.Stat(file(dir, r.Key)); err != nil || info.Size() > 1000 {
		t.Errorf("the space was not given back: %v, %v", info, err)
	}
}

// A user removes or replaces the folders while the process runs.
func TestFolderRemoved(t *testing.T) {
	base := t.TempDir()
	dir := base + "/credentials"
	s := open(t, filestore.Options{Dir: dir})
	r := &saved{Key: key(t, "https://a.example")}
	if err := r.put(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	space, err := s.Reserve(t.Context(), r.Key, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer space.Release()
	if err := os.Rename(dir, base+"/moved"); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t.Context(), s, r.Key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get = %v", err)
	}
	if keys, err := s.List(t.Context()); err != nil || len(keys) != 0 {
		t.Errorf("List = %v, %v", keys, err)
	}
	if err := s.Delete(t.Context(), r.Key, r.Revision); err != nil {
		t.Errorf("Delete = %v", err)
	}
	r.Revision = ""
	if err := r.putInto(t.Context(), space); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file(dir, r.Key)); err != nil {
		t.Errorf("the record did not go where the folder belongs: %v", err)
	}
	if err := os.RemoveAll(dir + "/locks"); err != nil {
		t.Fatal(err)
	}
	unlock, err := s.Lock(t.Context(), r.Key, store.LockLogin)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// A damaged file is listed, so that whoever lists comes to hear of it.
func TestDamagedFileIsListed(t *testing.T) {
	var collected notices
	s, r, path, data := damaged(t, &collected)
	replace(t, path, data[:len(data)/2])
	keys, err := s.List(t.Context())
	if err != nil || len(keys) != 1 || keys[0] != r.Key {
		t.Errorf("List = %v, %v; want the damaged one", keys, err)
	}
}
