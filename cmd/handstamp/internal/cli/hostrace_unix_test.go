//go:build unix

package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/mcphost"
)

// An entry that another program writes while the bridge is tried is not replaced: ours gets another name.
func TestConnectReplacesNoEntryThatItHasNotSeen(t *testing.T) {
	dir := t.TempDir()
	file, exe := filepath.Join(dir, "mcp.json"), filepath.Join(dir, "handstamp")
	const theirs = `{"mcpServers": {"linear": {"command": "theirs"}}}`
	script := "#!/bin/sh\nset -C\necho '" + theirs + "' >" + shellQuote(file) + "\nexit 4\n"
	if err := os.WriteFile(exe, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	args := []string{"client", "connect", "cursor", "mcp.linear.app/mcp", "--file", file}
	code := Run(t.Context(), args, Process{Stderr: &stderr, Executable: exe,
		Environ: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "HANDSTAMP_HOME=" + filepath.Join(dir, "home")}})
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := mcphost.Find("cursor").Entries(text, exe)
	if code != exitOK || err != nil || len(entries) != 2 || entries[0].Kind != mcphost.Local || entries[1].Name != "linear-2" {
		t.Errorf("exit code %d, %v: %s\n%s", code, err, text, &stderr)
	}
}

// A name that another process gives meanwhile is not taken away from it, nor one that it has given to another
// server removed.
func TestNameOfAnotherProcessStays(t *testing.T) {
	c := newCommand(t)
	server := func(url string) *serverConfig { return &serverConfig{URL: url} }
	adds, removes, sameAsFirst, first := c.inside(), c.inside(), c.inside(), c.inside()
	for _, a := range []*app{adds, sameAsFirst} {
		if _, err := a.loadConfig(); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.putAlias(t.Context(), "linear", server("https://first.example/mcp")); err != nil {
		t.Fatal(err)
	}
	if err := adds.putAlias(t.Context(), "linear", server("https://second.example/mcp")); err == nil {
		t.Error("the name of another process is replaced")
	}
	if err := sameAsFirst.putAlias(t.Context(), "linear", server("https://first.example/mcp")); err != nil {
		t.Error(err)
	}
	if _, err := removes.loadConfig(); err != nil {
		t.Fatal(err)
	}
	if err := first.putAlias(t.Context(), "linear", server("https://third.example/mcp")); err != nil {
		t.Fatal(err)
	}
	if err := removes.deleteAlias(t.Context(), "linear"); err == nil || kindOf(err) != kindOther {
		t.Errorf("a name that stands for another server is removed: %v", err)
	}
	conf, err := c.inside().loadConfig()
	if err != nil || conf.Servers["linear"] == nil || !strings.Contains(conf.Servers["linear"].URL, "third") {
		t.Errorf("%+v, %v", conf, err)
	}
}
