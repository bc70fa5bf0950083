package mcpremote

import (
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
)

const (
	hashA = "94baabe3c3fadb285b26c035e4e86046"
	hashB = "5e7dd4f847e8b1834f0b63ed52ba7fad"
)

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// folder makes a folder of files, each written an hour ago.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600),
			os.Chtimes(path, now, now.Add(-time.Hour))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// snapshot is everything that a change of the folder would show in.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var text []byte
		if info.Mode().IsRegular() {
			text, err = os.ReadFile(path)
		}
		all[path] = fmt.Sprint(info.Mode(), info.ModTime(), string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func read(t *testing.T, dir string) *Folder {
	t.Helper()
	before := snapshot(t, dir)
	f, err := Read(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(before, snapshot(t, dir)) {
		t.Error("the folder was changed")
	}
	return f
}

// Every generation is read, each for what it noted.
func TestGenerations(t *testing.T) {
	at := now.Add(30 * time.Minute)
	registration := `{"client_id":"c","client_secret":"s","redirect_uris":["http://localhost:3334/oauth/callback"],"token_endpoint_auth_method":"client_secret_post"}`
	dir := folder(t, map[string]string{
		hashA + "_tokens.json":                          `{"access_token":"one","refresh_token":"r","expires_in":3600}`,
		hashA + "_client_info.json":                     registration,
		"mcp-remote-0.1.37/" + hashA + "_tokens.json":   `{"access_token":"two","expires_in":"7200"}`,
		"mcp-remote-v1/" + hashA + "_tokens.json":       fmt.Sprintf(`{"access_token":"three","refresh_token":"r3","expires_in":3600,"expires_at":%d,"requested_scope":"read","issuer":"https://as.example.com"}`, at.UnixMilli()),
		"mcp-remote-v1/" + hashA + "_client_info.json":  strings.TrimSuffix(registration, "}") + `,"issuer":"https://as.example.com/"}`,
		"mcp-remote-v1/" + hashA + "_code_verifier.txt": "v",
		"mcp-remote-v1/" + hashA + "_lock.json":         `{"pid":1,"port":3334,"timestamp":1}`,
		"mcp-remote-v1/" + hashA + "_debug.log":         "Connecting to https://mcp.example.com/mcp.\n",
	})
	f := read(t, dir)
	if len(f.Logins) != 3 || len(f.Problems) != 0 {
		t.Fatalf("%d logins, problems %v", len(f.Logins), f.Problems)
	}
	want := []struct {
		folder, scope, issuer   string
		refreshable, registered bool
		received, expires       time.Time
	}{
		{"", "", "", true, true, now.Add(-time.Hour), now},
		{"mcp-remote-0.1.37", "", "", false, false, now.Add(-time.Hour), now.Add(time.Hour)},
		{"mcp-remote-v1", "read", "https://as.example.com", true, true, at.Add(-time.Hour), at},
	}
	for i, l := range f.Logins {
		w := want[i]
		if l.Err != nil || l.Hash != hashA || l.Folder != w.folder || l.ScopeRequested != w.scope || l.Issuer != w.issuer ||
			l.Refreshable != w.refreshable || (l.Registration != "") != w.registered || !l.ReceivedAt.Equal(w.received) || !l.ExpiresAt.Equal(w.expires) {
			t.Errorf("login %d: %+v, want %+v", i, l, w)
		}
		if s := fmt.Sprintf("%v %+v %#v", l, *l, *l); strings.Contains(s, `"one"`) || strings.Contains(s, "client_secret_post") {
			t.Errorf("a login prints its secrets: %s", s)
		}
	}
	if !slices.Contains(f.URLs, "https://mcp.example.com/mcp") {
		t.Errorf("the log's URL is not among %v", f.URLs)
	}
	slices.SortFunc(f.Logins, Order(now))
	if f.Logins[0].Folder != "mcp-remote-v1" || f.Logins[2].Folder != "mcp-remote-0.1.37" && f.Logins[2].Folder != "" {
		t.Errorf("the newest does not come first: %v", f.Logins[0].Folder)
	}
}

// What nothing can be made of says why.
func TestReasons(t *testing.T) {
	const good = `{"access_token":"a","refresh_token":"r"}`
	for name, test := range map[string]struct {
		tokens, client, lease string
		want                  string
	}{
		"good":                   {tokens: good, client: `{"client_id":"c","redirect_uris":[]}`},
		"never signed in":        {client: `{"client_id":"c"}`, want: "never signed in"},
		"half a file":            {tokens: `{"access_token":"SECRET`, want: "damaged"},
		"no tokens":              {tokens: `{"token_type":"SECRET"}`, want: "no tokens in it"},
		"a damaged client":       {tokens: good, client: `{"client_secret":"SECRET`, want: "damaged"},
		"a client without an id": {tokens: good, client: `{"client_secret":"SECRET"}`, want: "no client_id"},
		"two issuers": {tokens: `{"access_token":"a","issuer":"https://one.example.com"}`,
			client: `{"client_id":"c","issuer":"https://two.example.com"}`, want: "two.example.com"},
		"being refreshed": {tokens: good, lease: fmt.Sprintf(`{"pid":1,"nonce":"n","at":%d}`, now.Add(-5*time.Second).UnixMilli()), want: ErrRefreshing.Error()},
		"an old lease":    {tokens: good, lease: fmt.Sprintf(`{"pid":1,"nonce":"n","at":%d}`, now.Add(-time.Minute).UnixMilli())},
		"a huge file":     {tokens: strings.Repeat(" ", maxFile) + good, want: "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			files := make(map[string]string)
			for kind, text := range map[string]string{tokensFile: test.tokens, clientFile: test.client, leaseFile: test.lease} {
				if text != "" {
					files["mcp-remote-v1/"+hashA+"_"+kind] = text
				}
			}
			f := read(t, folder(t, files))
			if len(f.Logins) != 1 {
				t.Fatalf("%d logins", len(f.Logins))
			}
			err := f.Logins[0].Err
			if (err != nil) != (test.want != "") || err != nil && (!strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "SECRET")) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// Links are not followed, and pipes not waited for.
func TestStrangeFiles(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(`{"access_token":"a"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := folder(t, map[string]string{
		"mcp-remote-v1/" + hashB + "_tokens.json": `{"access_token":"b"}`,
		"mcp-remote-file":                         "not a folder",
		"mcp-remote-v2/" + hashB + "_vault.bin":   "of a version to come",
		"unrelated.json":                          "{}",
	})
	if err := os.Symlink(secret, filepath.Join(dir, "mcp-remote-v1", hashA+"_tokens.json")); err != nil {
		t.Skip(err) // Windows asks for a privilege
	}
	if err := os.Symlink(filepath.Dir(secret), filepath.Join(dir, "mcp-remote-out")); err != nil {
		t.Fatal(err)
	}
	f := read(t, dir)
	if len(f.Logins) != 2 || f.Logins[0].Err != nil && f.Logins[1].Err != nil {
		t.Fatalf("%+v", f.Logins)
	}
	for _, l := range f.Logins {
		if (l.Hash == hashA) != (l.Err != nil) {
			t.Errorf("%s: %v", l.Hash, l.Err)
		}
	}
	var paths []string
	for _, p := range f.Problems {
		paths = append(paths, filepath.Base(filepath.Dir(p.Path))+"/"+filepath.Base(p.Path))
	}
	slices.Sort(paths)
	want := []string{filepath.Base(dir) + "/mcp-remote-out", "mcp-remote-v2/" + hashB + "_vault.bin"}
	if slices.Sort(want); !slices.Equal(paths, want) {
		t.Errorf("problems %v, want %v", paths, want)
	}
	if _, err := Read(filepath.Join(dir, "nowhere"), now); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}
