//go:build unix

package cli

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/handstamp/handstamp/lab"
)

// The key changes as docs/service.md has it, and one of two services is there at any time: with
// the old key, with both, and in the end with the new one alone.
func TestKeyChangesWithoutDowntime(t *testing.T) {
	c, _ := newDatabase(t, lab.NoneFirst())
	path := strings.TrimPrefix(c.env[1], "HANDSTAMP_STORE_KEY_FILE=")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, 32)
	rand.Read(raw)
	next := base64.StdEncoding.EncodeToString(raw) + "\n"
	keys := func(lines string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.signIn("acme", "ada")
	c.signIn("acme", "ben")
	two := []*tokenService{c.loopback(), c.loopback()}
	// restart restarts one service after the other, and uses each while the other is down.
	restart := func() {
		t.Helper()
		for i := range two {
			two[i].end()
			other := two[1-i]
			other.want(other.token(http.DefaultClient, other.key, "ada", "refresh", "true"), 200, "")
			two[i] = c.loopback()
		}
	}
	keys(string(old) + next)
	restart()
	if out := c.must("store", "reseal"); !strings.Contains(out, "put the new one first") {
		t.Errorf("before the new key is the first: %s", out)
	}
	keys(next + string(old))
	restart()
	if out := c.must("store", "reseal"); !strings.Contains(out, "(sealed again: 1)") {
		t.Errorf("%s", out) // ben's login was not written meanwhile
	}
	out := c.must("store", "reseal", "--json")
	compareShapes(t, documentedShapes(t), map[string]shape{resealHeading: shapeOf(t, out)})
	keys(next)
	restart()
	for _, user := range []string{"ada", "ben"} {
		two[0].want(two[0].token(http.DefaultClient, two[0].key, user), 200, "")
	}
	for _, s := range two {
		s.end()
	}
	keys(string(old))
	if _, stderr, code := c.run("store", "reseal"); code != 7 ||
		!strings.Contains(stderr, "Keep the older keys") {
		t.Errorf("with the old key alone: %d %s", code, stderr)
	}
	// What cannot be opened is kept, and each command reports what to do.
	for want, args := range map[string][]string{
		"Run: handstamp doctor": {"status"},
		"Nothing is lost":       {"status", c.server.MCPURL()},
		"its key is at hand":    {"doctor", c.server.MCPURL()},
	} {
		stdout, stderr, code := c.run(append(args, "--tenant", "acme", "--user", "ada")...)
		if code != 7 || !strings.Contains(stdout+stderr, want) {
			t.Errorf("%q: %d\n%s%s", args, code, stdout, stderr)
		}
	}
}

// A damaged login is in the way until it is replaced or removed, and the error describes how.
func TestResealWithADamagedLogin(t *testing.T) {
	c, _ := newDatabase(t, lab.NoneFirst())
	c.env = append(c.env, "HANDSTAMP_STORE_KEY_FILE=none")
	c.signIn("acme", "ada") // in the clear: damage, where there is a key
	c.env = c.env[:len(c.env)-1]
	c.signIn("acme", "ben")
	if _, stderr, code := c.run("store", "reseal"); code != exitStore || !strings.Contains(stderr, "handstamp logout") {
		t.Errorf("with a damaged login: %d\n%s", code, stderr)
	}
	c.must("logout", c.server.MCPURL(), "--tenant", "acme", "--user", "ada")
	c.must("store", "reseal")
}

// A role that may create nothing uses tables that are there, and only if all of them are.
func TestRoleThatCreatesNoTables(t *testing.T) {
	c, postgres := newDatabase(t, lab.NoneFirst())
	c.signIn("acme", "ada")
	db, err := pgx.Connect(t.Context(), postgres.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	exec := func(sql string) {
		t.Helper()
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE ROLE app LOGIN; REVOKE CREATE ON SCHEMA public FROM public; " +
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app")
	as := strings.Replace(databaseURL(postgres), "user=postgres", "user=app", 1)
	c.env[0] = "HANDSTAMP_STORE=" + as
	c.must("token", c.server.MCPURL(), "--tenant", "acme", "--user", "ada", "--refresh")
	exec("REVOKE ALL ON handstamp_due FROM app")
	_, stderr, code := c.run("token", c.server.MCPURL(), "--tenant", "acme", "--user", "ada")
	if code != 7 || !strings.Contains(stderr, "may use the tables") {
		t.Errorf("without one of the tables: %d %s", code, stderr)
	}
}
