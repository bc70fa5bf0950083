package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	modmodule "golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// fillProxy writes the modules that others may require into dir as a module proxy has them:
// GOPROXY=file://dir serves them. Their version is what the modules require of each other.
func fillProxy(root string, all []module, dir string) error {
	version, err := required(all)
	if err != nil {
		return err
	}
	for _, m := range all {
		if err := release(root, m, version, dir); err != nil {
			return fmt.Errorf("%s: %w", m.dir, err)
		}
	}
	return nil
}

// release writes the four files of one version: list, info, mod and zip.
func release(root string, m module, version, dir string) error {
	escaped, err := modmodule.EscapePath(m.path())
	if err != nil {
		return err
	}
	versions := filepath.Join(dir, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(versions, 0o755); err != nil {
		return err
	}
	folder := filepath.Join(root, filepath.FromSlash(m.dir))
	mod, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	if err != nil {
		return err
	}
	info, err := json.Marshal(map[string]any{"Version": version, "Time": time.Unix(0, 0).UTC()})
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"list": []byte(version + "\n"), version + ".info": info, version + ".mod": mod,
	} {
		if err := os.WriteFile(filepath.Join(versions, name), data, 0o644); err != nil {
			return err
		}
	}
	out, err := os.Create(filepath.Join(versions, version+".zip"))
	if err != nil {
		return err
	}
	err = pack(out, modmodule.Version{Path: m.path(), Version: version}, root, m.dir)
	if closed := out.Close(); err == nil {
		err = closed
	}
	return err
}

// pack writes a module's zip from the files that git knows or would add: not from what a
// build or npm left in the folder. Files of nested modules are left out by zip.Create.
func pack(w io.Writer, v modmodule.Version, root, dir string) error {
	git := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	git.Dir = filepath.Join(root, filepath.FromSlash(dir))
	git.Stderr = os.Stderr
	out, err := git.Output()
	if err != nil {
		return err
	}
	var files []zip.File
	licensed := false
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		file := onDisk{path: name, full: filepath.Join(git.Dir, filepath.FromSlash(name))}
		if info, err := file.Lstat(); err != nil || !info.Mode().IsRegular() {
			continue // deleted, and not committed yet
		}
		licensed = licensed || name == "LICENSE"
		files = append(files, file)
	}
	if !licensed { // as the go command does for a module below the repository's root
		files = append(files, onDisk{path: "LICENSE", full: filepath.Join(root, "LICENSE")})
	}
	return zip.Create(w, v, files)
}

// onDisk is a file of a module.
type onDisk struct{ path, full string }

func (f onDisk) Path() string                 { return f.path }
func (f onDisk) Lstat() (os.FileInfo, error)  { return os.Lstat(f.full) }
func (f onDisk) Open() (io.ReadCloser, error) { return os.Open(f.full) }
