//go:build unix

package cli

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
	"github.com/handstamp/handstamp/store/filestore"
)

// commandStates are what has become of the servers since the login.
var commandStates = map[string]func(u *user){
	"everything is fine":    func(*user) {},
	"access token expired":  func(u *user) { u.age(2 * time.Hour) },
	"access token rejected": func(u *user) { u.server.RevokeAccessTokens() },
	"grant revoked":         func(u *user) { u.server.RevokeFamilies() },
	"client forgotten": func(u *user) {
		u.server.ForgetClients()
		u.server.RevokeAccessTokens()
	},
	"authorization server down": func(u *user) { u.authorizationServerDown() },
	"authorization server down, access token rejected": func(u *user) {
		u.authorizationServerDown()
		u.server.RevokeAccessTokens()
	},
	"MCP server down": func(u *user) {
		u.mcpDown = true
		u.server.SetFault("mcp", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusServiceUnavailable})
	},
	"refresh rejected": func(u *user) {
		u.server.SetFault("token:refresh", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusBadRequest,
			ContentType: "application/json", Body: `{"error":"invalid_grant"}`})
	},
	"refresh rejected, access token rejected": func(u *user) {
		u.server.RevokeAccessTokens()
		u.server.SetFault("token:refresh", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusBadRequest,
			ContentType: "application/json", Body: `{"error":"invalid_grant"}`})
	},
}

// commandSteps are what the user runs, with the server between the words.
var commandSteps = map[string][]string{
	"token":           {"token"},
	"token --refresh": {"token", "--refresh"},
	"login":           {"login"},
	"call":            {"call", "echo", "text=hello", "--login=never"},
	"logout":          {"logout"},
}

// user runs commands with a home of their own.
type user struct {
	*command
	asDown, mcpDown bool
}

func (u *user) run(args ...string) (stdout string, code int) {
	u.t.Helper()
	words := append([]string{args[0], u.server.MCPURL()}, args[1:]...)
	var out, errOut bytes.Buffer
	code = Run(u.t.Context(), words, Process{Stdout: &out, Stderr: &errOut,
		Environ: append(os.Environ(), "HANDSTAMP_HOME="+u.home, "HANDSTAMP_BROWSER=labbrowser")})
	return strings.TrimSpace(out.String()), code
}

func (u *user) authorizationServerDown() {
	u.asDown = true
	for _, endpoint := range []string{"server_metadata", "register", "authorize", "token:refresh", "token:code", "revoke"} {
		u.server.SetFault(endpoint, lab.Fault{Kind: lab.FaultStatus, Status: http.StatusServiceUnavailable})
	}
}

// age lets time go by, for the servers and for what is stored.
func (u *user) age(d time.Duration) {
	u.server.Advance(d)
	files, err := filestore.Open(filestore.Options{Dir: filepath.Join(u.home, "credentials")})
	if err != nil {
		u.t.Fatal(err)
	}
	key, err := store.NewKey(u.server.MCPURL(), "")
	if err != nil {
		u.t.Fatal(err)
	}
	rec, err := record.Get(u.t.Context(), files, key)
	if err != nil {
		u.t.Fatal(err)
	}
	rec.Grant.ObtainedAt, rec.Grant.ExpiresAt = rec.Grant.ObtainedAt.Add(-d), rec.Grant.ExpiresAt.Add(-d)
	if err := record.Put(u.t.Context(), files, rec); err != nil {
		u.t.Fatal(err)
	}
}

// rejected reports whether the MCP server has rejected a token, which the diary of the
// server knows by its fingerprint.
func (u *user) rejected(token string) bool {
	for _, r := range u.server.Requests() {
		if r.Endpoint == "mcp" && r.Status == http.StatusUnauthorized && r.Bearer == lab.Fingerprint(token) {
			return true
		}
	}
	return false
}

// step runs a command and checks every sentence about it.
func (u *user) step(done, step string) {
	_, statusBefore := u.run("status", "--quiet")
	tabs := u.server.Counts()["authorize"]
	stdout, code := u.run(commandSteps[step]...)
	opened := u.server.Counts()["authorize"] - tabs
	_, status := u.run("status", "--quiet")
	sentence := func(holds bool, sentence string) {
		u.t.Helper()
		if !holds {
			u.t.Errorf("%s: %s%s, after exit %d with status %d", sentence, done, step, code, status)
		}
	}
	usable := status == exitOK || status == exitUnreachable
	sentence(code == exitOK || code == exitLogin || code == exitUnreachable && (u.asDown || u.mcpDown) ||
		u.mcpDown && step == "call", "each exit code is one that the state of the servers explains")
	sentence(opened == 0 || step == "login" && !u.asDown, "only login opens a browser, and none while the authorization server is down")
	switch step {
	case "token", "token --refresh":
		sentence(usable == (code != exitLogin), "status calls a login usable after token exits with 0 or 3, and not after 4")
		sentence(statusBefore != exitLogin || code == exitLogin, "token exits with 4 after status did")
		sentence(code != exitOK || !u.rejected(stdout), "a token that is printed is none that the server has rejected before us")
	case "login":
		sentence(code != exitLogin, "a user who runs login ends signed in, or knows why not")
		if code == exitOK && !u.mcpDown {
			_, called := u.run(commandSteps["call"]...)
			sentence(called == exitOK, "after login exits with 0 a request works")
		}
	case "call":
		sentence(code != exitLogin || !usable, "status calls a login not usable after a request needed another")
	case "logout":
		sentence(status == exitLogin, "status calls no login usable after logout")
	}
	if status == exitLogin {
		_, after := u.run("token")
		sentence(after == exitLogin, "token exits with 4 where status does")
	}
}

// The sentences of the library's model test hold for commands, with their exit codes,
// on files: sequences of two, at servers in each state.
func TestNoCommandContradictsAnother(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs hundreds of processes")
	}
	for state, apply := range commandStates {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			for first := range commandSteps {
				for second := range commandSteps {
					u := &user{command: newCommand(t)}
					u.home = filepath.Join(t.TempDir(), "home")
					if _, code := u.run("login"); code != exitOK {
						t.Fatalf("login: %d", code)
					}
					apply(u)
					u.step("", first)
					u.step(first+", ", second)
					u.server.Close()
					if t.Failed() {
						return
					}
				}
			}
		})
	}
}
