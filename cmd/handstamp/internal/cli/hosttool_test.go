package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/mcphost"
)

// What cmd.exe runs gets no entry as an argument: it reads quotes in another way.
func TestHostToolIsNoBatchFile(t *testing.T) {
	for name, want := range map[string]bool{
		"claude": true, "claude.exe": true, "claude.cmd": false, "claude.bat": false, "Claude.CMD": false,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o700); err != nil {
			t.Fatal(err)
		}
		a := newApp(Process{Environ: []string{"PATH=" + dir}})
		h := *mcphost.Find("claude-code")
		if h.Tool = name; a.lookPath(name) == "" {
			continue // it is no program on this system
		}
		if got := a.hostTool(&h, hostOptions{}); (got == path) != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
