// Package pages tests what is written: the words in code and pages, and what pages name.
package pages

import (
	"fmt"
	"os"
	"testing"
)

// TestMain runs the tests at the top of the tree, whose files they read.
func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
