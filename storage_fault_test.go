//go:build unix

package handstamp_test

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
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store/filestore"
)

// needs is what a token has to be at the time of a fault.
var needs = map[string]struct {
	prepare func(*machine)
	works   bool // without a renewal
}{
	"fresh":           {func(*machine) {}, true},
	"about to expire": {(*machine).aboutToExpire, true},
	"expired":         {func(m *machine) { m.expire() }, false},
}

// A record of a newer version is read and not replaced: a token that is good is
// used, and a refresh token is not spent, for its successor could not be stored.
// The test catches a version that writes what it does not understand, and a good
// token that is given up because it cannot be renewed.
func TestRecordOfNewerVersion(t *testing.T) {
	for need, token := range needs {
		t.Run(need, func(t *testing.T) {
			m := newMachine(t, lab.NoneFirst())
			token.prepare(m)
			m.rewrite(func(data []byte) []byte {
				return bytes.Replace(data, []byte(`"version": 1`), []byte(`"version": 99`), 1)
			})
			m.keepsButCannotSave(token.works)
		})
	}
}

// keepsButCannotSave checks what holds for every record that cannot be replaced.
func (m *machine) keepsButCannotSave(works bool) {
	m.t.Helper()
	before, err := os.ReadFile(m.file())
	if err != nil {
		m.t.Fatal(err)
	}
	m.lab.Reset()
	err = m.run(job{Do: "call"})
	switch {
	case works && err != nil:
		m.t.Errorf("the call with a good token: %v", err)
	case !works && !errors.Is(err, handstamp.ErrStore):
		m.t.Errorf("error %v, want ErrStore", err)
	case !works:
		m.t.Log(err)
	}
	m.wantCounts(map[string]int{"token:refresh": 0, "authorize": 0})
	if after, err := os.ReadFile(m.file()); err != nil || !bytes.Equal(before, after) {
		m.t.Errorf("the record was changed (%v)", err)
	}
}

// rewrite changes the record in its file behind the store's back. The file's checksum matches.
func (m *machine) rewrite(edit func([]byte) []byte) {
	m.t.Helper()
	data, err := os.ReadFile(m.file())
	if err != nil {
		m.t.Fatal(err)
	}
	var header json.RawMessage
	value, err := envelope.Open(data, &header)
	if err != nil {
		m.t.Fatal(err)
	}
	edited, err := envelope.Seal(header, edit(bytes.Clone(value)))
	if err != nil {
		m.t.Fatal(err)
	}
	m.replace(data, edited)
}

// damage changes the record's file behind the store's back.
func (m *machine) damage(edit func([]byte) []byte) {
	m.t.Helper()
	data, err := os.ReadFile(m.file())
	if err != nil {
		m.t.Fatal(err)
	}
	m.replace(data, edit(bytes.Clone(data)))
}

func (m *machine) replace(data, edited []byte) {
	m.t.Helper()
	if bytes.Equal(edited, data) {
		m.t.Fatal("the edit changes nothing")
	}
	if err := os.WriteFile(m.file(), edited, 0o600); err != nil {
		m.t.Fatal(err)
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
			m := newMachine(t, lab.NoneFirst())
			other := &machine{world: newWorld(t, lab.NoneFirst()), dir: m.dir}
			other.store = m.store
			other.mustCall(other.session())
			m.expire()
			m.mustRun() // a renewal, so that the record before is that of the saved answer
			m.lab.Reset()

			m.damage(damage)
			damaged, _ := os.ReadFile(m.file())
			m.mustRun()
			m.wantCounts(map[string]int{"token:refresh": 0, "authorize": 0})
			m.isAside(damaged)
			m.lab.RevokeAccessTokens()
			m.mustRun() // the refresh token that came back is the newest

			m.damage(damage)
			if err := os.Remove(m.file() + ".prev"); err != nil {
				t.Fatal(err)
			}
			if err := m.run(job{Do: "call"}); !errors.Is(err, handstamp.ErrLoginRequired) {
				t.Errorf("error %v, want ErrLoginRequired", err)
			}
			m.mustCall(m.session())
			m.wantTabs(2)
			m.mustRun()
			other.mustRun()
			other.wantTabs(1)
		})
	}
}

