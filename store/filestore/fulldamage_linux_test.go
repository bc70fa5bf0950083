package filestore_test

import (
	"os"
	"testing"

	"github.com/handstamp/handstamp/store/filestore"
)

// On a full disk, too, the record before serves in the place of a damaged one: in the process
// that finds the damage and in all that come after.
func TestDamageOnFullDisk(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	small, _ := disk(t)
	dir := small + "/credentials"
	r := &saved{Key: key(t, "https://a.example"), Token: "first"}
	s := open(t, filestore.Options{Dir: dir})
	for _, token := range []string{"first", "second"} {
		r.Token = token
		if err := r.put(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	path := file(dir, r.Key)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, path, append([]byte{'x'}, data[1:]...))
	fill(t, small)
	for i := range 3 {
		var collected notices
		got, err := read(t.Context(), open(t, filestore.Options{Dir: dir, Warn: collected.add}), r.Key)
		if err != nil || got.Token != "first" {
			t.Errorf("process %d: %+v, %v", i, got, err)
		}
	}
}
