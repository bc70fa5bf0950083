package main

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp/internal/testenv"
)

// maxBinary is how large a binary may be, with everything linked in.
const maxBinary = 22 << 20

// What the tests make of this tree stays in bin, as with make. Each part is made once.
var (
	tree     = sync.OnceValues(open)
	extras   = once((*release).extras)
	packages = once((*release).packages)
	packed   = once((*release).npm)
)

func once(step func(*release) error) func() error {
	return sync.OnceValue(func() error {
		r, err := tree()
		if err != nil {
			return err
		}
		if _, err := r.native(); err != nil {
			return err
		}
		return step(r)
	})
}

// opened opens the release of this tree, and has these parts of it made.
func opened(t *testing.T, parts ...func() error) *release {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds a release")
	}
	r, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range parts {
		if err := part(); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// needs skips a test where a program is not installed. nfpm is built by make.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		_, err := exec.LookPath(program)
		if program == "nfpm" {
			_, err = os.Stat("../../bin/nfpm")
		}
		if err != nil {
			t.Skip(program + " is not installed: run make test SUITES=release")
		}
	}
}

// nativeBinary builds the command for this machine.
func nativeBinary(t *testing.T, r *release) string {
	t.Helper()
	binary, err := r.native()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// TestBinaries builds the command for this machine, and in long runs for every target: each is small,
// and needs no library of its system where that is known.
func TestBinaries(t *testing.T) {
	r := opened(t)
	if n := len(r.targets()); n < 8 {
		t.Errorf("there are %d targets, want Linux, macOS, Windows and FreeBSD on two architectures", n)
	}
	for _, target := range r.targets() {
		t.Run(target.String(), func(t *testing.T) {
			if target.os+target.arch != runtime.GOOS+runtime.GOARCH && !testenv.Long() {
				t.Skip("it takes a minute: TestPackagesTypeCheckForEveryTarget reads what would be built")
			}
			binary, err := r.build(target)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(binary)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%.2f MiB", float64(info.Size())/(1<<20))
			if info.Size() > maxBinary {
				t.Errorf("it has %d bytes, more than %d", info.Size(), maxBinary)
			}
			if target.os == "linux" || target.os == "freebsd" {
				isStaticAndStripped(t, binary)
			}
		})
	}
}

func isStaticAndStripped(t *testing.T, binary string) {
	t.Helper()
	file, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if libraries, err := file.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("it needs %q, %v", libraries, err)
	}
	for _, s := range file.Sections {
		if s.Name == ".symtab" || strings.HasPrefix(s.Name, ".debug") || strings.HasPrefix(s.Name, ".zdebug") {
			t.Errorf("it has the section %s", s.Name)
		}
	}
}

// TestVersionNamesTheRelease compares with what the release is of.
func TestVersionNamesTheRelease(t *testing.T) {
	r := opened(t)
	out, err := output(r.root, os.Environ(), nativeBinary(t, r), "version", "--json")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"v` + r.fields.Version + `"`, `"` + r.fields.FullCommit + `"`, `"` + runtime.Version() + `"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("handstamp version --json has no %s: %s", want, out)
		}
	}
}

// TestTwoBuildsHaveTheSameBytes builds the release of this tree a second time, from a copy in
// another folder, and in long runs with nothing cached.
func TestTwoBuildsHaveTheSameBytes(t *testing.T) {
	needs(t, "nfpm", "npm")
	r := opened(t, extras, packages, packed)
	other := t.TempDir()
	copyTree(t, r.root, other)
	link(t, filepath.Join(r.root, "bin", "nfpm"), filepath.Join(other, "bin", "nfpm"))
	second := &release{root: other, config: r.config, fields: r.fields}
	if testenv.Long() {
		t.Setenv("GOCACHE", t.TempDir())
	}
	native := target{runtime.GOOS, runtime.GOARCH}
	if _, err := second.native(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []func() error{second.extras, second.packages, second.npm} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	for _, each := range []*release{r, second} {
		if err := each.writeSBOM(each.binaryPath(native), filepath.Join(each.root, "bin/release/handstamp.json")); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{
		"bin/extras/certificates.pem", "bin/release/handstamp.deb", "bin/release/handstamp.rpm", "bin/release/handstamp.json",
	} {
		if a, b := sum(t, filepath.Join(r.root, name)), sum(t, filepath.Join(other, name)); a != b {
			t.Errorf("%s: %s and %s", name, a, b)
		}
	}
	if a, b := sum(t, r.binaryPath(native)), sum(t, second.binaryPath(native)); a != b {
		t.Errorf("the binary: %s and %s", a, b)
	}
	tarballs, err := filepath.Glob(filepath.Join(other, "bin", "release", "npm", "*.tgz"))
	if err != nil || len(tarballs) < 2 {
		t.Fatalf("npm packed %q, %v", tarballs, err)
	}
	for _, name := range tarballs {
		first := filepath.Join(r.root, "bin", "release", "npm", filepath.Base(name))
		if a, b := sum(t, first), sum(t, name); a != b {
			t.Errorf("%s: %s and %s", filepath.Base(name), a, b)
		}
	}
}

// copyTree copies the files of a tree without what is built and installed. Other suites may run in the
// tree: what they had there for a moment is not copied.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		switch d.Name() {
		case ".git", "bin", "dist", "node_modules", ".venv":
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		target := filepath.Join(to, relative)
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(from, to); err != nil {
		t.Fatal(err)
	}
}

func sum(t *testing.T, name string) string {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}
