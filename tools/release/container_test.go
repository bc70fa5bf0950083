package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestContainerRunsTheBridge builds the container with buildah, from nothing but the files that
// goreleaser puts beside its Dockerfile, and runs the bridge in it. No daemon and no registry is
// needed.
func TestContainerRunsTheBridge(t *testing.T) {
	r := opened(t)
	if _, err := exec.LookPath("buildah"); err != nil {
		t.Skip("buildah is not installed")
	}
	if os.Getuid() != 0 {
		t.Skip("only root has the namespaces that buildah needs here")
	}
	if err := r.extras(); err != nil {
		t.Fatal(err)
	}
	storage := t.TempDir()
	buildah := func(args ...string) []string {
		return append([]string{
			"buildah", "--root", filepath.Join(storage, "root"), "--runroot", filepath.Join(storage, "run"),
			"--storage-driver", "vfs",
		}, args...)
	}
	run := func(args ...string) string {
		t.Helper()
		args = buildah(args...)
		out, err := output(storage, os.Environ(), args[0], args[1:]...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	platform := "linux/" + runtime.GOARCH
	run("build", "--isolation", "chroot", "--build-arg", "TARGETPLATFORM="+platform, "--tag", "handstamp",
		"--file", filepath.Join(r.root, "packaging", "Dockerfile"), containerContext(t, r, platform))
	container := run("from", "--pull-never", "localhost/handstamp")
	t.Cleanup(func() { run("rm", container) })
	const program = "/usr/bin/handstamp"
	bridgeCallsATool(t, storage, os.Environ(), buildah("run", "--isolation", "chroot",
		"--env", "HANDSTAMP_NO_BROWSER=", "--env", "HANDSTAMP_BROWSER="+program+" demo browser",
		container, "--", program, "bridge")...)
	if out := run("run", "--isolation", "chroot", container, "--", program, "status", "--json"); !strings.Contains(out, `"/data`) {
		t.Errorf("the login is not below /data: %s", out)
	}
}

// containerContext returns a folder with what goreleaser has beside a Dockerfile.
func containerContext(t *testing.T, r *release, platform string) string {
	t.Helper()
	dir := t.TempDir()
	binary := r.binaryPath(target{"linux", runtime.GOARCH})
	for from, to := range map[string]string{
		binary: platform + "/handstamp",
		filepath.Join(r.root, "bin/extras/certificates.pem"): "bin/extras/certificates.pem",
		filepath.Join(r.root, "bin/extras/data/.keep"):       "bin/extras/data/.keep",
	} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		full := filepath.Join(dir, to)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
