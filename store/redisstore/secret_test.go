//go:build unix

package redisstore_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/store/redisstore"
	"github.com/handstamp/handstamp/store/sealed"
)

// What the server keeps on disk, and what its replica has, has no token of a sealed store. Of one
// in the clear it has, so that the search finds what there is.
func TestFilesHaveNoTokens(t *testing.T) {
	for name, keys := range map[string][]sealed.Key{"sealed": {newKey(t, 0)}, "in the clear": nil} {
		t.Run(name, func(t *testing.T) {
			g := servicetest.StartRedisGroup(t, 1)
			db := open(t, newClient(t, group(g)), redisstore.Options{Keys: keys, Replicas: 1})
			w := testenv.New(t, testenv.Personality(t, "rotates-strictly"))
			w.Store = storeOf(t, db, ada)
			c := w.Session()
			w.MustLogin(c)
			secrets := grantOf(w)
			if _, err := c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{Refresh: true}); err != nil {
				t.Fatal(err)
			}
			secrets = append(secrets, grantOf(w)...)
			found := 0
			for _, server := range []*servicetest.Redis{g.Primary, g.Replicas[0]} {
				found += search(t, server, secrets, len(keys) > 0)
			}
			if len(keys) == 0 && found == 0 {
				t.Error("the search does not find what is there")
			}
		})
	}
}

// grantOf returns the tokens that are stored.
func grantOf(w *testenv.Env) []string {
	g := w.Record().Grant
	return []string{g.AccessToken.Reveal(), g.RefreshToken.Reveal()}
}

// search looks for secrets in all files of a server, in an RDB file that it then writes, and in its
// slow log, and returns how many it has found.
func search(t *testing.T, server *servicetest.Redis, secrets []string, report bool) (found int) {
	t.Helper()
	texts := map[string][]byte{"SLOWLOG": []byte(server.Command("slowlog", "get", "100"))}
	read := func() {
		err := filepath.WalkDir(server.Dir(), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) { // a file that the server has renamed since
				return nil
			}
			texts[path] = text
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	read() // the append-only file as it was written
	if out := server.Command("save"); !strings.Contains(out, "OK") {
		t.Fatalf("SAVE: %s", out)
	}
	read() // and an RDB file
	var rdb bool
	for path, text := range texts {
		rdb = rdb || strings.HasSuffix(path, "dump.rdb")
		for _, secret := range secrets {
			for _, form := range [][]byte{
				[]byte(secret), []byte(hex.EncodeToString([]byte(secret))),
				[]byte(base64.RawStdEncoding.EncodeToString([]byte(secret[:len(secret)/3*3]))),
			} {
				if !bytes.Contains(text, form) {
					continue
				}
				found++
				if report {
					t.Errorf("%s has a token", path)
				}
			}
		}
	}
	if !rdb {
		t.Error("there is no RDB file")
	}
	return found
}
