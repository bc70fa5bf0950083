package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// binaryPath returns where build puts the binary of a target.
func (r *release) binaryPath(t target) string {
	name := r.config.Builds[0].Binary
	if t.os == "windows" {
		name += ".exe"
	}
	return filepath.Join(r.root, "bin", "release", t.os+"_"+t.arch, name)
}

// build builds the command for a target as goreleaser does, and returns the file.
func (r *release) build(t target, env ...string) (string, error) {
	if !slices.Contains(r.targets(), t) {
		return "", fmt.Errorf("%s is not among the targets of .goreleaser.yaml", t)
	}
	build := r.config.Builds[0]
	ldflags, err := r.expand(strings.Join(build.Ldflags, " "))
	if err != nil {
		return "", err
	}
	binary := r.binaryPath(t)
	args := append([]string{"build"}, build.Flags...)
	args = append(args, "-ldflags="+ldflags, "-o", binary, build.Main)
	env = slices.Concat(os.Environ(), []string{"GOOS=" + t.os, "GOARCH=" + t.arch}, build.Env, env)
	return binary, command(r.root, env, "go", args...)
}

// native builds the command for this machine.
func (r *release) native() (string, error) {
	return r.build(target{runtime.GOOS, runtime.GOARCH})
}

// command runs a program in dir. Its output is in the error.
func command(dir string, env []string, name string, args ...string) error {
	_, err := output(dir, env, name, args...)
	return err
}

// output is command, and returns what the program writes to standard output.
func output(dir string, env []string, name string, args ...string) ([]byte, error) {
	var stderr strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env, cmd.Stderr = dir, env, &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return out, nil
}
