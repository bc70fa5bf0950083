// Command house measures the shape of the code in a checkout of this repository, so that two
// commits can be compared:
//
//	go run ./tools/house [FOLDER]
//
// It prints the methods and fields of the type session, the method sets of the root package that
// have more than 30 methods, functions by cyclomatic complexity, lines of code, exported names,
// links in doc comments, long lines, and how often two scenarios jump between files of the root
// package: one call whose token the server no longer accepts, and one first login.
package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	folder := "."
	if len(os.Args) > 1 {
		folder = os.Args[1]
	}
	if err := run(os.Stdout, folder); err != nil {
		fmt.Fprintln(os.Stderr, "house:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, folder string) error {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	files, err := parse(folder)
	if err != nil {
		return err
	}
	root, err := checkRoot(folder)
	if err != nil {
		return err
	}
	printSession(w, files)
	printMethodSets(w, methodSets(root.pkg))
	printComplexity(w, files)
	for _, pkg := range []string{".", "store"} {
		names := exported(files, pkg)
		fmt.Fprintf(w, "exported by %-8s %d names, %d methods, %d fields\n", pkg+":", names.names, names.methods, names.fields)
	}
	fmt.Fprintf(w, "doc links:           %d\n", docLinks(files))
	production, tests := longLines(files)
	fmt.Fprintf(w, "lines over %d:      %d, in tests %d\n", columns, production, tests)
	if err := printJumps(w, folder, root); err != nil {
		return err
	}
	printLines(w, files)
	return nil
}

// printSession prints what hangs on the type session.
func printSession(w io.Writer, files []file) {
	methods, fields, embedded := 0, 0, 0
	for _, f := range files {
		if f.pkg == "." && !f.test {
			methods += f.methods()["session"]
			fields += f.fields("session")
			embedded += f.embedding("session")
		}
	}
	fmt.Fprintf(w, "session:             %d methods, %d fields, embedded in %d types\n", methods, fields, embedded)
}

func printComplexity(w io.Writer, files []file) {
	all, over12 := 0, 0
	var over20 []string
	for _, f := range files {
		if f.test {
			continue
		}
		for name, complexity := range f.complexities() {
			all++
			if complexity > 12 {
				over12++
			}
			if complexity > 20 {
				over20 = append(over20, fmt.Sprintf("    %d %s %s", complexity, f.name, name))
			}
		}
	}
	slices.Sort(over20)
	fmt.Fprintf(w, "functions:           %d, over 12: %d, over 20: %d\n", all, over12, len(over20))
	for _, line := range over20 {
		fmt.Fprintln(w, line)
	}
}

// printLines prints the lines of code of each package, and the sums of production code as it
// is bounded: the root package, the stores, internal packages, the bridge and the command.
func printLines(w io.Writer, files []file) {
	type lines struct{ production, tests int }
	packages := make(map[string]lines)
	var all lines
	bounded := 0
	for _, f := range files {
		n := f.lines()
		l := packages[f.pkg]
		if f.test {
			l.tests += n
			all.tests += n
		} else {
			l.production += n
			all.production += n
			if f.bounded() {
				bounded += n
			}
		}
		packages[f.pkg] = l
	}
	fmt.Fprintf(w, "\n%-34s %10s %8s\n", "lines of code", "production", "tests")
	for _, pkg := range slices.Sorted(maps.Keys(packages)) {
		fmt.Fprintf(w, "%-34s %10d %8d\n", pkg, packages[pkg].production, packages[pkg].tests)
	}
	fmt.Fprintf(w, "%-34s %10d %8d\n", "all", all.production, all.tests)
	fmt.Fprintf(w, "%-34s %10d\n", "root, store, internal, bridge, cmd", bounded)
}

// columns is how long a line may be, in characters; a tab is one.
const columns = 100

func longLines(files []file) (production, tests int) {
	for _, f := range files {
		for line := range bytes.Lines(f.source) {
			if len([]rune(string(bytes.TrimRight(line, "\r\n")))) <= columns {
				continue
			}
			if f.test {
				tests++
			} else {
				production++
			}
		}
	}
	return production, tests
}
