package main

import (
	"slices"
	"testing"
)

// TestReleasedModulesRequireReleasedOnes reads every go.mod: a user of a released module gets
// all that it requires.
func TestReleasedModulesRequireReleasedOnes(t *testing.T) {
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	all, err := read(root)
	if err != nil {
		t.Fatal(err)
	}
	released := make(map[string]bool)
	for _, m := range all {
		released[m.path()] = isReleased(m)
	}
	for _, m := range all {
		for _, require := range ours(m, all) {
			if isReleased(m) && !released[require.Mod.Path] {
				t.Errorf("%s is released, and requires %s, which is not", m.dir, require.Mod.Path)
			}
		}
	}
	version, err := required(all)
	if err != nil {
		t.Fatal(err)
	}
	list, err := tags(all, version)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{version, "cmd/handstamp/" + version, "lab/mcpserver/" + version} {
		if !slices.Contains(list, want) {
			t.Errorf("there is no tag %s among %q", want, list)
		}
	}
	if slices.Contains(list, "tools/"+version) || list[len(list)-1] != version {
		t.Errorf("the tags are %q", list)
	}
	if _, err := tags(all, "v99.0.0"); err == nil {
		t.Error("a version that the modules do not require of each other is tagged")
	}
}
