package filestore_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// However many credentials there are, each file is read once for all of them, and those of one
// server are found without the files of the others.
func TestScanReadsEachFileOnce(t *testing.T) {
	const credentials, size = 200, 8 << 10
	dir := t.TempDir() + "/credentials"
	s := open(t, filestore.Options{Dir: dir})
	value := []byte(`"` + strings.Repeat("x", size) + `"`)
	var revision store.Revision
	for i := range credentials {
		for range 2 { // with a record before it
			var err error
			key := store.Key{Server: fmt.Sprintf("https://mcp-%d.example/mcp", i), Profile: "default"}
			if revision, err = s.Put(t.Context(), key, value, revision); err != nil {
				t.Fatal(err)
			}
		}
		revision = ""
	}
	file := size + 1<<10
	for _, test := range []struct {
		name, server   string
		values, atMost int
	}{
		{"all", "", credentials, credentials * file},
		{"one", "https://mcp-7.example/mcp", 1, 2 * file},
		{"none", "https://other.example/mcp", 0, file},
	} {
		t.Run(test.name, func(t *testing.T) {
			before, got := bytesRead(t), 0
			rest, err := s.Scan(t.Context(), test.server, func(_ store.Key, v []byte, _ store.Revision) {
				if got++; !bytes.Equal(v, value) {
					t.Error("another value")
				}
			})
			read := bytesRead(t) - before
			if err != nil || len(rest) > 0 || got != test.values {
				t.Errorf("%d values, %v, %v", got, rest, err)
			}
			if read > test.atMost {
				t.Errorf("%d bytes were read, of files of %d", read, file)
			}
		})
	}
}

// To open a store and to read one credential does not read the folder, which may be large: there is
// nothing for each of the files in it.
func TestGetDoesNotReadTheFolder(t *testing.T) {
	const others = 2000
	dir := t.TempDir() + "/credentials"
	key := store.Key{Server: "https://mcp.example/mcp", Profile: "default"}
	if _, err := open(t, filestore.Options{Dir: dir}).Put(t.Context(), key, nil, ""); err != nil {
		t.Fatal(err)
	}
	for i := range others {
		other := store.Key{Server: fmt.Sprintf("https://mcp-%d.example/mcp", i), Profile: "default"}
		for _, name := range []string{other.Name() + ".json", "locks/" + other.Name() + ".lock"} {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	allocations := testing.AllocsPerRun(3, func() {
		if _, _, err := open(t, filestore.Options{Dir: dir}).Get(t.Context(), key); err != nil {
			t.Error(err)
		}
	})
	if allocations > others/4 {
		t.Errorf("%.0f allocations beside %d files of others", allocations, others)
	}
}

// bytesRead returns how many bytes this process has read with any system call.
func bytesRead(t *testing.T) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skip(err)
	}
	if _, err := fmt.Sscanf(string(text), "rchar: %d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}
