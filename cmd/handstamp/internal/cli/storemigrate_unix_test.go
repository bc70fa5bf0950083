//go:build unix

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/secret"
	"github.com/handstamp/handstamp/store"
)

// plantedSecret is in every record of plant.
const plantedSecret = "planted-refresh-token"

// inside returns the command of a home, in this process.
func (c *command) inside() *app {
	env := append([]string{"HANDSTAMP_HOME=" + c.home, "DBUS_SESSION_BUS_ADDRESS=disabled:"}, c.env...)
	return newApp(Process{Environ: env})
}

// plant stores n credentials and returns their values.
func (c *command) plant(n int) map[store.Key][]byte {
	c.t.Helper()
	s, err := c.inside().openStore()
	if err != nil {
		c.t.Fatal(err)
	}
	values := make(map[store.Key][]byte)
	for i := range n {
		url := fmt.Sprintf("https://mcp%d.example/mcp", i)
		key := store.Key{Server: url, Profile: store.DefaultProfile}
		r := &record.Record{Key: key, ServerURL: url,
			Grant: &record.Grant{RefreshToken: secret.String(plantedSecret)}}
		for range 2 { // so that there is a value before it, too
			if err := record.Put(c.t.Context(), s, r); err != nil {
				c.t.Fatal(err)
			}
		}
		if values[key], _, err = s.Get(c.t.Context(), key); err != nil {
			c.t.Fatal(err)
		}
	}
	return values
}

// wantAll checks that the store which commands use has all values.
func (c *command) wantAll(values map[store.Key][]byte) {
	c.t.Helper()
	a := c.inside()
	s, err := a.openStore()
	if err != nil {
		c.t.Fatal(err)
	}
	for key, want := range values {
		if got, _, err := s.Get(c.t.Context(), key); err != nil || !bytes.Equal(got, want) {
			c.t.Errorf("in the %s, %s is %q: %v", a.place, key, got, err)
		}
	}
}

func holdsSecret(dir string) (path string) {
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, _ error) error {
		if text, err := os.ReadFile(name); err == nil && bytes.Contains(text, []byte(plantedSecret)) {
			path = name
		}
		return nil
	})
	return path
}

// Whenever a migration is killed, the store in use has every login, the sealed one tells no secret,
// and the next run goes on, also where the configuration alone names the key file.
func TestMigrationThatIsKilledLosesNoLogin(t *testing.T) {
	c, keyFile := withKeyFile(t)
	values := c.plant(40)
	plain := filepath.Join(c.home, "credentials")
	sealed := filepath.Join(plain, storeEncrypted)
	c.killMigrations(storeEncrypted, plain, sealed, values)
	if path := holdsSecret(c.home); path != "" {
		t.Errorf("%s holds a secret", path)
	}
	c.env = nil
	c.killMigrations(storeFile, sealed, plain, values)
	if path := holdsSecret(sealed); path != "" {
		t.Errorf("%s holds a secret", path)
	}
	config, err := os.ReadFile(filepath.Join(c.home, "config.json"))
	if err != nil || strings.Contains(string(config), keyFile) {
		t.Errorf("the configuration is %s (%v)", config, err)
	}
}

// killMigrations kills migrations from one folder to another at several moments, and has one go on to the end.
func (c *command) killMigrations(word, from, to string, values map[store.Key][]byte) {
	c.t.Helper()
	n := len(values)
	atLeast := func(dir string, least int) func() bool { return func() bool { return countFiles(dir) >= least } }
	atMost := func(dir string, most int) func() bool { return func() bool { return countFiles(dir) <= most } }
	sealed := filepath.Join(c.home, "credentials", storeEncrypted)
	kills := 0
	for _, moment := range []func() bool{
		atLeast(to, 1), atLeast(to, n/2), atLeast(to, n), atMost(from, n-1), atMost(from, n/2), atMost(from, 1),
	} {
		cmd, stdin, _, _ := c.start("store", "migrate", word)
		stdin.Close()
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		poll := time.NewTicker(200 * time.Microsecond)
		for waiting := true; waiting; {
			select {
			case <-ended:
				waiting = false
			case <-poll.C:
				waiting = !moment()
			}
		}
		poll.Stop()
		_ = cmd.Process.Kill()
		<-ended
		if !cmd.ProcessState.Exited() {
			kills++
		}
		c.wantAll(values)
		if path := holdsSecret(sealed); path != "" {
			c.t.Errorf("%s holds a secret", path)
		}
	}
	if kills == 0 {
		c.t.Error("no migration was killed")
	}
	c.mustRun("store", "migrate", word)
	c.wantAll(values)
	if left, _ := filepath.Glob(filepath.Join(c.home, "credentials", "migration.json")); len(left) > 0 {
		c.t.Error("the journal is left behind")
	}
	c.t.Logf("%d of 6 were killed", kills)
}

