//go:build unix

package process_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/envelope"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store/filestore"
)

// needs is what a token has to be at the time of a fault.
var needs = map[string]struct {
	prepare func(*testenv.Env)
	works   bool // without a refresh
}{
	"fresh":           {func(*testenv.Env) {}, true},
	"about to expire": {(*testenv.Env).AboutToExpire, true},
	"expired":         {func(m *testenv.Env) { m.Expire() }, false},
}

// A record of a newer version is read and not replaced: a token that is good is
// used, and a refresh token is not used, for its successor could not be stored.
// The test catches a version that writes what it does not understand, and a good
// token that is given up because it cannot be refreshed.
func TestRecordOfNewerVersion(t *testing.T) {
	for need, token := range needs {
		t.Run(need, func(t *testing.T) {
			m := testenv.NewOnDisk(t, lab.NoneFirst())
			token.prepare(m)
			rewrite(m, func(data []byte) []byte {
				return bytes.Replace(data, []byte(`"version": 1`), []byte(`"version": 99`), 1)
			})
			keepsButCannotSave(m, token.works)
		})
	}
}

// keepsButCannotSave checks what holds for every record that cannot be replaced.
func keepsButCannotSave(m *testenv.Env, works bool) {
	m.T.Helper()
	before, err := os.ReadFile(m.File())
	if err != nil {
		m.T.Fatal(err)
	}
	m.Lab.Reset()
	err = m.Run(testenv.Job{Do: "call"})
	switch {
	case works && err != nil:
		m.T.Errorf("the call with a good token: %v", err)
	case !works && !errors.Is(err, handstamp.ErrStore):
		m.T.Errorf("error %v, want ErrStore", err)
	case !works:
		m.T.Log(err)
	}
	m.WantCounts(map[string]int{"token:refresh": 0, "authorize": 0})
	if after, err := os.ReadFile(m.File()); err != nil || !bytes.Equal(before, after) {
		m.T.Errorf("the record was changed (%v)", err)
	}
}

// rewrite changes the record in its file behind the store's back. The file's checksum matches.
func rewrite(m *testenv.Env, edit func([]byte) []byte) {
	m.T.Helper()
	data, err := os.ReadFile(m.File())
	if err != nil {
		m.T.Fatal(err)
	}
	var header json.RawMessage
	value, err := envelope.Open(data, &header)
	if err != nil {
		m.T.Fatal(err)
	}
	edited, err := envelope.Seal(header, edit(bytes.Clone(value)))
	if err != nil {
		m.T.Fatal(err)
	}
	replace(m, data, edited)
}

// damageFile changes the record's file behind the store's back.
func damageFile(m *testenv.Env, edit func([]byte) []byte) {
	m.T.Helper()
	data, err := os.ReadFile(m.File())
	if err != nil {
		m.T.Fatal(err)
	}
	replace(m, data, edit(bytes.Clone(data)))
}

func replace(m *testenv.Env, data, edited []byte) {
	m.T.Helper()
	if bytes.Equal(edited, data) {
		m.T.Fatal("the edit changes nothing")
	}
	if err := os.WriteFile(m.File(), edited, 0o600); err != nil {
		m.T.Fatal(err)
	}
}

// damages are what a crashing disk, a full one or a hand can make of a record.
var damages = map[string]func([]byte) []byte{
	"empty":       func([]byte) []byte { return nil },
	"half":        func(b []byte) []byte { return b[:len(b)/2] },
	"without end": func(b []byte) []byte { return bytes.TrimRight(b, "\n}") },
	"zeros":       func(b []byte) []byte { return make([]byte, len(b)) },
	"wrong type":  func(b []byte) []byte { return bytes.Replace(b, []byte(`"generation":`), []byte(`"generation":-`), 1) },
	"no record":   func([]byte) []byte { return []byte(`{"hello": "world"}`) },
	"another server": func(b []byte) []byte {
		return bytes.Replace(b, []byte(`"server":"http://127`), []byte(`"server":"http://128`), 1)
	},
}

