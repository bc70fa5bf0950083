package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/handstamp/handstamp/internal/testenv"
)

// TestPackagesTypeCheckForEveryTarget reads every package of the workspace and what it imports
// as the compiler of each target would, up to types: a name that another system does not have
// fails here. "make platforms" compiles them, which takes minutes.
func TestPackagesTypeCheckForEveryTarget(t *testing.T) {
	r := opened(t)
	systems := make(map[string]bool)
	for _, target := range r.targets() {
		first := !systems[target.os]
		systems[target.os] = true
		t.Run(target.String(), func(t *testing.T) {
			if !first && !testenv.Long() {
				t.Skip("the same system on another processor")
			}
			t.Parallel()
			for _, err := range typeErrors(t, r.root, target) {
				t.Error(err)
			}
		})
	}
}

// sourcePackage is what "go list" prints of a package.
type sourcePackage struct {
	Dir, ImportPath string
	Name            string
	GoFiles         []string
	ImportMap       map[string]string
	Standard        bool
	DepOnly         bool
}

// typeErrors returns what the packages of the workspace get wrong on a target.
func typeErrors(t *testing.T, root string, on target) (found []error) {
	t.Helper()
	env := append(os.Environ(), "GOOS="+on.os, "GOARCH="+on.arch, "CGO_ENABLED=0")
	out, err := output(root, env, "go", "list", "-deps",
		"-json=Dir,ImportPath,Name,GoFiles,ImportMap,Standard,DepOnly", "work")
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	checked := map[string]*types.Package{"unsafe": types.Unsafe}
	own := 0
	for d := json.NewDecoder(bytes.NewReader(out)); ; { // what a package imports comes before it
		var p sourcePackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p.ImportPath == "unsafe" {
			continue
		}
		if !p.DepOnly {
			own++
		}
		config := types.Config{
			Importer:         importedAs{checked, p.ImportMap},
			Sizes:            types.SizesFor("gc", on.arch),
			IgnoreFuncBodies: p.DepOnly,
			Error: func(err error) {
				if !p.DepOnly {
					found = append(found, err)
				}
			},
		}
		// An error of a package elsewhere matters where one of ours has an error for it.
		checked[p.ImportPath], _ = config.Check(p.ImportPath, files, parsed(t, files, p), nil)
	}
	if own < 50 {
		t.Errorf("it has checked %d packages of the workspace", own)
	}
	return found
}

func parsed(t *testing.T, files *token.FileSet, p sourcePackage) (all []*ast.File) {
	t.Helper()
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, file)
	}
	return all
}

// importedAs finds the packages that one package imports.
type importedAs struct {
	checked map[string]*types.Package
	renamed map[string]string // of the standard library, what it has of others
}

// Import implements [types.Importer].
func (i importedAs) Import(path string) (*types.Package, error) {
	if renamed, ok := i.renamed[path]; ok {
		path = renamed
	}
	if p := i.checked[path]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("%s is not among the dependencies", path)
}