// Nothing of a stored file in which a byte has changed is sent to any server: not the refresh
// token, not the client's secret, not an endpoint's address. Without a record before it a login
// is needed; with one, that record's refresh token works.
func TestChangedByteIsNeverSent(t *testing.T) {
	m := newMachine(t, lab.NoneFirst())
	m.expire()
	file, err := os.ReadFile(m.file())
	if err != nil {
		t.Fatal(err)
	}
	stored := m.stored()
	plant := func(data []byte) {
		t.Helper()
		for _, old := range []string{m.file(), m.file() + ".prev"} {
			if err := os.Remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(m.file(), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	quiet := m.open(filestore.Options{Warn: func(string) {}})
	token := func() error {
		c := &handstamp.Client{Store: quiet, LoginPolicy: handstamp.LoginNever}
		_, err := c.Token(t.Context(), m.lab.MCPURL(), handstamp.TokenOptions{})
		return err
	}
	m.lab.Reset()
	for at := range file {
		changed := bytes.Clone(file)
		changed[at] ^= 1 << (at % 8)
		plant(changed)
		if err := token(); !errors.Is(err, handstamp.ErrLoginRequired) {
			t.Fatalf("byte %d changed: error %v, want ErrLoginRequired", at, err)
		}
	}
	if sent := m.lab.Counts(); len(sent) != 0 {
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
		if err := os.WriteFile(m.file()+".prev", file, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := token(); err != nil {
			t.Fatalf("with the record before: %v\n%s", err, m.diary())
		}
		if a := m.lab.Audit(); a.Reuses != 0 {
			t.Fatalf("%d reuses\n%s", a.Reuses, m.diary())
		}
		m.expire()
		if file, err = os.ReadFile(m.file()); err != nil {
			t.Fatal(err)
		}
	}
}

// isAside checks that a damaged file was kept under another name.
func (m *machine) isAside(damaged []byte) {
	m.t.Helper()
	aside, _ := filepath.Glob(m.file() + ".corrupt-*")
	for _, name := range aside {
		if data, err := os.ReadFile(name); err == nil && bytes.Equal(data, damaged) {
			return
		}
	}
	m.t.Errorf("the damaged record is in none of %q", aside)
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
		cause func(m *machine) error
		says  string
	}{
		{"file of another user", true, func(m *machine) error { return os.Chown(m.file(), stranger, stranger) }, "belongs to user 12345"},
		{"folder of another user", true, func(m *machine) error { return os.Chown(m.dir, stranger, stranger) }, "belongs to user 12345"},
		{"file open to others", false, func(m *machine) error { return os.Chmod(m.file(), 0o644) }, "chmod 600"},
		{"folder open to others", false, func(m *machine) error { return os.Chmod(m.dir, 0o755) }, "chmod 700"},
		{"link", false, func(m *machine) error {
			return errors.Join(os.Rename(m.file(), m.dir+"/elsewhere"), os.Symlink(m.dir+"/elsewhere", m.file()))
		}, "is a symbolic link"},
		{"folder in its place", false, func(m *machine) error {
			return errors.Join(os.Rename(m.file(), m.dir+"/elsewhere"), os.Mkdir(m.file(), 0o700))
		}, "is not a regular file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.root && !root {
				t.Skip("only root can give a file to another user")
			}
			m := newMachine(t, lab.NoneFirst())
			warm := m.session() // its token is in memory
			m.mustCall(warm)
			if err := test.cause(m); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(m.file())
			if err != nil {
				t.Fatal(err)
			}
			m.lab.Reset()

			err = m.run(job{Do: "call", Login: true})
			if !errors.Is(err, handstamp.ErrStore) {
				t.Fatalf("error %v, want ErrStore", err)
			}
			if !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), m.dir) {
				t.Errorf("the error %q does not say %q and where", err, test.says)
			}
			m.wantCounts(map[string]int{"token:refresh": 0, "authorize": 0, "register": 0})
			after, err := os.Lstat(m.file())
			if err != nil || after.Mode() != before.Mode() || !after.ModTime().Equal(before.ModTime()) {
				t.Errorf("the file was touched (%v)", err)
			}
			m.mustCall(warm) // a good token in memory needs no store
			m.wantTabs(1)
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
	m := newMachine(t, lab.NoneFirst())
	m.expire()
	m.crash(crashPoint{at: "final:create"})
	rec := m.stored()
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
	c := m.session()
	c.AuthTransport = &wire
	result, err := c.Logout(t.Context(), m.lab.MCPURL(), handstamp.LogoutOptions{})
	if err != nil || !result.Revoked {
		t.Fatalf("%+v, %v", result, err)
	}
	if len(wire.bodies) != 1 || !strings.Contains(wire.bodies[0], "token="+response.RefreshToken) {
		t.Errorf("the newest refresh token was not the one that was revoked, in %d requests", len(wire.bodies))
	}
}
