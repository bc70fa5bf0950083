//go:build unix

package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/store"
)

// withKeyFile returns the command with the path of a key file.
func withKeyFile(t *testing.T) (c *command, keyFile string) {
	c = newCommand(t)
	keyFile = filepath.Join(t.TempDir(), "store.key")
	c.env = []string{"HANDSTAMP_STORE_KEY_FILE=" + keyFile}
	return c, keyFile
}

// A migration whose target is the folder of its source, under another name, removes nothing.
func TestMigrationIntoItsOwnFolderIsRejected(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	for name, test := range map[string]struct {
		from   string // where the logins are first
		target func(home string) string
	}{
		"its path": {storeFile, func(home string) string { return home + "/credentials" }},
		"a link": {storeFile, func(home string) string {
			if err := os.Symlink(home+"/credentials", link); err != nil {
				t.Fatal(err)
			}
			return link
		}},
		"in the clear over sealed": {storeEncrypted, func(home string) string {
			return home + "/credentials/encrypted"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := withKeyFile(t)
			values := c.plant(2)
			if test.from != storeFile {
				c.mustRun("store", "migrate", test.from)
			}
			target := test.target(c.home)
			for _, more := range [][]string{{"--dry-run"}, nil} {
				args := append([]string{"store", "migrate", target}, more...)
				if _, stderr, code := c.run(args...); code != exitUsage {
					t.Errorf("%q: exit code %d\n%s", args, code, stderr)
				}
			}
			c.wantAll(values)
		})
	}
}