// migratesAsPredicted runs a migration, which has to end as its dry run, which changes nothing.
func (c *command) migratesAsPredicted(args ...string) (stdout string) {
	c.t.Helper()
	args = append([]string{"store", "migrate", "--json"}, args...)
	credentials := filepath.Join(c.home, "credentials")
	before := treeOf(c.t, credentials)
	predicted, _ := c.mustRun(append(args, "--dry-run")...)
	if after := treeOf(c.t, credentials); !maps.Equal(before, after) {
		c.t.Errorf("the dry run has made %q of %q", after, before)
	}
	stdout, _ = c.mustRun(args...)
	var will, did struct{ Credentials json.RawMessage }
	if err := errors.Join(json.Unmarshal([]byte(predicted), &will), json.Unmarshal([]byte(stdout), &did)); err != nil {
		c.t.Fatal(err)
	}
	if !bytes.Equal(will.Credentials, did.Credentials) {
		c.t.Errorf("the dry run says %s, and the run %s", will.Credentials, did.Credentials)
	}
	return stdout
}

// treeOf returns the files below a folder with their content, but for the locks.
func treeOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "locks":
			return filepath.SkipDir
		case !d.IsDir():
			text, err := os.ReadFile(path)
			files[path] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Of two logins at one server the newer stays, and a damaged one is reported and left.
