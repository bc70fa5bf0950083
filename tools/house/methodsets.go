package main

import (
	"cmp"
	"fmt"
	"go/types"
	"io"
	"slices"
)

// maxMethodSet is how many methods a type of the root package may have.
const maxMethodSet = 30

// methodSet is how many methods a type of the root package has: its own and those of the types
// that it embeds, as its pointer has them.
type methodSet struct {
	name     string
	methods  int
	embedded []string // types of ours
}

// methodSets returns the method sets of all types of a package, the largest first.
func methodSets(pkg *types.Package) []methodSet {
	var sets []methodSet
	for _, name := range pkg.Scope().Names() {
		named, ok := pkg.Scope().Lookup(name).(*types.TypeName)
		if !ok {
			continue
		}
		s := methodSet{name: name, methods: types.NewMethodSet(types.NewPointer(named.Type())).Len()}
		if st, ok := named.Type().Underlying().(*types.Struct); ok {
			s.embedded = embedded(st)
		}
		sets = append(sets, s)
	}
	slices.SortStableFunc(sets, func(a, b methodSet) int { return cmp.Compare(b.methods, a.methods) })
	return sets
}

func embedded(st *types.Struct) (names []string) {
	for i := range st.NumFields() {
		if f := st.Field(i); f.Embedded() {
			names = append(names, f.Name())
		}
	}
	return names
}

// printMethodSets prints the largest method set, and how many are too large.
func printMethodSets(w io.Writer, sets []methodSet) {
	over := slices.IndexFunc(sets, func(s methodSet) bool { return s.methods <= maxMethodSet })
	fmt.Fprintf(w, "method sets:         the largest is that of %s, %d; over %d: %d\n",
		sets[0].name, sets[0].methods, maxMethodSet, over)
	for _, s := range sets[:over] {
		fmt.Fprintf(w, "    %d %s\n", s.methods, s.name)
	}
}
