// Command modules does what several modules in one repository need, and what the go command
// leaves to its users:
//
//	modules list               prints the folders of the modules that go.work names
//	modules tidy               tidies each of them, as if their next versions were released
//	modules version VERSION    makes them require VERSION of each other
//	modules tags VERSION       prints the tags of a release, in the order in which they are pushed
//	modules proxy DIR          fills DIR, a file proxy, with the modules as they would be released
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/modfile"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "modules:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	root, err := repository()
	if err != nil {
		return err
	}
	all, err := read(root)
	if err != nil {
		return err
	}
	switch {
	case len(args) == 1 && args[0] == "list":
		for _, m := range all {
			fmt.Println(m.dir)
		}
		return nil
	case len(args) == 1 && args[0] == "tidy":
		return tidy(root, all)
	case len(args) == 2 && args[0] == "version":
		return setVersion(root, all, args[1])
	case len(args) == 2 && args[0] == "tags":
		list, err := tags(all, args[1])
		for _, tag := range list {
			fmt.Println(tag)
		}
		return err
	case len(args) == 2 && args[0] == "proxy":
		return fillProxy(root, all, args[1])
	default:
		return fmt.Errorf("usage: modules list | tidy | version VERSION | tags VERSION | proxy DIR")
	}
}

// module is one of the repository's.
type module struct {
	dir  string // relative to the repository, with slashes
	file *modfile.File
}

func (m module) path() string { return m.file.Module.Mod.Path }

// repository returns the folder at or above the working directory that holds go.work.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no go.work at or above the working directory")
		}
		dir = parent
	}
}

// read returns the modules that go.work uses, in its order.
func read(root string) ([]module, error) {
	work, err := readWork(root)
	if err != nil {
		return nil, err
	}
	var all []module
	for _, use := range work.Use {
		m, err := readModule(root, filepath.ToSlash(filepath.Clean(use.Path)))
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

func readModule(root, dir string) (module, error) {
	name := filepath.Join(root, filepath.FromSlash(dir), "go.mod")
	data, err := os.ReadFile(name)
	if err != nil {
		return module{}, err
	}
	file, err := modfile.Parse(name, data, nil)
	return module{dir: dir, file: file}, err
}

func readWork(root string) (*modfile.WorkFile, error) {
	name := filepath.Join(root, "go.work")
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return modfile.ParseWork(name, data, nil)
}

// ours returns what go.mod requires of the repository's own modules.
func ours(m module, all []module) []*modfile.Require {
	var found []*modfile.Require
	for _, require := range m.file.Require {
		for _, other := range all {
			if require.Mod.Path == other.path() {
				found = append(found, require)
			}
		}
	}
	return found
}

// required returns the one version that the modules require of each other.
func required(all []module) (string, error) {
	version := ""
	for _, m := range all {
		for _, require := range ours(m, all) {
			if version == "" {
				version = require.Mod.Version
			}
			if require.Mod.Version != version {
				return "", fmt.Errorf("%s requires %s, others %s", m.dir, require.Mod, version)
			}
		}
	}
	return version, nil
}
