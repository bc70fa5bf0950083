package main

import (
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// packaged makes the packages. Their tests need nfpm, and the deb's and the rpm's own tool.
func packaged(t *testing.T, tool string) *release {
	t.Helper()
	r := opened(t)
	if _, err := exec.LookPath(tool); err != nil {
		t.Skip(tool + " is not installed")
	}
	if _, err := os.Stat(r.root + "/bin/nfpm"); err != nil {
		t.Skip("nfpm is not built: run make bin/nfpm")
	}
	for _, step := range []func() error{r.extras, r.packages} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// whatPackagesHave are files that both packages install.
var whatPackagesHave = []string{
	"/usr/bin/handstamp", "/usr/share/man/man1/handstamp.1.gz",
	"/usr/share/bash-completion/completions/handstamp",
	"/usr/share/fish/vendor_completions.d/handstamp.fish", "/usr/share/doc/handstamp/copyright",
}

// TestDebInstallsAndLeaves installs the deb on this system, uses it, and removes it: nothing of
// it is left.
func TestDebInstallsAndLeaves(t *testing.T) {
	r := packaged(t, "dpkg")
	if os.Getuid() != 0 {
		t.Skip("only root installs packages")
	}
	if exec.Command("dpkg", "--status", "handstamp").Run() == nil {
		t.Skip("handstamp is installed here: it would be removed")
	}
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := output("/", os.Environ(), name, args...)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	t.Cleanup(func() { _ = exec.Command("dpkg", "--purge", "handstamp").Run() })
	run("dpkg", "--install", r.packagePath("deb"))
	if out := run("dpkg", "--verify", "handstamp"); out != "" {
		t.Errorf("dpkg --verify: %s", out)
	}
	files := strings.Fields(run("dpkg", "--listfiles", "handstamp"))
	for _, want := range append(whatPackagesHave, "/usr/share/zsh/vendor-completions/_handstamp") {
		// A system may be set up to leave out documentation (path-exclude).
		if !slices.Contains(files, want) {
			t.Errorf("the package has no %s", want)
		}
	}
	if out := run("/usr/bin/handstamp", "version"); !strings.Contains(out, r.fields.Version) {
		t.Errorf("handstamp version prints %q", out)
	}
	bridgeCallsATool(t, t.TempDir(), user(t, "/usr/bin/handstamp"), "/usr/bin/handstamp", "bridge")
	completesCommands(t)
	isManPage(t, "/usr/share/man/man1/handstamp.1.gz")

	run("dpkg", "--remove", "handstamp")
	for _, name := range files {
		info, err := os.Lstat(name)
		if err == nil && !info.IsDir() || strings.HasSuffix(name, "/handstamp") && err == nil {
			t.Errorf("%s is left", name)
		}
	}
	if out, err := exec.Command("dpkg", "--status", "handstamp").CombinedOutput(); err == nil {
		t.Errorf("dpkg still knows the package: %s", out)
	}
}

// completesCommands loads the installed completion into bash and completes a command.
func completesCommands(t *testing.T) {
	t.Helper()
	const script = `source /usr/share/bash-completion/completions/handstamp
		/usr/bin/handstamp __complete lo 2>/dev/null; complete -p handstamp`
	out, err := output("/", os.Environ(), "bash", "-c", script)
	if err != nil || !strings.Contains(string(out), "login") || !strings.Contains(string(out), "complete ") {
		t.Errorf("bash completes nothing: %s, %v", out, err)
	}
}

func isManPage(t *testing.T, name string) {
	t.Helper()
	file, err := os.Open(name)
	if os.IsNotExist(err) {
		return // the system leaves man pages out; the list of files has it
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(unpacked)
	if err != nil || !strings.Contains(string(page), ".TH") || !strings.Contains(string(page), "bridge") {
		t.Errorf("%s is no man page of the command: %v, %.200s", name, err, page)
	}
}

// TestRPMHasTheFiles has rpm list and check the package.
func TestRPMHasTheFiles(t *testing.T) {
	r := packaged(t, "rpm")
	out, err := output("/", os.Environ(), "rpm", "--query", "--list", "--package", r.packagePath("rpm"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range append(whatPackagesHave, "/usr/share/zsh/site-functions/_handstamp") {
		if !slices.Contains(strings.Fields(string(out)), want) {
			t.Errorf("the package has no %s", want)
		}
	}
	if _, err := output("/", os.Environ(), "rpm", "--checksig", "--nosignature", r.packagePath("rpm")); err != nil {
		t.Error(err)
	}
}
