package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// tidy runs "go mod tidy" in each module, and then completes the workspace's own sums.
func tidy(root string, all []module) error {
	version, err := required(all)
	if err != nil {
		return err
	}
	for _, m := range all {
		if err := tidyOne(root, m, all, version); err != nil {
			return fmt.Errorf("%s: %w", m.dir, err)
		}
	}
	list := command(root, nil, "go", "list", "-deps", "-test", "work")
	list.Stdout = nil
	return list.Run()
}

// tidyOne tidies a module with the others in place of their released versions, which may not
// exist yet: the replacements are in go.mod only while the go command runs.
func tidyOne(root string, m module, all []module, version string) error {
	dir := filepath.Join(root, filepath.FromSlash(m.dir))
	name := filepath.Join(dir, "go.mod")
	for _, other := range all {
		if other.dir == m.dir {
			continue
		}
		full := filepath.Join(root, filepath.FromSlash(other.dir))
		if err := m.file.AddReplace(other.path(), "", full, ""); err != nil {
			return err
		}
	}
	if err := write(name, m.file); err != nil {
		return err
	}
	tidied := command(dir, []string{"GOWORK=off"}, "go", "mod", "tidy").Run()
	m, err := readModule(root, m.dir)
	if err != nil {
		return err
	}
	for _, other := range all {
		if err := m.file.DropReplace(other.path(), ""); err != nil {
			return err
		}
	}
	for _, require := range ours(m, all) {
		if err := m.file.AddRequire(require.Mod.Path, version); err != nil {
			return err
		}
	}
	if err := write(name, m.file); err != nil {
		return err
	}
	return tidied
}

// setVersion makes the modules require version of each other, and go.work replace it.
func setVersion(root string, all []module, version string) error {
	if !semver.IsValid(version) {
		return fmt.Errorf("%q is not a version: v0.2.0 would be one", version)
	}
	for _, m := range all {
		for _, require := range ours(m, all) {
			if err := m.file.AddRequire(require.Mod.Path, version); err != nil {
				return err
			}
		}
		if err := write(filepath.Join(root, filepath.FromSlash(m.dir), "go.mod"), m.file); err != nil {
			return err
		}
	}
	name := filepath.Join(root, "go.work")
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	work, err := modfile.ParseWork(name, data, nil)
	if err != nil {
		return err
	}
	text := string(data)
	for _, replace := range work.Replace {
		old := replace.Old.Path + " " + replace.Old.Version + " "
		text = strings.ReplaceAll(text, old, replace.Old.Path+" "+version+" ")
	}
	return os.WriteFile(name, []byte(text), 0o644)
}

func write(name string, file *modfile.File) error {
	file.Cleanup()
	return os.WriteFile(name, modfile.Format(file.Syntax), 0o644)
}

func command(dir string, env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd
}
