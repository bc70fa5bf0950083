package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/mod/modfile"
)

// config is what of .goreleaser.yaml is read here.
type config struct {
	Builds []struct {
		Main, Binary string
		Env, Flags   []string
		Ldflags      []string
		Goos, Goarch []string
	}
	Nfpms []map[string]any
}

// release is the next release, of this commit.
type release struct {
	root   string
	config config
	fields fields
}

// fields are what the templates of .goreleaser.yaml use.
type fields struct {
	Version         string // without "v"
	FullCommit      string
	CommitTimestamp string // seconds since 1970
	CommitDate      string // RFC 3339
}

const configuration = ".goreleaser.yaml"

// open reads the configuration at or above the working directory, and what git knows of the
// commit. A tree without git has a release, too, of no commit and of 1970.
func open() (*release, error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(root, configuration))
	for errors.Is(err, fs.ErrNotExist) && filepath.Dir(root) != root {
		root = filepath.Dir(root)
		data, err = os.ReadFile(filepath.Join(root, configuration))
	}
	if err != nil {
		return nil, err
	}
	r := &release{root: root}
	if err := yaml.Unmarshal(data, &r.config); err != nil {
		return nil, err
	}
	if len(r.config.Builds) != 1 || len(r.config.Nfpms) != 1 {
		return nil, fmt.Errorf(".goreleaser.yaml has %d builds and %d packages, want 1 and 1",
			len(r.config.Builds), len(r.config.Nfpms))
	}
	if r.fields.Version, err = nextVersion(root); err != nil {
		return nil, err
	}
	git := exec.Command("git", "log", "-1", "--format=%H %ct")
	git.Dir = root
	out, _ := git.Output()
	hash, seconds, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	at, _ := strconv.ParseInt(seconds, 10, 64)
	r.fields.FullCommit, r.fields.CommitTimestamp = hash, strconv.FormatInt(at, 10)
	r.fields.CommitDate = time.Unix(at, 0).UTC().Format(time.RFC3339)
	return r, nil
}

// nextVersion returns the version that the command requires of the library: it is the next
// release of both.
func nextVersion(root string) (string, error) {
	name := filepath.Join(root, "cmd", "handstamp", "go.mod")
	data, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	file, err := modfile.Parse(name, data, nil)
	if err != nil {
		return "", err
	}
	library := strings.TrimSuffix(file.Module.Mod.Path, "/cmd/handstamp")
	for _, require := range file.Require {
		if require.Mod.Path == library {
			return strings.TrimPrefix(require.Mod.Version, "v"), nil
		}
	}
	return "", fmt.Errorf("%s does not require %s", name, library)
}

// expand executes a template of the configuration.
func (r *release) expand(text string) (string, error) {
	t, err := template.New("").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = t.Execute(&out, r.fields)
	return out.String(), err
}

// target is a system and an architecture.
type target struct{ os, arch string }

func (t target) String() string { return t.os + "/" + t.arch }

func parseTarget(name string) (target, error) {
	system, arch, ok := strings.Cut(name, "/")
	if !ok {
		return target{}, fmt.Errorf("%q is not GOOS/GOARCH", name)
	}
	return target{system, arch}, nil
}

// targets returns what the command is built for.
func (r *release) targets() (all []target) {
	for _, system := range r.config.Builds[0].Goos {
		for _, arch := range r.config.Builds[0].Goarch {
			all = append(all, target{system, arch})
		}
	}
	return all
}