// A migration that ends halfway changes nothing of which store is used, also where nothing but the
// credentials has shown which it is, and leaves no copy, which no logout would reach.
func TestMigrationThatEndsHalfwayLeavesTheStoreInUse(t *testing.T) {
	c, _ := withKeyFile(t)
	c.env = append(c.env, "HANDSTAMP_STORE=encrypted")
	values := c.plant(3)
	c.env = c.env[:1]
	c.wantAll(values)
	last := store.Key{Server: "https://mcp2.example/mcp", Profile: store.DefaultProfile}
	file := filepath.Join(c.home, "credentials", storeEncrypted, last.Name()+".json")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := c.run("store", "migrate", storeFile); code != exitStore {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	for _, pattern := range []string{"*-*.json*", "migration.json"} {
		if left, _ := filepath.Glob(filepath.Join(c.home, "credentials", pattern)); len(left) > 0 {
			t.Errorf("there is still %q", left)
		}
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	c.wantAll(values)
	c.mustRun("store", "migrate", storeFile)
	c.wantAll(values)
}

// What a migration that fails has replaced in the store in use is not missing there afterwards.
func TestMigrationThatEndsHalfwayKeepsWhatItReplaced(t *testing.T) {
	c, _ := withKeyFile(t)
	c.env = append(c.env, "HANDSTAMP_STORE=file")
	c.plant(1)
	c.env[len(c.env)-1] = "HANDSTAMP_STORE=encrypted"
	c.plant(3)
	c.env = c.env[:len(c.env)-1]
	last := store.Key{Server: "https://mcp2.example/mcp", Profile: store.DefaultProfile}
	if err := os.Chmod(filepath.Join(c.home, "credentials", storeEncrypted, last.Name()+".json"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := c.run("store", "migrate", storeFile, "--from", storeEncrypted); code != exitStore {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if left, _ := filepath.Glob(filepath.Join(c.home, "credentials", "*-*.json")); len(left) != 1 {
		t.Errorf("the store in use has %q", left)
	}
}

// A logout after a migration that was killed leaves no copy of the login for the next run to bring back.
func TestLogoutReachesTheCopiesOfAMigrationThatWasKilled(t *testing.T) {
	for _, chosen := range []bool{false, true} {
		for _, flags := range [][]string{{"--no-revoke"}, {"--no-revoke", "--keep-client"}} {
			t.Run(fmt.Sprintf("%q, the new store was chosen: %t", flags, chosen), func(t *testing.T) {
				c, _ := withKeyFile(t)
				values := c.plant(2)
				c.killedMigration(storeFile, storeEncrypted, chosen)
				out := store.Key{Server: "https://mcp0.example/mcp", Profile: store.DefaultProfile}
				c.mustRun(append([]string{"logout", out.Server}, flags...)...)
				c.mustRun("store", "migrate", storeEncrypted)
				delete(values, out)
				c.wantAll(values)
				s, err := c.inside().openStore()
				if err != nil {
					t.Fatal(err)
				}
				if r, err := record.Get(t.Context(), s, out); err == nil && r.Grant != nil {
					t.Error("the login is there again")
				}
			})
		}
	}
}

// killedMigration leaves what a migration leaves that is killed once all is copied, or once the new store is chosen.
func (c *command) killedMigration(from, to string, chosen bool) {
	c.t.Helper()
	m := &storeMigrate{app: c.inside(), put: make(map[store.Key]store.Revision)}
	err := m.plan(to)
	if err == nil {
		m.target, err = m.open(to, "")
	}
	if err != nil {
		c.t.Fatal(err)
	}
	source, err := m.open(from, "")
	if err != nil {
		c.t.Fatal(err)
	}
	m.sources = []*openedStore{source}
	if err := errors.Join(m.keepChoice(), m.writeJournal()); err != nil {
		c.t.Fatal(err)
	}
	unlock, err := m.copyAll(c.t.Context(), source)
	if unlock(); err == nil && chosen {
		err = m.choose()
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// A migration that was killed once the new store was chosen goes on with the key that the configuration names.
func TestMigrationAwayFromTheKeyGoesOn(t *testing.T) {
	c, keyFile := withKeyFile(t)
	values := c.plant(2)
	c.mustRun("store", "migrate", storeEncrypted)
	c.env = nil
	c.killedMigration(storeEncrypted, storeFile, true)
	c.wantAll(values)
	c.mustRun("store", "migrate", storeFile)
	c.wantAll(values)
	if n := countFiles(filepath.Join(c.home, "credentials", storeEncrypted)); n != 0 {
		t.Errorf("%d logins were left behind", n)
	}
	config, err := os.ReadFile(filepath.Join(c.home, "config.json"))
	if err != nil || strings.Contains(string(config), keyFile) {
		t.Errorf("the configuration is %s (%v)", config, err)
	}
}

// A logout from a store that is named for one run leaves the one that the configuration names as it is.
func TestLogoutFromAnotherStoreLeavesTheChosenOne(t *testing.T) {
	c, _ := withKeyFile(t)
	values := c.plant(1)
	c.killedMigration(storeFile, storeEncrypted, true)
	c.mustRun("logout", "--all", "--no-revoke", "--store", storeFile)
	c.wantAll(values)
}

// Of several migrations at once to different stores, whichever ends last has all logins.
func TestMigrationsAtOnceLoseNoLogin(t *testing.T) {
	c, _ := withKeyFile(t)
	values := c.plant(20)
	ended := make(chan error)
	dir := t.TempDir()
	targets := []string{storeEncrypted, filepath.Join(dir, "a"), filepath.Join(dir, "b")}
	for _, to := range targets {
		cmd, stdin, _, _ := c.start("store", "migrate", to)
		stdin.Close()
		go func() { ended <- cmd.Wait() }()
	}
	for range targets {
		if err := <-ended; err != nil {
			t.Errorf("a migration: %v", err)
		}
	}
	c.wantAll(values)
}

// A store whose note of its key is lost takes no other key than that of its records.
func TestEncryptedStoreWithoutItsNoteTakesNoOtherKey(t *testing.T) {
	c, keyFile := withKeyFile(t)
	values := c.plant(1)
	c.mustRun("store", "migrate", storeEncrypted)
	note := filepath.Join(c.home, "credentials", storeEncrypted, keyNoteName)
	if err := os.Remove(note); err != nil {
		t.Fatal(err)
	}
	other, otherFile := withKeyFile(t)
	other.plant(1)
	other.mustRun("store", "migrate", storeEncrypted)
	c.env[0] = "HANDSTAMP_STORE_KEY_FILE=" + otherFile
	if _, stderr, code := c.run("status"); code != exitStore {
		t.Errorf("another key: exit code %d\n%s", code, stderr)
	}
	c.env[0] = "HANDSTAMP_STORE_KEY_FILE=" + keyFile
	c.mustRun("store", "info")
	c.wantAll(values)
}

// A process that has begun to make the key, such as one whose user types a passphrase, keeps those
// that have it from nothing, and the others not for ever.
func TestEncryptedStoreIsNotHeldUpByItsKeysLock(t *testing.T) {
	c, _ := withKeyFile(t)
	c.env = append(c.env, "HANDSTAMP_STORE=encrypted")
	a := c.inside()
	folders, err := a.foldersOf(storeEncrypted)
	if err != nil {
		t.Fatal(err)
	}
	held, err := a.open(folders.Credentials, "")
	if err != nil {
		t.Fatal(err)
	}
	hold := func() (unlock func()) {
		unlock, err := held.Lock(t.Context(), store.Key{Server: storeEncrypted}, "key")
		if err != nil {
			t.Fatal(err)
		}
		return unlock
	}
	unlock := hold()
	if _, stderr, code := c.run("status", "--timeout", "100ms"); code != exitStore {
		t.Errorf("while the key is made: exit code %d\n%s", code, stderr)
	}
	unlock()
	values := c.plant(1)
	defer hold()()
	c.mustRun("store", "info")
	c.wantAll(values)
}

// A process that refreshes in a store from which the logins were moved, but not removed yet, would
// use up the refresh token of the new store.
func TestMigrationThatIsKilledIsNoticedBeforeARefresh(t *testing.T) {
	c, _ := withKeyFile(t)
	values := c.plant(1)
	running, err := c.inside().openStore()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.inside().noteStore(storeMembers{Store: storeEncrypted}); err != nil {
		t.Fatal(err)
	}
	for key := range values {
		unlock, err := running.Lock(t.Context(), key, store.LockRefresh)
		if !errors.Is(err, store.ErrUnusable) ||
			!strings.Contains(err.Error(), "start this program again") {
			t.Errorf("Lock = %v", err)
		}
		if err == nil {
			unlock()
		}
	}
}

// A key file that cannot be made leaves nothing of it, and one that another process has made is
// taken.
func TestKeyFileIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store.key")
	want, err := createKeyFile(path, os.Link)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := createKeyFile(path, os.Link); err != nil || string(got) != string(want) {
		t.Errorf("the second one gets another key (%v)", err)
	}
	if found, _ := os.ReadDir(dir); len(found) != 1 {
		t.Errorf("there are %d files", len(found))
	}
}

// An encrypted store that was left can be created again with another kind of key.
func TestEncryptedStoreThatWasLeftTakesAnotherKey(t *testing.T) {
	if testing.Short() {
		t.Skip("it derives keys from passphrases")
	}
	c, _ := withKeyFile(t)
	values := c.plant(1)
	c.mustRun("store", "migrate", storeEncrypted)
	c.mustRun("store", "migrate", storeFile)
	phrase := filepath.Join(t.TempDir(), "phrase")
	if err := os.WriteFile(phrase, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.env[0] = "HANDSTAMP_STORE_PASSPHRASE_FILE=" + phrase
	c.mustRun("store", "migrate", storeEncrypted)
	c.wantAll(values)
}

// What is in the place of a folder of credentials is not waited for.
func TestPipeInPlaceOfCredentialsIsAnError(t *testing.T) {
	c := newCommand(t)
	if err := os.MkdirAll(c.home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(c.home, "credentials"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := c.run("status"); code != exitStore || !strings.Contains(stderr, "it is not a folder") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	if n := countFiles(filepath.Join(c.home, "credentials")); n != 0 {
		t.Errorf("%d credentials in a pipe", n)
	}
}