// A damaged record concerns its own server only. The one before it takes its
// place, which holds the login's newest refresh token; where there is none, a
// login is needed, and what was damaged is kept. The test catches a damaged file
// that is deleted, written over, or taken for the end of every login.
func TestDamagedRecord(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			m := testenv.NewOnDisk(t, lab.NoneFirst())
			other := testenv.New(t, lab.NoneFirst())
			other.Dir = m.Dir
			other.Store = m.Store
			other.MustCall(other.Session())
			m.Expire()
			m.MustRun() // a refresh, so that the record before is that of the saved response
			m.Lab.Reset()

			damageFile(m, damage)
			damaged, _ := os.ReadFile(m.File())
			m.MustRun()
			m.WantCounts(map[string]int{"token:refresh": 0, "authorize": 0})
			isAside(m, damaged)
			m.Expire()
			m.MustRun() // the refresh token that came back is the newest

			damageFile(m, damage)
			if err := os.Remove(m.File() + ".prev"); err != nil {
				t.Fatal(err)
			}
			if err := m.Run(testenv.Job{Do: "call"}); !errors.Is(err, handstamp.ErrLoginRequired) {
				t.Errorf("error %v, want ErrLoginRequired", err)
			}
			m.MustCall(m.Session())
			m.WantTabs(2)
			m.MustRun()
			other.MustRun()
			other.WantTabs(1)
		})
	}
}

// Nothing of a stored file in which a byte has changed is sent to any server: not the refresh
// token, not the client's secret, not an endpoint's address. Without a record before it a login
// is needed; with one, that record's refresh token works.
func TestChangedByteIsNeverSent(t *testing.T) {
	m := testenv.NewOnDisk(t, lab.NoneFirst())
	m.Expire()
	file, err := os.ReadFile(m.File())
	if err != nil {
		t.Fatal(err)
	}
	stored := m.StoredRecord()
	plant := func(data []byte) {
		t.Helper()
		for _, old := range []string{m.File(), m.File() + ".prev"} {
			if err := os.Remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(m.File(), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	quiet := m.Open(filestore.Options{Warn: func(string) {}})
	token := func() error {
		c := &handstamp.Client{Store: quiet, LoginPolicy: handstamp.LoginNever}
		_, err := c.Token(t.Context(), m.Lab.MCPURL(), handstamp.TokenOptions{})
		return err
	}
	m.Lab.Reset()
	step := 1
	if testing.Short() {
		step = 7 // of all bits, as well
	}
	for at := 0; at < len(file); at += step {
		changed := bytes.Clone(file)
		changed[at] ^= 1 << (at % 8)
		plant(changed)
		if err := token(); !errors.Is(err, handstamp.ErrLoginRequired) {
			t.Fatalf("byte %d changed: error %v, want ErrLoginRequired", at, err)
		}
	}
	if sent := m.Lab.Counts(); len(sent) != 0 {
		t.Fatalf("requests were made with what a changed file holds: %v", sent)
	}
	for _, secret := range []string{stored.Grant.RefreshToken.Reveal(), stored.GrantClient().ID, stored.Grant.TokenEndpoint} {
		at := bytes.Index(file, []byte(secret))
		if at < 0 {
			continue
		}
		changed := bytes.Clone(file)
		changed[at+len(secret)-1] ^= 1
		plant(changed)
		if err := os.WriteFile(m.File()+".prev", file, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := token(); err != nil {
			t.Fatalf("with the record before: %v\n%s", err, m.Diary())
		}
		if a := m.Lab.Audit(); a.Reuses != 0 {
			t.Fatalf("%d reuses\n%s", a.Reuses, m.Diary())
		}
		m.Expire()
		if file, err = os.ReadFile(m.File()); err != nil {
			t.Fatal(err)
		}
	}
}

// isAside checks that a damaged file was kept under another name.
func isAside(m *testenv.Env, damaged []byte) {
	m.T.Helper()
	aside, _ := filepath.Glob(m.File() + ".corrupt-*")
	for _, name := range aside {
		if data, err := os.ReadFile(name); err == nil && bytes.Equal(data, damaged) {
			return
		}
	}
	m.T.Errorf("the damaged record is in none of %q", aside)
}

// A record or folder that is not the user's own, or open to others, is neither
// used nor touched: the error names it and says what to do. The test catches a
// store that repairs by itself, or that falls back to a login.
func TestUnsafeRecord(t *testing.T) {
	const stranger = 12345
	root := os.Geteuid() == 0
	for _, test := range []struct {
		name  string
		root  bool // only root can give a file away
		cause func(m *testenv.Env) error
		says  string
	}{
		{"file of another user", true, func(m *testenv.Env) error { return os.Chown(m.File(), stranger, stranger) }, "belongs to user 12345"},
		{"folder of another user", true, func(m *testenv.Env) error { return os.Chown(m.Dir, stranger, stranger) }, "belongs to user 12345"},
		{"file open to others", false, func(m *testenv.Env) error { return os.Chmod(m.File(), 0o644) }, "chmod 600"},
		{"folder open to others", false, func(m *testenv.Env) error { return os.Chmod(m.Dir, 0o755) }, "chmod 700"},
		{"link", false, func(m *testenv.Env) error {
			return errors.Join(os.Rename(m.File(), m.Dir+"/elsewhere"), os.Symlink(m.Dir+"/elsewhere", m.File()))
		}, "is a symbolic link"},
		{"folder in its place", false, func(m *testenv.Env) error {
			return errors.Join(os.Rename(m.File(), m.Dir+"/elsewhere"), os.Mkdir(m.File(), 0o700))
		}, "is not a regular file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.root && !root {
				t.Skip("only root can give a file to another user")
			}
			m := testenv.NewOnDisk(t, lab.NoneFirst())
			warm := m.Session() // its token is in memory
			m.MustCall(warm)
			if err := test.cause(m); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(m.File())
			if err != nil {
				t.Fatal(err)
			}
			m.Lab.Reset()

			err = m.Run(testenv.Job{Do: "call", Login: true})
			if !errors.Is(err, handstamp.ErrStore) {
				t.Fatalf("error %v, want ErrStore", err)
			}
			if !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), m.Dir) {
				t.Errorf("the error %q does not say %q and where", err, test.says)
			}
			m.WantCounts(map[string]int{"token:refresh": 0, "authorize": 0, "register": 0})
			after, err := os.Lstat(m.File())
			if err != nil || after.Mode() != before.Mode() || !after.ModTime().Equal(before.ModTime()) {
				t.Errorf("the file was touched (%v)", err)
			}
			m.MustCall(warm) // a good token in memory needs no store
			m.WantTabs(1)
		})
	}
}

