//go:build unix

package pgstore_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/pgstore"
	"github.com/handstamp/handstamp/store/sealed"
)

// planted returns the tokens of a login that was refreshed twice, in the store of a user.
func planted(t *testing.T, s store.Store) []string {
	t.Helper()
	w := testenv.New(t, testenv.Personality(t, "rotates-strictly"))
	w.Store = s
	w.MustLogin(w.Session())
	var tokens []string
	for {
		g := w.Record().Grant
		tokens = append(tokens, g.AccessToken.Reveal(), g.RefreshToken.Reveal())
		if len(tokens) == 6 {
			return tokens
		}
		_, err := w.Session().Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{Refresh: true})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// found reports how many of the tokens are in data, in one of several encodings.
func found(data []byte, tokens []string) (n int) {
	for _, token := range tokens {
		for _, form := range []string{
			token, hex.EncodeToString([]byte(token)),
			// Without the ends, which depend on what is beside it.
			base64.StdEncoding.EncodeToString([]byte(token))[:len(token)],
		} {
			if bytes.Contains(data, []byte(form)) {
				n++
				break
			}
		}
	}
	return n
}

// onDisk returns the tables, WAL and log of a server as one, and a dump.
func onDisk(t *testing.T, server *servicetest.Postgres) (files, dump []byte) {
	t.Helper()
	dump = server.Dump()
	server.Stop(syscall.SIGINT) // which writes all of it
	read := func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		files = append(files, data...)
		return err
	}
	if err := filepath.WalkDir(filepath.Dir(server.Dir()), read); err != nil {
		t.Fatal(err)
	}
	return files, dump
}

// Whoever has the disk, the WAL or a dump of a database whose values are sealed has no token.
// Without a key they have all of them, by which the search is tested.
func TestNoTokenOnDisk(t *testing.T) {
	for name, keys := range map[string][]sealed.Key{"in the clear": nil, "sealed": {newKey(t)}} {
		t.Run(name, func(t *testing.T) {
			server := servicetest.StartPostgres(t, "log_statement=all", "log_parameter_max_length=0")
			db, pool := open(t, server, pgstore.Options{Keys: keys})
			// Uncompressed, which hides nothing.
			_, err := pool.Exec(t.Context(),
				"ALTER TABLE handstamp_credential ALTER value SET STORAGE EXTERNAL")
			if err != nil {
				t.Fatal(err)
			}
			tokens := planted(t, storeOf(t, db, ownerOf(0)))
			db.Close()
			pool.Close()
			files, dump := onDisk(t, server)
			inFiles, inDump := found(files, tokens), found(dump, tokens)
			if keys != nil && inFiles+inDump > 0 {
				t.Errorf("%d tokens are on disk, and %d in a dump", inFiles, inDump)
			}
			if keys == nil && (inFiles < len(tokens)/2 || inDump == 0) {
				t.Errorf("only %d of %d tokens were found on disk, and %d in a dump",
					inFiles, len(tokens), inDump)
			}
			if !strings.Contains(string(dump), "handstamp_credential") {
				t.Error("the dump has no table")
			}
		})
	}
}

// Whoever can write to the table cannot have a sealed value used that was changed, cut or moved,
// not even with the right checksum.
func TestSealedValueThatWasTamperedWith(t *testing.T) {
	db, pool := open(t, servicetest.StartPostgres(t), pgstore.Options{Keys: []sealed.Key{newKey(t)}})
	other := store.Key{Server: "https://b.example/mcp", Profile: store.DefaultProfile}
	ada, evil := store.Owner{Tenant: "acme", User: "ada"}, store.Owner{Tenant: "evil", User: "ada"}
	for _, s := range []store.Store{storeOf(t, db, ada), storeOf(t, db, evil)} {
		mustPut(t, s, lockedKey, []byte("a login at a.example"))
		mustPut(t, s, other, []byte("a login at b.example"))
	}
	for name, box := range map[string]string{
		"from another server":  "(SELECT box FROM boxes WHERE tenant = 'acme' AND server LIKE '%b.example%')",
		"from another tenant":  "(SELECT box FROM boxes WHERE tenant = 'evil' AND server LIKE '%a.example%')",
		"cut at its end":       "substring(box FOR length(box) - 1)",
		"cut at its beginning": "substring(box FROM 2)",
		"longer":               "box || '\\x00'",
		"empty":                "''::bytea",
		"with one bit flipped": "set_bit(box, 8 * (length(box) - 1), 1 - get_bit(box, 8 * (length(box) - 1)))",
		"with another header":  "set_bit(box, 40, 1 - get_bit(box, 40))",
		"with a flipped nonce": "set_bit(box, 8 * 30, 1 - get_bit(box, 8 * 30))",
		"in the clear":         "convert_to('a login of another', 'UTF8')",
	} {
		t.Run(name, func(t *testing.T) {
			tx, err := pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback(t.Context())
			const victim = "tenant = 'acme' AND server = 'https://a.example/mcp'"
			var before, after []byte
			query := "SELECT value FROM handstamp_credential WHERE " + victim
			if err := tx.QueryRow(t.Context(), query).Scan(&before); err != nil {
				t.Fatal(err)
			}
			// With the checksum that the row then has.
			tag, err := tx.Exec(t.Context(), `WITH
				boxes AS (SELECT *, substring(value FROM 9) AS box FROM handstamp_credential),
				forged AS (SELECT id, `+box+` AS box FROM boxes WHERE `+victim+`)
				UPDATE handstamp_credential AS c
				SET value = substring(sha256(c.id || forged.box) FOR 8) || forged.box
				FROM forged WHERE c.id = forged.id`)
			if err != nil || tag.RowsAffected() != 1 {
				t.Fatal(tag, err)
			}
			if err := tx.QueryRow(t.Context(), query).Scan(&after); err != nil || bytes.Equal(before, after) {
				t.Fatalf("the value is the same, %v", err)
			}
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			value, _, err := storeOf(t, db, ada).Get(t.Context(), lockedKey)
			if len(value) > 0 || !errors.Is(err, store.ErrCorrupt) ||
				strings.Contains(err.Error(), "checksum") {
				t.Errorf("Get = %q, %v", value, err)
			}
			_, err = pool.Exec(t.Context(), "UPDATE handstamp_credential SET value = $1 WHERE "+victim,
				before)
			if err != nil {
				t.Fatal(err)
			}
			value, _, err = storeOf(t, db, ada).Get(t.Context(), lockedKey)
			if len(value) == 0 || err != nil {
				t.Errorf("with the value put back: %v", err)
			}
		})
	}
}
