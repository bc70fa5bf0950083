package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// scenarios is the program that plays them.
//
//go:embed scenarios.go.txt
var scenarios []byte

// printJumps prints for each scenario how many files of the root package it runs through, and
// how many calls in the code that it runs lead into another file; and for all of the package,
// how many calls between two files run against the direction of most calls between them.
func printJumps(w io.Writer, folder string, root *checked) error {
	calls := root.calls()
	temp, err := os.MkdirTemp("", "house-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	program, err := build(folder, temp)
	if err != nil {
		return err
	}
	for _, scenario := range []struct{ name, label string }{
		{"rejected", "expired token, 401:"},
		{"first", "first login:"},
	} {
		covered, err := cover(program, filepath.Join(temp, scenario.name), scenario.name)
		if err != nil {
			return err
		}
		files := make(map[string]bool)
		for name, blocks := range covered {
			if len(blocks) > 0 {
				files[name] = true
			}
		}
		jumps := 0
		for _, c := range calls {
			if c.from.Filename != c.to && covered.has(c.from) {
				jumps++
			}
		}
		fmt.Fprintf(w, "%-20s %d files, %d jumps between them\n", scenario.label, len(files), jumps)
	}
	up, between := upward(calls)
	fmt.Fprintf(w, "calls between files: %d, %d of them against the direction of most\n", between, up)
	return nil
}

// call is a static call in the root package of one of its functions.
type call struct {
	from token.Position
	to   string // the file of the function
}

// checked is the root package, type-checked.
type checked struct {
	set    *token.FileSet
	syntax []*ast.File
	info   *types.Info
	pkg    *types.Package
}

// checkRoot type-checks the root package.
func checkRoot(folder string) (*checked, error) {
	pkg, exports, err := list(folder)
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	var syntax []*ast.File
	for _, name := range pkg.GoFiles {
		f, err := parser.ParseFile(set, filepath.Join(pkg.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		syntax = append(syntax, f)
	}
	lookup := func(path string) (io.ReadCloser, error) {
		name, ok := exports[path]
		if !ok {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(name)
	}
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
	config := types.Config{Importer: importer.ForCompiler(set, "gc", lookup)}
	found, err := config.Check(pkg.ImportPath, set, syntax, info)
	return &checked{set, syntax, info, found}, err
}

// calls returns the calls of the root package of its own functions.
func (r *checked) calls() (calls []call) {
	for _, f := range r.syntax {
		ast.Inspect(f, func(node ast.Node) bool {
			c, ok := node.(*ast.CallExpr)
			if !ok {
				return true
			}
			if fn := callee(r.info, c); fn != nil && fn.Pkg() == r.pkg {
				to := r.set.Position(fn.Pos()).Filename
				calls = append(calls, call{position(r.set, c.Lparen), filepath.Base(to)})
			}
			return true
		})
	}
	return calls
}

func position(set *token.FileSet, pos token.Pos) token.Position {
	p := set.Position(pos)
	p.Filename = filepath.Base(p.Filename)
	return p
}

// callee returns the function that a call names, or nil.
func callee(info *types.Info, c *ast.CallExpr) *types.Func {
	fun := ast.Unparen(c.Fun)
	if index, ok := fun.(*ast.IndexExpr); ok {
		fun = index.X
	}
	var name *ast.Ident
	switch f := fun.(type) {
	case *ast.Ident:
		name = f
	case *ast.SelectorExpr:
		name = f.Sel
	default:
		return nil
	}
	fn, _ := info.Uses[name].(*types.Func)
	if fn == nil {
		return nil
	}
	if r := fn.Signature().Recv(); r != nil && types.IsInterface(r.Type()) {
		return nil
	}
	return fn.Origin()
}

// listed is what "go list" prints of a package.
type listed struct {
	Dir, ImportPath, Export string
	GoFiles                 []string
}

// list returns the root package and where the export data of what it imports is.
func list(folder string) (root listed, exports map[string]string, err error) {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=Dir,ImportPath,Export,GoFiles", ".")
	cmd.Dir = folder
	out, err := cmd.Output()
	if err != nil {
		return root, nil, withStderr(err)
	}
	exports = make(map[string]string)
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return root, exports, nil
		} else if err != nil {
			return root, nil, err
		}
		exports[p.ImportPath] = p.Export
		root = p // the last one: dependencies come first
	}
}

// block is a part of a file that was run.
type block struct{ startLine, startColumn, endLine, endColumn int }

// coverage is what was run, by file.
type coverage map[string][]block

func (c coverage) has(p token.Position) bool {
	for _, b := range c[p.Filename] {
		after := p.Line > b.startLine || p.Line == b.startLine && p.Column >= b.startColumn
		before := p.Line < b.endLine || p.Line == b.endLine && p.Column <= b.endColumn
		if after && before {
			return true
		}
	}
	return false
}

// build compiles the scenarios, counting what is run of the root package. They are a module of
// their own, which has the checkout in place of the library.
func build(folder, temp string) (program string, err error) {
	dir := filepath.Join(temp, "scenarios")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	sums, err := os.ReadFile(filepath.Join(folder, "go.sum"))
	if err != nil {
		return "", err
	}
	const library = "github.com/handstamp/handstamp"
	mod := fmt.Sprintf("module scenarios\n\ngo 1.26.0\n\nrequire %s v0.0.0\n\nreplace %s => %s\n",
		library, library, strconv.Quote(folder))
	for name, data := range map[string][]byte{"main.go": scenarios, "go.sum": sums, "go.mod": []byte(mod)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return "", err
		}
	}
	program = filepath.Join(temp, "scenarios.exe")
	cmd := exec.Command("go", "build", "-mod=mod", "-cover", "-covermode=atomic", "-coverpkg=scenarios,"+library, "-o", program, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
}

// cover runs a scenario and returns what it ran of the root package.
func cover(program, dir, name string) (coverage, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	cmd := exec.Command(program, name)
	cmd.Env = append(os.Environ(), "GOCOVERDIR="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("scenario %s: %w\n%s", name, err, out)
	}
	profile := filepath.Join(dir, "profile")
	if out, err := exec.Command("go", "tool", "covdata", "textfmt", "-i="+dir, "-o="+profile).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	data, err := os.ReadFile(profile)
	if err != nil {
		return nil, err
	}
	return readProfile(string(data))
}

// readProfile reads a coverage profile: lines of file:line.column,line.column statements count.
func readProfile(text string) (coverage, error) {
	c := make(coverage)
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), ".go:")
		if !ok {
			continue // the mode
		}
		var b block
		var statements, n int
		if _, err := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d",
			&b.startLine, &b.startColumn, &b.endLine, &b.endColumn, &statements, &n); err != nil {
			return nil, fmt.Errorf("%s: %w", strconv.Quote(line), err)
		}
		if n > 0 && !strings.HasPrefix(name, "scenarios/") {
			name = name[strings.LastIndex(name, "/")+1:] + ".go"
			c[name] = append(c[name], b)
		}
	}
	return c, nil
}

// upward returns how many calls run between files, and how many of them against most of the
// calls between the same two.
func upward(calls []call) (up, between int) {
	type pair struct{ from, to string }
	n := make(map[pair]int)
	for _, c := range calls {
		if c.from.Filename != c.to {
			n[pair{c.from.Filename, c.to}]++
			between++
		}
	}
	for p, count := range n {
		back := n[pair{p.to, p.from}]
		if count < back || count == back && p.from > p.to {
			up += count
		}
	}
	return up, between
}

func withStderr(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return fmt.Errorf("%w\n%s", err, exit.Stderr)
	}
	return err
}
