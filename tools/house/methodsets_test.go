package main

import (
	"slices"
	"testing"
)

// A type of the root package has at most 30 methods, with those of the types that it embeds, and
// none embeds a session: what a type can do is its own responsibility.
func TestMethodSets(t *testing.T) {
	root, err := checkRoot("../..")
	if err != nil {
		t.Fatal(err)
	}
	sets := methodSets(root.pkg)
	if !slices.ContainsFunc(sets, func(s methodSet) bool { return s.name == "session" }) {
		t.Error("the root package has no type session")
	}
	for _, s := range sets {
		if s.methods > maxMethodSet {
			t.Errorf("%s has %d methods; at most %d: give a responsibility a type of its own",
				s.name, s.methods, maxMethodSet)
		}
		if slices.Contains(s.embedded, "session") {
			t.Errorf("%s embeds a session: let it have what it needs of it", s.name)
		}
	}
}
