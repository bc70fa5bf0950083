package filestore_test

import (
	"os"
	"testing"

	"github.com/handstamp/handstamp/store/filestore"
)

// On a full disk, too, the record before serves in the place of a damaged one: in the process
// that finds the damage, wherever that one saves it, and in all that come after and see Dir only.
func TestDamageOnFullDisk(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	for place, optionsWith := range map[string]func(large string) filestore.Options{
		"nowhere":        func(string) filestore.Options { return filestore.Options{} },
		"spare folder":   func(large string) filestore.Options { return filestore.Options{SpareDir: large + "/spare"} },
		"in the process": func(string) filestore.Options { return filestore.Options{Volatile: true} },
	} {
		t.Run(place, func(t *testing.T) {
			small, large := disk(t)
			dir := small + "/credentials"
			r := &saved{Key: key(t, "https://a.example")}
			s := open(t, filestore.Options{Dir: dir})
			put(t, s, r, "first")
			put(t, s, r, "second")
			path := file(dir, r.Key)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			replace(t, path, append([]byte{'x'}, data[1:]...))
			fill(t, small)
			options := optionsWith(large)
			for i := range 3 {
				var collected notices
				options.Dir, options.Warn = dir, collected.add
				got, err := read(t.Context(), open(t, options), r.Key)
				if err != nil || got.Token != "first" {
					t.Errorf("process %d: %+v, %v", i, got, err)
				}
				options = filestore.Options{}
			}
		})
	}
}
