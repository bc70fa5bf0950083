// Command release does for a release what goreleaser does not, and for tests what goreleaser
// would do, from the same configuration, .goreleaser.yaml:
//
//	release version             prints the version of the next release
//	release targets             prints the systems and architectures, GOOS/GOARCH
//	release build [TARGET...]   builds binaries into bin/release/GOOS_GOARCH, by default all
//	release extras              writes man pages, completions and certificates into bin/extras
//	release packages            makes the deb and the rpm of this architecture, in bin/release
//	release npm                 packs the built binaries for npm, into bin/release/npm
//	release sbom BINARY FILE    writes the bill of materials of a binary, in CycloneDX
//
// Packages need nfpm: "make bin/nfpm" builds it.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage: release version | targets | build [TARGET...] | extras | packages | npm | sbom BINARY FILE")

func run(args []string) error {
	r, err := open()
	if err != nil {
		return err
	}
	switch {
	case len(args) == 0:
		return errUsage
	case args[0] == "build":
		return r.buildAll(args[1:])
	case len(args) == 3 && args[0] == "sbom":
		return r.writeSBOM(args[1], args[2])
	case len(args) > 1:
		return errUsage
	case args[0] == "version":
		fmt.Println("v" + r.fields.Version)
		return nil
	case args[0] == "targets":
		for _, t := range r.targets() {
			fmt.Println(t)
		}
		return nil
	case args[0] == "extras":
		return r.extras()
	case args[0] == "packages":
		return r.packages()
	case args[0] == "npm":
		return r.npm()
	default:
		return errUsage
	}
}

// buildAll builds the named targets.
func (r *release) buildAll(names []string) error {
	if len(names) == 0 {
		for _, t := range r.targets() {
			names = append(names, t.String())
		}
	}
	for _, name := range names {
		t, err := parseTarget(name)
		if err != nil {
			return err
		}
		binary, err := r.build(t)
		if err != nil {
			return err
		}
		info, err := os.Stat(binary)
		if err != nil {
			return err
		}
		fmt.Printf("%s  %.1f MiB\n", filepath.ToSlash(binary), float64(info.Size())/(1<<20))
	}
	return nil
}
