package main

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// bom is a bill of materials in CycloneDX 1.6, as far as a Go binary knows it.
type bom struct {
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	Serial       string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     bomMetadata  `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type bomMetadata struct {
	Component component `json:"component"`
}

type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl"`
	Hashes  []hash `json:"hashes,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

// writeSBOM writes what the binary was built from: the modules that the Go toolchain recorded
// in it, and the standard library. It has no time and no random number, so that two builds of
// one commit have one bill.
func (r *release) writeSBOM(binary, file string) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	out, err := json.MarshalIndent(newBOM(info, filepath.Base(binary), "v"+r.fields.Version, sum), "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(out, '\n'), 0o644)
}

// ours is what the modules of this repository begin with.
const ours = "github.com/handstamp/handstamp"

// newBOM gives our own modules the version of the release, which -trimpath leaves out.
func newBOM(info *debug.BuildInfo, name, version string, sum [sha256.Size]byte) bom {
	main := module(info.Main.Path, version)
	main.Type, main.Name = "application", name
	main.Hashes = []hash{{"SHA-256", hex.EncodeToString(sum[:])}}
	b := bom{
		Format: "CycloneDX", SpecVersion: "1.6", Serial: serial(sum), Version: 1,
		Metadata: bomMetadata{Component: main},
	}
	b.Components = append(b.Components, module("std", strings.TrimPrefix(info.GoVersion, "go")))
	for _, dep := range info.Deps {
		dep = cmp.Or(dep.Replace, dep)
		if strings.HasPrefix(dep.Path, ours) {
			dep.Version = version
		}
		b.Components = append(b.Components, module(dep.Path, dep.Version))
	}
	refs := make([]string, 0, len(b.Components))
	for _, c := range b.Components {
		refs = append(refs, c.Ref)
	}
	b.Dependencies = []dependency{{main.Ref, refs}}
	return b
}

func module(path, version string) component {
	purl := "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
	return component{Type: "library", Ref: purl, Name: path, Version: version, PURL: purl}
}

// serial returns a UUID of version 8 (RFC 9562 section 5.8) made of the binary's hash.
func serial(sum [sha256.Size]byte) string {
	id := sum[:16]
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
