//go:build unix

package cli

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/lab"
)

// Commands and credential services share the few connections of a PgBouncer in transaction mode,
// with nothing set for that, and start there again and again.
func TestDatabaseBehindPgBouncer(t *testing.T) {
	habits := lab.NoneFirst()
	habits.Rotation = lab.RotateStrict
	c, postgres := newDatabase(t, habits)
	c.env[0] = "HANDSTAMP_STORE=" + databaseURL(servicetest.StartPgBouncer(t, postgres, 3))
	c.signIn("acme", "ada")
	c.signIn("acme", "bob")
	s := c.loopback()
	var processes sync.WaitGroup
	for i := range 12 {
		processes.Go(func() {
			user := []string{"ada", "bob"}[i%2]
			_, stderr, code := c.run("token", c.server.MCPURL(), "--refresh", "--tenant", "acme", "--user", user)
			if code != exitOK {
				t.Errorf("token --refresh: exit code %d\n%s", code, stderr)
			}
			s.want(s.token(http.DefaultClient, s.key, user, "refresh", "true"), 200, "")
		})
	}
	processes.Wait()
	s.end()
	for range 3 {
		next := c.serveTokens("--listen", "127.0.0.1:0")
		next.key = s.key
		next.want(next.token(http.DefaultClient, next.key, "ada", "refresh", "true"), 200, "")
		next.end()
	}
	c.must("logout", c.server.MCPURL(), "--tenant", "acme", "--user", "ada")
	if a := c.server.Audit(); a.Reuses != 0 || a.FamiliesRevoked > 1 {
		t.Errorf("%d reuses, %d families revoked", a.Reuses, a.FamiliesRevoked)
	}
}

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
