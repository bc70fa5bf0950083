package cli

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/internal/keyringtest"
)

// withKeyring returns the command in a session with a keyring, which only the runtime folder leads
// to, as for a process that an MCP host starts.
func withKeyring(t *testing.T, k *keyringtest.Keyring) *command {
	c := newCommand(t)
	c.env = []string{"DBUS_SESSION_BUS_ADDRESS=", "XDG_RUNTIME_DIR=" + k.RuntimeDir}
	return c
}

// wantNoSecret searches every file below the home of the command.
func (c *command) wantNoSecret() {
	c.t.Helper()
	files := 0
	_ = filepath.WalkDir(c.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		files++
		for _, secret := range c.server.Secrets() {
			if bytes.Contains(text, []byte(secret)) {
				c.t.Errorf("%s holds a secret", path)
			}
		}
		if processes.Shape.Match(text) {
			c.t.Errorf("%s holds what looks like a secret", path)
		}
		return nil
	})
	if files == 0 || len(c.server.Secrets()) == 0 {
		c.t.Errorf("there are %d files and %d secrets to search for", files, len(c.server.Secrets()))
	}
}

// Where there is a keyring, the first login takes it and says so; later processes find the login
// there, refresh it in a process of their own, and no byte of the folder tells a secret.
func TestKeyringIsTakenWhereThereIsOne(t *testing.T) {
	k := keyringtest.Start(t)
	c := withKeyring(t, k)
	_, stderr := c.mustRun("login", c.server.MCPURL())
	if !strings.Contains(stderr, "key in the system keyring") ||
		!strings.Contains(stderr, "(profile default, system keyring)") {
		t.Errorf("it does not say where the login is:\n%s", stderr)
	}
	for _, args := range [][]string{{"token"}, {"token", "--refresh"}, {"login", "--force"}, {"status"}} {
		_, stderr := c.mustRun(append(args, c.server.MCPURL())...)
		if strings.Contains(stderr, "key in the system keyring") {
			t.Errorf("%q says it once more", args)
		}
	}
	c.wantNoSecret()
	if n := k.Items(); n != 1 {
		t.Errorf("the keyring has %d items", n)
	}
	config, err := os.ReadFile(filepath.Join(c.home, "config.json"))
	if err != nil || !strings.Contains(string(config), `"store": "keyring"`) {
		t.Errorf("the configuration is %q (%v)", config, err)
	}
}

// Files from before stay in use until they are moved.
func TestKeyringLeavesFilesWhereTheyAre(t *testing.T) {
	k := keyringtest.Start(t)
	c := withKeyring(t, k)
	c.env = append(c.env, "HANDSTAMP_STORE=file")
	c.login()
	c.env = c.env[:2]
	_ = os.Remove(filepath.Join(c.home, "config.json"))
	if _, stderr := c.mustRun("login", c.server.MCPURL()); !strings.Contains(stderr, "file store)") {
		t.Errorf("the login is elsewhere:\n%s", stderr)
	}
	if n := k.Items(); n != 0 {
		t.Errorf("the keyring has %d items", n)
	}
	c.mustRun("store", "migrate", "keyring", "--dry-run")
	if n := k.Items(); n != 0 {
		t.Errorf("the keyring has %d items after a dry run", n)
	}
	c.mustRun("store", "migrate", "keyring")
	c.wantNoSecret()
	c.server.Reset()
	c.mustRun("token", c.server.MCPURL())
	c.mustRun("token", "--refresh", c.server.MCPURL())
	for _, to := range []string{"file", "keyring", c.home + "/folder", "keyring"} {
		c.mustRun("store", "migrate", to)
		c.mustRun("token", c.server.MCPURL())
	}
	if n := c.server.Counts()["authorize"]; n != 0 {
		t.Errorf("%d logins", n)
	}
	c.wantNoSecret()
}

// A keyring that is in trouble is an error of the store, and no login is kept elsewhere, lost or
// begun. Once the trouble is over, the login is there.
func TestKeyringInTroubleKeepsTheLogin(t *testing.T) {
	troubles := []struct {
		name string
		make func(t *testing.T, k *keyringtest.Keyring) (runtimeDir string)
		want string
	}{
		{"no bus", func(t *testing.T, _ *keyringtest.Keyring) string { return t.TempDir() },
			"There is no system keyring"},
		{"no keyring", func(t *testing.T, _ *keyringtest.Keyring) string {
			return keyringtest.StartBus(t).RuntimeDir
		}, "There is no system keyring"},
		{"a bus that says nothing", func(t *testing.T, _ *keyringtest.Keyring) string {
			return keyringtest.SilentBus(t).RuntimeDir
		}, "The system keyring does not respond (it took longer than 3s)"},
		{"another keyring", func(t *testing.T, _ *keyringtest.Keyring) string {
			return keyringtest.Start(t).RuntimeDir
		}, "has lost the key"},
		{"locked", func(_ *testing.T, k *keyringtest.Keyring) string {
			k.Lock()
			return k.RuntimeDir
		}, "The system keyring is locked"},
	}
	k := keyringtest.Start(t)
	c := withKeyring(t, k)
	c.login()
	for _, trouble := range troubles {
		t.Run(trouble.name, func(t *testing.T) {
			if trouble.name != "locked" {
				defer func() { c.env[1] = "XDG_RUNTIME_DIR=" + k.RuntimeDir }()
			}
			c.env[1] = "XDG_RUNTIME_DIR=" + trouble.make(t, k)
			c.server.Reset()
			for _, args := range [][]string{
				{"token", c.server.MCPURL()}, {"login", "--force", c.server.MCPURL()}, {"status"}, {"store", "info"},
			} {
				stdout, stderr, code := c.run(args...)
				if code != exitStore || !strings.Contains(stdout+stderr, trouble.want) {
					t.Errorf("%q: exit code %d\n%s%s", args, code, stdout, stderr)
				}
			}
			if counts := c.server.Counts(); len(counts) > 0 {
				t.Errorf("there were requests: %v", counts)
			}
			found, _ := filepath.Glob(filepath.Join(c.home, "credentials", "*.json"))
			if len(found) > 0 {
				t.Errorf("there is %v", found)
			}
		})
		if trouble.name != "locked" {
			c.mustRun("token", c.server.MCPURL())
		}
	}
}

// A first login is not kept in files because the keyring is in trouble.
func TestKeyringInTroubleIsNoReasonForFiles(t *testing.T) {
	silent := keyringtest.SilentBus(t)
	locked := keyringtest.Start(t)
	locked.Lock()
	for _, k := range []*keyringtest.Keyring{silent, locked} {
		c := withKeyring(t, k)
		_, stderr, code := c.run("login", c.server.MCPURL())
		if code != exitStore || !strings.Contains(stderr, "or choose files with --store file") {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
		if _, err := os.Stat(filepath.Join(c.home, "config.json")); err == nil {
			t.Error("it was decided nevertheless")
		}
	}
}

// Processes that begin at once do not wait for each other's calls of a keyring that hangs.
func TestKeyringThatHangsHoldsUpNoOtherProcess(t *testing.T) {
	c := withKeyring(t, keyringtest.SilentBus(t))
	unlock, err := c.inside().lockChoice(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	_, stderr, code := c.run("login", c.server.MCPURL())
	if code != exitStore || !strings.Contains(stderr, "does not respond") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}