// bodyRecorder keeps the bodies of the requests that it carries.
type bodyRecorder struct{ bodies []string }

func (r *bodyRecorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		r.bodies = append(r.bodies, string(body))
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	return http.DefaultTransport.RoundTrip(req)
}

// Signing out revokes the newest tokens, also where the process that received them did not live
// to read them, and they are in the record only as the server sent them.
func TestLogoutRevokesTheSavedResponse(t *testing.T) {
	m := testenv.NewOnDisk(t, lab.NoneFirst())
	m.Expire()
	crash(m, crashPoint{at: "final:create"})
	rec := m.StoredRecord()
	if rec.Intent == nil || rec.Intent.Response == nil {
		t.Fatal("no response was saved")
	}
	var response struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(rec.Intent.Response.Body.Reveal()), &response); err != nil || response.RefreshToken == "" {
		t.Fatalf("the saved response has no refresh token: %v", err)
	}
	var wire bodyRecorder
	c := m.Session()
	c.AuthTransport = &wire
	result, err := c.Logout(t.Context(), m.Lab.MCPURL(), handstamp.LogoutOptions{})
	if err != nil || !result.Revoked {
		t.Fatalf("%+v, %v", result, err)
	}
	if len(wire.bodies) != 1 || !strings.Contains(wire.bodies[0], "token="+response.RefreshToken) {
		t.Errorf("the newest refresh token was not the one that was revoked, in %d requests", len(wire.bodies))
	}
}
