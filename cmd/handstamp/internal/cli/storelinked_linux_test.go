package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/handstamp/handstamp/internal/keyringtest"
)

// The key is found again where the folder for credentials is below a symbolic link, also if the
// process that made the key made the folder.
func TestKeyringKeyIsFoundBelowALink(t *testing.T) {
	c := withKeyring(t, keyringtest.Start(t))
	real := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	c.home = filepath.Join(link, "home")
	c.login()
	c.mustRun("token", c.server.MCPURL())
	c.home = filepath.Join(real, "home")
	c.mustRun("token", c.server.MCPURL())
}
