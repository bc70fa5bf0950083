package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// installed packs for npm and installs the tarballs into a folder, without a network.
func installed(t *testing.T, packages ...string) (r *release, dir string) {
	t.Helper()
	r = opened(t)
	for _, tool := range []string{"node", "npm", "npx"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	nativeBinary(t, r)
	if err := r.npm(); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	args := []string{"install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund"}
	for _, name := range packages {
		args = append(args, filepath.Join(r.root, "bin", "release", "npm", name+"-"+r.fields.Version+".tgz"))
	}
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte("{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := command(dir, npmEnv(t), "npm", args...); err != nil {
		t.Fatal(err)
	}
	return r, dir
}

// npmEnv is an npm that has nothing cached.
func npmEnv(t *testing.T) []string {
	return append(os.Environ(), "npm_config_cache="+t.TempDir(), "npm_config_update_notifier=false")
}

func platformPackage() string {
	return "handstamp-" + npmName(runtime.GOOS) + "-" + npmName(runtime.GOARCH)
}

// TestNpxRunsTheBridge installs what npm packed, runs the bridge as an MCP host would, and
// passes exit codes on.
func TestNpxRunsTheBridge(t *testing.T) {
	r, dir := installed(t, "handstamp", platformPackage())
	env := user(t, nativeBinary(t, r))
	bridgeCallsATool(t, dir, env, "npx", "--offline", "-y", "handstamp", "bridge")
	err := command(dir, env, "npx", "--offline", "-y", "handstamp", "no-such-command")
	if err == nil || !strings.Contains(err.Error(), "exit status 2") {
		t.Errorf("a wrong command: %v, want the exit code 2", err)
	}
}

// TestNpxPassesSignalsOn ends the program that npm starts: the command ends as well, and closes
// what it writes to.
func TestNpxPassesSignalsOn(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no SIGTERM")
	}
	r, dir := installed(t, "handstamp", platformPackage())
	ctx, cancel := context.WithTimeout(t.Context(), sessionLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "node_modules/handstamp/handstamp.js", "lab", "serve")
	cmd.Dir, cmd.Env = dir, user(t, nativeBinary(t, r))
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	if line, err := lines.ReadString('\n'); err != nil {
		t.Fatalf("lab serve writes %q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, lines); err != nil { // until the command has ended, too
		t.Error(err)
	}
	if _ = cmd.Wait(); ctx.Err() != nil {
		t.Error("the command goes on after SIGTERM")
	}
}

// TestMissingBinaryIsNamed installs the package without the one that has the binary.
func TestMissingBinaryIsNamed(t *testing.T) {
	_, dir := installed(t, "handstamp")
	err := command(dir, npmEnv(t), "npx", "--offline", "-y", "handstamp", "version")
	if err == nil || !strings.Contains(err.Error(), "@"+strings.Replace(platformPackage(), "-", "/", 1)+" is missing") {
		t.Errorf("npx handstamp without a binary: %v", err)
	}
}
