package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// world is a user's machine: a module cache of its own, and proxies that are folders, one with
// our modules as they would be released from this tree.
type world struct {
	t       *testing.T
	root    string
	version string
	env     []string
}

// newWorld fills the proxy with our modules. The machine's own module cache serves as the other.
func newWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("it downloads and builds all that the command needs")
	}
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	all, err := read(root)
	if err != nil {
		t.Fatal(err)
	}
	version, err := required(all)
	if err != nil {
		t.Fatal(err)
	}
	proxy, home := t.TempDir(), t.TempDir()
	if err := fillProxy(root, all, proxy); err != nil {
		t.Fatal(err)
	}
	cache, err := output(root, nil, "go", "env", "GOMODCACHE")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, root: root, version: version}
	w.env = []string{
		"GOWORK=off", "GOFLAGS=-mod=mod -modcacherw -trimpath", "GOTOOLCHAIN=local",
		"GOPROXY=" + fileURL(proxy) + "," + fileURL(filepath.Join(cache, "cache", "download")),
		"GOPRIVATE=", "GONOPROXY=none", "GOSUMDB=off", // the cache was filled with verification
		"GOMODCACHE=" + filepath.Join(home, "modules"), "GOBIN=" + filepath.Join(home, "bin"), "GOPATH=" + home,
	}
	return w
}

func fileURL(path string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/…
	}
	return "file://" + path
}

// cache has the machine's own module cache hold all that go.mod in dir needs.
func (w *world) cache(dir string) {
	w.t.Helper()
	if _, err := output(dir, []string{"GOWORK=off", "GOFLAGS=-mod=mod"}, "go", "mod", "download"); err != nil {
		w.t.Fatal(err)
	}
}

// cacheModule is cache for one of ours.
func (w *world) cacheModule(dir string) {
	w.t.Helper()
	full := filepath.Join(w.root, filepath.FromSlash(dir))
	temp := w.t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		w.copy(filepath.Join(full, name), filepath.Join(temp, name))
	}
	all, err := read(w.root)
	if err != nil {
		w.t.Fatal(err)
	}
	args := []string{"mod", "edit"}
	for _, m := range all {
		if m.dir != dir {
			args = append(args, "-replace="+m.path()+"="+filepath.Join(w.root, filepath.FromSlash(m.dir)))
		}
	}
	if _, err := output(temp, []string{"GOWORK=off"}, "go", args...); err != nil {
		w.t.Fatal(err)
	}
	w.cache(temp)
}

func (w *world) copy(from, to string) {
	w.t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// run runs a command of the user's and returns its output.
func (w *world) run(dir, name string, args ...string) string {
	w.t.Helper()
	out, err := output(dir, w.env, name, args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// TestCommandInstalls installs the command as a user does, from a proxy that has nothing of
// this tree but what would be released.
func TestCommandInstalls(t *testing.T) {
	w := newWorld(t)
	for _, dir := range []string{".", "lab/mcpserver", "cmd/handstamp"} {
		w.cacheModule(dir)
	}
	elsewhere := t.TempDir()
	w.run(elsewhere, "go", "install", "github.com/handstamp/handstamp/cmd/handstamp@"+w.version)
	program := filepath.Join(strings.TrimSpace(w.run(elsewhere, "go", "env", "GOBIN")), "handstamp")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	if out := w.run(elsewhere, program, "version"); !strings.Contains(out, strings.TrimPrefix(w.version, "v")) {
		t.Errorf("handstamp version prints %q, want version %s", out, w.version)
	}
}

// TestLibraryUpgradesNothing adds the library to a module of a user who has the Go SDK and
// cobra: nothing that the user had is upgraded.
func TestLibraryUpgradesNothing(t *testing.T) {
	w := newWorld(t)
	w.cacheModule(".")
	dir := t.TempDir()
	for name, as := range map[string]string{"user.mod": "go.mod", "user.sum": "go.sum", "main.go.txt": "main.go"} {
		w.copy(filepath.Join("testdata", name), filepath.Join(dir, as))
	}
	w.cache(dir)
	before := w.versions(dir)
	for _, had := range []string{"github.com/modelcontextprotocol/go-sdk v1.6.", "github.com/spf13/cobra v1.8."} {
		if path, version, _ := strings.Cut(had, " "); !strings.HasPrefix(before[path], version) {
			t.Fatalf("the user has %s %s, want %s", path, before[path], version)
		}
	}

	w.run(dir, "go", "get", "github.com/handstamp/handstamp@"+w.version)
	w.copy(filepath.Join("testdata", "library.go.txt"), filepath.Join(dir, "library.go"))
	w.run(dir, "go", "build", "./...")
	after := w.versions(dir)
	for path, version := range before {
		if after[path] != version {
			t.Errorf("%s: the user had %s and now has %s", path, version, after[path])
		}
	}
	if after["github.com/handstamp/handstamp"] != w.version {
		t.Errorf("the user has version %q of the library", after["github.com/handstamp/handstamp"])
	}
}

// versions returns what go.mod requires, and the version of Go as "go".
func (w *world) versions(dir string) map[string]string {
	w.t.Helper()
	var file struct {
		Go      string
		Require []struct{ Path, Version string }
	}
	if err := json.Unmarshal([]byte(w.run(dir, "go", "mod", "edit", "-json")), &file); err != nil {
		w.t.Fatal(err)
	}
	found := map[string]string{"go": file.Go}
	for _, r := range file.Require {
		found[r.Path] = r.Version
	}
	return found
}

// output runs a command and returns what it writes to standard output.
func output(dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		return "", failure(name, args, err)
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

func failure(name string, args []string, err error) error {
	var stderr []byte
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		stderr = exit.Stderr
	}
	return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, stderr)
}
