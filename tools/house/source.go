package main

import (
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// file is one Go file of the checkout.
type file struct {
	name   string // relative to the checkout, with slashes
	pkg    string // its folder
	test   bool
	source []byte
	syntax *ast.File
}

// parse reads all Go files of the checkout but those in testdata and in folders of other tools.
func parse(folder string) ([]file, error) {
	var files []file
	set := token.NewFileSet()
	err := filepath.WalkDir(folder, func(full string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			skip := d.Name() == "testdata" || d.Name() == "node_modules" || d.Name() == "bin" || strings.HasPrefix(d.Name(), ".")
			if skip && full != folder {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(full) != ".go" {
			return nil
		}
		source, err := os.ReadFile(full)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(set, full, source, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(folder, full)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(relative)
		files = append(files, file{
			name: name, pkg: path.Dir(name), test: isTest(name), source: source, syntax: syntax,
		})
		return nil
	})
	return files, err
}

// isTest reports whether a file is for tests: also what lies in a folder that only tests import.
func isTest(name string) bool {
	return strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "test/") ||
		strings.HasPrefix(name, "internal/testenv/") || strings.HasPrefix(name, "internal/proctest/") ||
		strings.HasPrefix(name, "bridge/chaos/") || strings.HasPrefix(name, "bridge/field/") ||
		strings.HasPrefix(name, "store/storetest/")
}

// bounded reports whether a file is part of the production code that shall not grow.
func (f file) bounded() bool {
	first, _, _ := strings.Cut(f.pkg, "/")
	return slices.Contains([]string{".", "store", "secret", "internal", "bridge", "cmd"}, first)
}

// lines returns how many lines have code.
func (f file) lines() int {
	set := token.NewFileSet()
	of := set.AddFile(f.name, set.Base(), len(f.source))
	var s scanner.Scanner
	s.Init(of, f.source, nil, 0)
	last, n := 0, 0
	for {
		pos, kind, text := s.Scan()
		if kind == token.EOF {
			return n
		}
		if kind == token.SEMICOLON && text == "\n" {
			continue
		}
		first := of.Line(pos)
		end := first + strings.Count(text, "\n")
		n += end - max(first, last+1) + 1
		last = max(last, end)
	}
}

// methods returns how many methods each type has in this file.
func (f file) methods() map[string]int {
	found := make(map[string]int)
	for _, d := range f.syntax.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil {
			found[receiver(fn)]++
		}
	}
	return found
}

func receiver(fn *ast.FuncDecl) string {
	t := fn.Recv.List[0].Type
	for {
		switch of := t.(type) {
		case *ast.StarExpr:
			t = of.X
		case *ast.IndexExpr:
			t = of.X
		case *ast.Ident:
			return of.Name
		default:
			return ""
		}
	}
}

// structs calls visit with each struct type that the file declares.
func (f file) structs(visit func(name string, s *ast.StructType)) {
	for _, d := range f.syntax.Decls {
		general, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range general.Specs {
			if t, ok := spec.(*ast.TypeSpec); ok {
				if s, ok := t.Type.(*ast.StructType); ok {
					visit(t.Name.Name, s)
				}
			}
		}
	}
}

func (f file) fields(name string) (n int) {
	f.structs(func(found string, s *ast.StructType) {
		if found == name {
			n += count(s)
		}
	})
	return n
}

func count(s *ast.StructType) (n int) {
	for _, field := range s.Fields.List {
		n += max(1, len(field.Names))
	}
	return n
}

// embedding returns how many structs embed a type or a pointer to it.
func (f file) embedding(name string) (n int) {
	f.structs(func(_ string, s *ast.StructType) {
		for _, field := range s.Fields.List {
			t := field.Type
			if pointer, ok := t.(*ast.StarExpr); ok {
				t = pointer.X
			}
			if of, ok := t.(*ast.Ident); ok && len(field.Names) == 0 && of.Name == name {
				n++
			}
		}
	})
	return n
}

// complexities returns the cyclomatic complexity of each function, as gocyclo counts it.
func (f file) complexities() map[string]int {
	found := make(map[string]int)
	for _, d := range f.syntax.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := fn.Name.Name
		if fn.Recv != nil {
			name = "(" + receiver(fn) + ")." + name
		}
		found[name] = complexity(fn)
	}
	return found
}

func complexity(fn *ast.FuncDecl) int {
	n := 1
	ast.Inspect(fn, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			n++
		case *ast.CaseClause:
			n += min(1, len(node.List))
		case *ast.CommClause:
			if node.Comm != nil {
				n++
			}
		case *ast.BinaryExpr:
			if node.Op == token.LAND || node.Op == token.LOR {
				n++
			}
		}
		return true
	})
	return n
}

// surface is what a package exports.
type surface struct{ names, methods, fields int }

func exported(files []file, pkg string) (s surface) {
	for _, f := range files {
		if f.pkg != pkg || f.test {
			continue
		}
		f.structs(func(name string, st *ast.StructType) {
			if ast.IsExported(name) {
				s.fields += exportedFields(st)
			}
		})
		for _, d := range f.syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				switch {
				case !d.Name.IsExported():
				case d.Recv == nil:
					s.names++
				case ast.IsExported(receiver(d)):
					s.methods++
				}
			case *ast.GenDecl:
				s.names += exportedSpecs(d)
			}
		}
	}
	return s
}

func exportedFields(st *ast.StructType) (n int) {
	for _, field := range st.Fields.List {
		for _, name := range field.Names {
			if name.IsExported() {
				n++
			}
		}
	}
	return n
}

func exportedSpecs(d *ast.GenDecl) (n int) {
	for _, spec := range d.Specs {
		var names []*ast.Ident
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			names = []*ast.Ident{spec.Name}
		case *ast.ValueSpec:
			names = spec.Names
		}
		for _, name := range names {
			if name.IsExported() {
				n++
			}
		}
	}
	return n
}

var docLink = regexp.MustCompile(`\[\*?[A-Za-z][\w/]*(\.[A-Za-z]\w*){0,2}\]($|[^(:\w])`)

// docLinks counts the links in comments outside tests.
func docLinks(files []file) (n int) {
	for _, f := range files {
		if f.test {
			continue
		}
		for _, group := range f.syntax.Comments {
			n += len(docLink.FindAllString(group.Text(), -1))
		}
	}
	return n
}
