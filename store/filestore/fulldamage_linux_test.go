package filestore_test

import (
	"os"
	"testing"

	"github.com/handstamp/handstamp/store"
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
	r := &store.Record{Key: key(t, "https://a.example"), Grant: &store.Grant{AccessToken: "first", ClientID: "c"}}
	s := open(t, filestore.Options{Dir: dir})
	for _, token := range []store.Secret{"first", "second"} {
		r.Grant.AccessToken = token
		if err := s.Put(t.Context(), r); err != nil {
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
		var told notices
		got, err := open(t, filestore.Options{Dir: dir, Warn: told.add}).Get(t.Context(), r.Key)
		if err != nil || got.Grant.AccessToken != "first" {
			t.Errorf("process %d: %+v, %v", i, got, err)
		}
	}
}
