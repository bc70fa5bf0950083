package atomicfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
)

func openRoot(t *testing.T) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func create(t *testing.T, root *os.Root, trace func(Step)) *Temp {
	t.Helper()
	temp, err := Create(root, "file", trace)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(temp.Discard)
	return temp
}

func wantFiles(t *testing.T, root *os.Root, want ...string) {
	t.Helper()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("files are %q, want %q", got, want)
	}
}

func TestReplace(t *testing.T) {
	tests := []struct {
		name     string
		old      string
		reserve  int64
		data     string
		discards bool
	}{
		{name: "new", data: "new"},
		{name: "replaced", old: "something longer", data: "new"},
		{name: "empty", old: "old", data: ""},
		{name: "into more space", old: "old", reserve: 100_000, data: "new"},
		{name: "into less space", old: "old", reserve: 1, data: strings.Repeat("new", 50_000)},
		{name: "no space wanted", reserve: 0, data: "new"},
		{name: "discarded", old: "old", reserve: 10, data: "new", discards: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := openRoot(t)
			if test.old != "" {
				if err := root.WriteFile("file", []byte(test.old), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			temp := create(t, root, nil)
			if err := temp.Reserve(test.reserve); err != nil {
				t.Fatal(err)
			}
			if err := temp.Write([]byte(test.data)); err != nil {
				t.Fatal(err)
			}
			if got, err := root.ReadFile("file"); string(got) != test.old {
				t.Errorf("before Publish the file is %q (%v)", got, err)
			}
			want := test.data
			if test.discards {
				want = test.old
			} else if err := temp.Publish(); err != nil {
				t.Fatal(err)
			}
			temp.Discard()
			temp.Discard()
			got, err := root.ReadFile("file")
			if err != nil || string(got) != want {
				t.Errorf("the file is %d bytes (%v), want %d", len(got), err, len(want))
			}
			wantFiles(t, root, "file")
		})
	}
}

func TestSteps(t *testing.T) {
	root := openRoot(t)
	var got []Step
	temp := create(t, root, func(step Step) {
		got = append(got, step)
		_, err := root.Stat("file")
		if there := err == nil; there != (step == StepSyncDir || step == StepDone) {
			t.Errorf("before %q the file is there: %t", step, there)
		}
	})
	if err := errors.Join(temp.Reserve(10), temp.Write(nil), temp.Publish()); err != nil {
		t.Fatal(err)
	}
	want := []Step{StepCreate, StepReserve, StepWrite, StepSync, StepRename, StepSyncDir, StepDone}
	if !slices.Equal(got, want) {
		t.Errorf("steps were %q, want %q", got, want)
	}
}

// A name cannot lead out of the folder.
func TestStaysInFolder(t *testing.T) {
	root := openRoot(t)
	if temp, err := Create(root, "../file", nil); err == nil {
		temp.Discard()
		t.Error("a file was made outside")
	}
}

func TestPublishWithoutTemporaryFile(t *testing.T) {
	root := openRoot(t)
	if err := root.WriteFile("file", []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	temp := create(t, root, nil)
	if err := temp.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	entries, err := fs.Glob(root.FS(), "file.tmp-*")
	if err != nil || len(entries) != 1 {
		t.Fatalf("temporary files are %q (%v)", entries, err)
	}
	if err := root.Remove(entries[0]); err != nil {
		t.Fatal(err)
	}
	if err := temp.Publish(); err == nil || errors.Is(err, ErrNotDurable) {
		t.Errorf("Publish = %v", err)
	}
	if got, err := root.ReadFile("file"); string(got) != "old" {
		t.Errorf("the file is %q (%v)", got, err)
	}
	if err := temp.Write(nil); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("second Write = %v", err)
	}
}

func TestTarget(t *testing.T) {
	for temp, want := range map[string]string{
		"file.tmp-abc": "file", "a.tmp-b.tmp-c": "a.tmp-b",
		"file": "", ".tmp-abc": "", "file.tmp": "",
	} {
		got, ok := Target(temp)
		if got != want || ok != (want != "") {
			t.Errorf("Target(%q) = %q, %t", temp, got, ok)
		}
	}
}

func TestWriteZeros(t *testing.T) {
	for _, size := range []int64{0, 1, 32 << 10, 100_000} {
		file, err := os.Create(t.TempDir() + "/file")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if err := writeZeros(file, size); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file.Name())
		if err != nil || !bytes.Equal(got, make([]byte, size)) {
			t.Errorf("%d bytes are there (%v), want %d zeros", len(got), err, size)
		}
	}
}
