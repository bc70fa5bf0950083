package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"

	"go.yaml.in/yaml/v3"
)

// What nfpm reads at the top of its own configuration where goreleaser has another name; an
// empty name is for goreleaser alone.
var nfpmNames = map[string]string{
	"package_name": "name", "dependencies": "depends", "formats": "", "bindir": "", "id": "", "ids": "",
	"file_name_template": "",
}

// packages makes the packages of this machine's architecture, for Linux.
func (r *release) packages() error {
	t := target{"linux", runtime.GOARCH}
	if _, err := r.build(t); err != nil {
		return err
	}
	section := r.config.Nfpms[0]
	formats, _ := section["formats"].([]any)
	if len(formats) == 0 {
		return fmt.Errorf(".goreleaser.yaml: the packages have no formats")
	}
	data, err := r.nfpm(t)
	if err != nil {
		return err
	}
	dir := filepath.Dir(r.binaryPath(t))
	config := filepath.Join(dir, "nfpm.yaml")
	if err := os.WriteFile(config, data, 0o644); err != nil {
		return err
	}
	for _, format := range formats {
		kind := fmt.Sprint(format)
		args := []string{"package", "--config", config, "--packager", kind, "--target", r.packagePath(kind)}
		if err := command(r.root, os.Environ(), filepath.Join(r.root, "bin", "nfpm"), args...); err != nil {
			return err
		}
		fmt.Println(r.packagePath(kind))
	}
	return nil
}

// packagePath returns where packages puts the package of a format.
func (r *release) packagePath(format string) string {
	return filepath.Join(r.root, "bin", "release", "handstamp."+format)
}

// nfpm returns the configuration that goreleaser gives to nfpm.
func (r *release) nfpm(t target) ([]byte, error) {
	section := maps.Clone(r.config.Nfpms[0])
	bindir, _ := section["bindir"].(string)
	for old, name := range nfpmNames {
		if value, ok := section[old]; ok {
			delete(section, old)
			if name != "" {
				section[name] = value
			}
		}
	}
	for key, value := range section {
		if text, ok := value.(string); ok {
			expanded, err := r.expand(text)
			if err != nil {
				return nil, err
			}
			section[key] = expanded
		}
	}
	section["version"], section["platform"], section["arch"] = r.fields.Version, t.os, t.arch
	contents, _ := section["contents"].([]any)
	binary := r.config.Builds[0].Binary
	section["contents"] = append([]any{map[string]any{
		"src": r.binaryPath(t), "dst": bindir + "/" + binary, "file_info": map[string]any{"mode": 0o755},
	}}, contents...)
	return yaml.Marshal(section)
}
