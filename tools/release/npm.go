package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// npm's names of systems and architectures, where they are not Go's.
var npmNames = map[string]string{"windows": "win32", "amd64": "x64"}

func npmName(name string) string {
	if other, ok := npmNames[name]; ok {
		return other
	}
	return name
}

// npm packs the package handstamp, and one for each target whose binary was built, into
// bin/release/npm. The first names all targets as optional dependencies: npm installs the one
// that fits the system.
func (r *release) npm() error {
	dir := filepath.Join(r.root, "bin", "release", "npm")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	var common map[string]any
	data, err := os.ReadFile(filepath.Join(r.root, "npm", "package.json"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &common); err != nil {
		return err
	}
	common["version"] = r.fields.Version
	optional := make(map[string]string)
	packed := 0
	for _, t := range r.targets() {
		name := "@handstamp/" + npmName(t.os) + "-" + npmName(t.arch)
		optional[name] = r.fields.Version
		err := r.packBinary(dir, name, t, common)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		packed++
	}
	if packed == 0 {
		return errors.New(`nothing is built: run "release build" first`)
	}
	common["optionalDependencies"] = optional
	return r.pack(dir, common, map[string]string{
		"handstamp.js": filepath.Join(r.root, "npm", "handstamp.js"),
		"README.md":    filepath.Join(r.root, "npm", "README.md"),
	})
}

// packBinary packs the binary of one target.
func (r *release) packBinary(dir, name string, t target, common map[string]any) error {
	binary := r.binaryPath(t)
	if _, err := os.Stat(binary); err != nil {
		return err
	}
	manifest := map[string]any{
		"name": name, "os": []string{npmName(t.os)}, "cpu": []string{npmName(t.arch)}, "preferUnplugged": true,
		"description": "The binary of handstamp for " + t.String(),
	}
	for _, key := range []string{"version", "homepage", "repository", "license"} {
		manifest[key] = common[key]
	}
	return r.pack(dir, manifest, map[string]string{filepath.Base(binary): binary})
}

// pack makes a folder with these files and has npm pack it.
func (r *release) pack(dir string, manifest map[string]any, files map[string]string) error {
	folder, err := os.MkdirTemp("", "handstamp-npm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	data, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "package.json"), append(data, '\n'), 0o644); err != nil {
		return err
	}
	files["LICENSE"] = filepath.Join(r.root, "LICENSE")
	for name, from := range files {
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if name != "LICENSE" && name != "README.md" {
			mode = 0o755
		}
		if err := os.WriteFile(filepath.Join(folder, name), data, mode); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := command(folder, os.Environ(), "npm", "pack", "--silent", "--pack-destination", dir); err != nil {
		return err
	}
	fmt.Println(filepath.Join(dir, fmt.Sprint(manifest["name"])))
	return nil
}
