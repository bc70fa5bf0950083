package filestore_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// scannedSize is that of each value that is scanned.
const scannedSize = 8 << 10

var scannedValue = []byte(`"` + strings.Repeat("x", scannedSize) + `"`)

func init() { children["scan"] = childScan }

// childScan prints how many values a server has, how many are left to Get, and how many bytes were read
// for that. In the test's own process the sampler reads, too.
func childScan(dir string, args []string) error {
	s, err := filestore.Open(filestore.Options{Dir: dir})
	if err != nil {
		return err
	}
	before, err := bytesRead()
	if err != nil {
		return err
	}
	values := 0
	rest, err := s.Scan(context.Background(), args[0], func(_ store.Key, v []byte, _ store.Revision) {
		if bytes.Equal(v, scannedValue) {
			values++
		}
	})
	if err != nil {
		return err
	}
	after, err := bytesRead()
	fmt.Println(values, len(rest), after-before)
	return err
}

// However many credentials there are, each file is read once for all of them, and those of one
// server are found without the files of the others.
func TestScanReadsEachFileOnce(t *testing.T) {
	if _, err := bytesRead(); err != nil {
		t.Skip(err)
	}
	const credentials = 200
	dir := t.TempDir() + "/credentials"
	s := open(t, filestore.Options{Dir: dir})
	var revision store.Revision
	for i := range credentials {
		for range 2 { // with a record before it
			var err error
			key := store.Key{Server: fmt.Sprintf("https://mcp-%d.example/mcp", i), Profile: "default"}
			if revision, err = s.Put(t.Context(), key, scannedValue, revision); err != nil {
				t.Fatal(err)
			}
		}
		revision = ""
	}
	const file = scannedSize + 1<<10
	for _, test := range []struct {
		name, server   string
		values, atMost int
	}{
		{"all", "", credentials, credentials * file},
		{"one", "https://mcp-7.example/mcp", 1, 2 * file},
		{"none", "https://other.example/mcp", 0, file},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd, output := child(t, "scan", dir, test.server)
			err := cmd.Run()
			var got, rest, read int
			if _, scanned := fmt.Sscan(output.String(), &got, &rest, &read); err != nil || scanned != nil {
				t.Fatalf("%v: %s", err, output)
			}
			if rest > 0 || got != test.values {
				t.Errorf("%d values, and %d are left", got, rest)
			}
			if read > test.atMost || read < test.values*scannedSize {
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
	allocations := math.Inf(1)
	for range 10 { // beside some of them the sampler allocates, too
		allocations = min(allocations, testing.AllocsPerRun(1, func() {
			if _, _, err := open(t, filestore.Options{Dir: dir}).Get(t.Context(), key); err != nil {
				t.Error(err)
			}
		}))
	}
	if allocations > others/4 {
		t.Errorf("%.0f allocations beside %d files of others", allocations, others)
	}
}

// bytesRead returns how many bytes this process has read with any system call.
func bytesRead() (n int, err error) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscanf(string(text), "rchar: %d", &n)
	return n, err
}
