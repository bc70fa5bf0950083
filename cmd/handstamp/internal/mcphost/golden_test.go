package mcphost

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/splice"
)

var update = flag.Bool("update", false, "write the golden files")

// The file of each host with one entry. The golden files are compared with the hosts' own
// documentation by hand when they change.
func TestEntriesOfHosts(t *testing.T) {
	server := Server{
		Command: `C:\Program Files\handstamp.exe`, Args: []string{"bridge", "https://mcp.linear.app/mcp"},
		Env: splice.Object{{Name: "HANDSTAMP_HOME", Value: "/srv/handstamp"}},
	}
	for _, h := range All() {
		ext := map[splice.Format]string{splice.JSON: ".json", splice.TOML: ".toml", splice.YAML: ".yaml"}
		file := filepath.Join("testdata", h.ID+ext[h.Format])
		got, err := splice.Put(h.Format, nil, h.Path, "linear", h.Entry.Object("linear", server))
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			write(t, file, string(got), 0o644)
		}
		if want, err := os.ReadFile(file); err != nil || string(want) != string(got) {
			t.Errorf("%s: %s\nwant %s, %v", h.ID, got, want, err)
		}
	}
}
