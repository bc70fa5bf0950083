package main

import (
	"fmt"
	"strings"

	"golang.org/x/mod/semver"
)

// unreleased begins the comment above "module" in a go.mod of a module that no other user
// requires. All others are tagged with each release.
const unreleased = "// Not released"

func isReleased(m module) bool {
	for _, comment := range m.file.Module.Syntax.Comments.Before {
		if strings.HasPrefix(comment.Token, unreleased) {
			return false
		}
	}
	return true
}

// tags returns the tags of a release, one for each released module, in the order in which they
// are pushed: that of the library is the last, as it starts the workflow.
func tags(all []module, version string) ([]string, error) {
	if !semver.IsValid(version) {
		return nil, fmt.Errorf("%q is not a version: v0.2.0 would be one", version)
	}
	next, err := required(all)
	if err != nil {
		return nil, err
	}
	if next != version {
		return nil, fmt.Errorf("the modules require %s of each other: run modules version %s first", next, version)
	}
	var list []string
	for _, m := range all {
		if isReleased(m) && m.dir != "." {
			list = append(list, m.dir+"/"+version)
		}
	}
	return append(list, version), nil
}