func TestMigrationKeepsTheNewerLogin(t *testing.T) {
	c := newCommand(t)
	c.env = []string{"HANDSTAMP_STORE_KEY_FILE=" + filepath.Join(t.TempDir(), "store.key")}
	before := c.plant(3)
	c.mustRun("store", "migrate", storeEncrypted)
	c.env = append(c.env, "HANDSTAMP_STORE=file")
	newer := c.plant(1) // mcp0, later
	dir := filepath.Join(c.home, "credentials")
	bad := store.Key{Server: "https://bad.example", Profile: store.DefaultProfile}
	if err := os.WriteFile(filepath.Join(dir, bad.Name()+".json"),
		[]byte(`  "header": {"key":{"server":"https://bad.example","profile":"default"}},`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout := c.migratesAsPredicted(storeEncrypted)
	if !strings.Contains(stdout, `"damaged"`) || !strings.Contains(stdout, `"overridden_by": "HANDSTAMP_STORE"`) {
		t.Errorf("the result is %s", stdout)
	}
	c.env = c.env[:1]
	for key, value := range newer {
		before[key] = value
	}
	c.wantAll(before)
	// The other way round: what is older does not replace it.
	c.mustRun("store", "migrate", "file", "--from", storeEncrypted)
	c.wantAll(before)
}

// Where logins are moved from a store that is not in use, those of the one in use come along.
func TestMigrationFromAnotherStoreLeavesNoLoginBehind(t *testing.T) {
	c, _ := withKeyFile(t)
	values := c.plant(1)
	used, target := filepath.Join(t.TempDir(), "used"), filepath.Join(t.TempDir(), "target")
	c.env = append(c.env, "HANDSTAMP_STORE="+used)
	maps.Copy(values, c.plant(3)) // newer ones, and more
	c.env = c.env[:1]
	if err := c.inside().noteStore(storeMembers{Store: used}); err != nil {
		t.Fatal(err)
	}
	stdout, _ := c.mustRun("store", "migrate", target, "--from", storeFile, "--dry-run", "--json")
	if strings.Count(stdout, `"moved"`) != 4 {
		t.Errorf("it would move %s", stdout)
	}
	c.mustRun("store", "migrate", target, "--from", storeFile)
	c.wantAll(values)
	for _, dir := range []string{used, filepath.Join(c.home, "credentials")} {
		if n := countFiles(dir); n != 0 {
			t.Errorf("%d are still in %s", n, dir)
		}
	}
}

// A login stays rather than a newer record that has none, or one that the server has ended.
func TestMigrationKeepsTheLoginThatCanBeUsed(t *testing.T) {
	ended := &record.Record{Grant: &record.Grant{}, GrantError: &record.GrantError{Code: "invalid_grant"}}
	for name, newer := range map[string]*record.Record{"no login": {}, "a login that was ended": ended} {
		for in, other := range map[string]string{storeFile: storeEncrypted, storeEncrypted: storeFile} {
			t.Run(name+", the login is in "+in, func(t *testing.T) {
				c, _ := withKeyFile(t)
				use := func(word string) { c.env = append(c.env[:1:1], "HANDSTAMP_STORE="+word) }
				use(in)
				values := c.plant(1)
				use(other)
				s, err := c.inside().openStore()
				if err != nil {
					t.Fatal(err)
				}
				for newer.Key = range values {
					newer.Revision = ""
					if err := record.Put(t.Context(), s, newer); err != nil {
						t.Fatal(err)
					}
				}
				c.env = c.env[:1]
				stdout := c.migratesAsPredicted(storeEncrypted, "--from", storeFile)
				if in == storeEncrypted && !strings.Contains(stdout, `"kept"`) {
					t.Errorf("the result is %s", stdout)
				}
				c.wantAll(values)
			})
		}
	}
}

// A process that goes on while the logins are moved does not take them for missing, and stores none
// where no later process looks.
func TestMigrationIsNoticedByProcessesThatRun(t *testing.T) {
	c := newCommand(t)
	c.env = []string{"HANDSTAMP_STORE_KEY_FILE=" + filepath.Join(t.TempDir(), "store.key")}
	values := c.plant(1)
	running, err := c.inside().openStore()
	if err != nil {
		t.Fatal(err)
	}
	other := store.Key{Server: "https://other.example", Profile: store.DefaultProfile}
	if _, _, err := running.Get(t.Context(), other); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	if _, ok := running.(store.Reserver); !ok {
		t.Error("the store reserves nothing")
	}
	c.mustRun("store", "migrate", storeEncrypted)
	for key := range values {
		_, _, err := running.Get(t.Context(), key)
		if !errors.Is(err, store.ErrUnusable) || !strings.Contains(err.Error(), "start this program again") {
			t.Errorf("Get = %v", err)
		}
	}
	if _, err := running.Put(t.Context(), other, []byte("{}"), ""); !errors.Is(err, store.ErrUnusable) {
		t.Errorf("Put = %v", err)
	}
	c.wantAll(values)
}

// A process that has the encrypted store open, also one that a variable has named, seals nothing with its key after
// the store was created again with another one.
func TestAnotherKeyIsNoticedByProcessesThatRun(t *testing.T) {
	for _, named := range [][]string{nil, {"HANDSTAMP_STORE=" + storeEncrypted}} {
		t.Run(fmt.Sprint(named), func(t *testing.T) {
			c, keyFile := withKeyFile(t)
			values := c.plant(1)
			c.mustRun("store", "migrate", storeEncrypted)
			c.env = append(c.env, named...)
			running, err := c.inside().openStore()
			if err != nil {
				t.Fatal(err)
			}
			c.env = c.env[:1]
			c.wantAll(values)
			other := store.Key{Server: "https://other.example", Profile: store.DefaultProfile}
			if _, _, err := running.Get(t.Context(), other); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("before: %v", err)
			}
			c.mustRun("store", "migrate", storeFile)
			c.env[0] = "HANDSTAMP_STORE_KEY_FILE=" + keyFile + ".other"
			c.mustRun("store", "migrate", storeEncrypted)
			tries := map[string]func(key store.Key) error{
				"Get": func(key store.Key) error { _, _, err := running.Get(t.Context(), key); return err },
				"Put": func(key store.Key) error { _, err := running.Put(t.Context(), key, []byte("{}"), ""); return err },
				"Lock": func(key store.Key) error {
					unlock, err := running.Lock(t.Context(), key, store.LockLogin)
					if err == nil {
						unlock()
					}
					return err
				},
			}
			for name, try := range tries {
				for _, key := range append(slices.Collect(maps.Keys(values)), other) {
					err := try(key)
					if !errors.Is(err, store.ErrUnusable) || !strings.Contains(err.Error(), "start this program again") {
						t.Errorf("%s of %s = %v", name, key, err)
					}
				}
			}
			c.wantAll(values)
		})
	}
}

// Sealed logins in a folder that is named by its path, for which there is no key, stay where they
// are: moved in their seal they would be lost to every later command.
func TestMigrationLeavesWhatItCannotOpen(t *testing.T) {
	c := newCommand(t)
	env := []string{"HANDSTAMP_STORE_KEY_FILE=" + filepath.Join(t.TempDir(), "store.key")}
	sealed := filepath.Join(c.home, "credentials", storeEncrypted)
	use := func(word string) { c.env = append(env[:1:1], "HANDSTAMP_STORE="+word) }
	use(storeEncrypted)
	values := c.plant(2)
	elsewhere := filepath.Join(t.TempDir(), "logins")
	use(elsewhere)
	c.plant(2) // later, at the same servers
	moved := filepath.Join(t.TempDir(), "moved")
	rename := func(from, to string) {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	rename(sealed, moved)
	for _, args := range [][]string{
		{"store", "migrate", storeFile, "--from", moved},
		{"store", "migrate", moved, "--from", elsewhere},
	} {
		_, stderr, code := c.run(args...)
		if code != 7 || !strings.Contains(stderr, "sealed with a key that is not at hand") {
			t.Errorf("handstamp %q: %d, %s", args, code, stderr)
		}
	}
	rename(moved, sealed)
	use(storeEncrypted)
	c.wantAll(values)
}
