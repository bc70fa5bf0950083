//go:build unix

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/lab"
)

// Logins that are beside a database, and keys that do not fit it, are reported with a next step that
// works.
func TestDatabaseNamesTheNextStep(t *testing.T) {
	c, _ := newDatabase(t, lab.NoneFirst())
	server := c.server.MCPURL()
	c.must("login", server, "--store", "file")
	c.signIn("acme", "ada")
	info := c.must("store", "info")
	if strings.Contains(info, "store migrate postgres") ||
		!strings.Contains(info, "handstamp export SERVER --store file writes it, and handstamp import") {
		t.Errorf("logins in files, beside a database:\n%s", info)
	}
	dir := t.TempDir()
	keyFile := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	other := strings.Repeat("A", 43) + "=\n"
	for path, want := range map[string]string{
		filepath.Join(dir, "absent"):   "Restore the file",
		keyFile("damaged", "no key\n"): "Restore the file",
		keyFile("short", "c2hvcnQ=\n"): "Restore the file",
		keyFile("empty", "\n"):         "Restore the file",
		keyFile("of another", other):   "Nothing is lost: give the key",
		"none":                         "Nothing is lost: give the key",
	} {
		c.env = append(c.env, "HANDSTAMP_STORE_KEY_FILE="+path)
		_, stderr, code := c.run("token", server, "--tenant", "acme", "--user", "ada")
		c.env = c.env[:len(c.env)-1]
		if code != exitStore || !strings.Contains(stderr, "\n- "+want) {
			t.Errorf("%s: exit code %d\n%s", filepath.Base(path), code, stderr)
		}
	}
	c.must("token", server, "--tenant", "acme", "--user", "ada")
}
