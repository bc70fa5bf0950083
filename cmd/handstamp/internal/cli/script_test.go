package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/handstamp/handstamp/clientkey"
	"github.com/handstamp/handstamp/internal/mcpremote"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store/filestore"
	"github.com/rogpeppe/go-internal/testscript"
)

// scriptWorld is what a script has set up.
type scriptWorld struct {
	server     *lab.Server
	company    *lab.Server // its identity provider; nil: none
	transcript string
	secrets    []string // of servers that are closed
}

type worldKey struct{}

func world(ts *testscript.TestScript) *scriptWorld {
	return ts.Value(worldKey{}).(*scriptWorld)
}

// stop ends the server, if there is one.
func (w *scriptWorld) stop() {
	for _, server := range []*lab.Server{w.server, w.company} {
		if server != nil {
			secrets := slices.DeleteFunc(server.Secrets(), func(secret string) bool {
				return strings.HasPrefix(secret, "urn:ietf:params:oauth:request_uri:") // the browser's
			})
			w.secrets = append(w.secrets, secrets...)
			processes.Add(secrets...)
			server.Close()
		}
	}
	w.server, w.company = nil, nil
}

// close ends the script's world, and fails the script if a secret that a server
// ever issued was printed anywhere but as the output of token.
func (w *scriptWorld) close(t testscript.T) {
	w.stop()
	b, err := os.ReadFile(w.transcript)
	if err != nil && len(w.secrets) > 0 {
		t.Fatal("there is no transcript to search: ", err)
	}
	for _, secret := range w.secrets {
		if i := bytes.Index(b, []byte(secret)); i >= 0 {
			line := b[bytes.LastIndexByte(b[:i], '\n')+1:]
			line, _, _ = bytes.Cut(line, []byte("\n"))
			t.Fatal("a secret was printed: ", string(line))
		}
	}
}

// scriptCondition knows whether this machine lets an ordinary or root user mount
// things in a namespace of its own.
func scriptCondition(name string) (bool, error) {
	switch name {
	case "mount-namespace":
		return exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "none", os.TempDir()).Run() == nil, nil
	case "race-detector":
		return testenv.RaceDetector, nil
	}
	return false, fmt.Errorf("no condition %q", name)
}

// cmdCode runs a command and checks its exit code: code 2 handstamp login.
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exited := (*exec.ExitError)(nil); errors.As(err, &exited) {
		got = exited.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// cmdLab runs the script's server.
//
//	lab start [habits.json]       sets MCP, ISSUER and PORT
//	lab fault ENDPOINT [JSON…]    sets faults, or clears them
//	lab count ENDPOINT N          checks the requests since the last reset
//	lab quiet                     checks that the authorization server got no request
//	lab reset                     forgets the counts and the faults
//	lab advance DURATION | revoke-access | revoke-all | forget-clients
//	lab client ID SECRET METHOD   registers a client by hand
//	lab keyclient ID KEYFILE METHOD  registers a client with the public key of a file
//	lab workload FILE             writes a token of a platform that the server trusts
//	lab certificate NAME          registers the client NAME by its certificate, in NAME.pem and
//	                              NAME.key; ca.pem has the authority
//	lab company                   starts the identity provider that it trusts, in COMPANY
//	lab approve | deny            decides, as the user, on the device code that waits, at
//	                              the company if there is one
func cmdLab(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: lab start|fault|count|quiet|reset|…")
	}
	w := world(ts)
	if args[0] != "start" && w.server == nil {
		ts.Fatalf("lab start comes first")
	}
	switch args[0] {
	case "start":
		startLab(ts, w, args[1:])
	case "fault":
		var faults []lab.Fault
		for _, text := range args[2:] {
			var f lab.Fault
			ts.Check(json.Unmarshal([]byte(text), &f))
			faults = append(faults, f)
		}
		w.server.SetFault(args[1], faults...)
	case "count":
		if got := w.server.Counts()[args[1]]; fmt.Sprint(got) != args[2] {
			ts.Fatalf("%d requests to %s, want %s; all: %v", got, args[1], args[2], w.server.Counts())
		}
	case "quiet":
		for endpoint, n := range w.server.Counts() {
			if endpoint != "mcp" {
				ts.Fatalf("%d requests to %s, want none", n, endpoint)
			}
		}
	case "reset":
		w.server.Reset()
	case "advance":
		d, err := time.ParseDuration(args[1])
		ts.Check(err)
		w.server.Advance(d)
	case "revoke-access":
		w.server.RevokeAccessTokens()
	case "revoke-all":
		w.server.RevokeFamilies()
	case "forget-clients":
		w.server.ForgetClients()
	case "client":
		w.server.RegisterClient(lab.ConfiguredClient{ID: args[1], Secret: args[2], Method: args[3]})
	case "keyclient":
		client := lab.ConfiguredClient{ID: args[1], Method: args[3]}
		if key, err := clientkey.Parse([]byte(ts.ReadFile(args[2])), clientkey.Options{}); err == nil {
			client.JWKS = string(key.JWKS())
		} else {
			ts.Check(err)
		}
		w.server.RegisterClient(client)
	case "workload":
		writeWorkloadToken(ts, w.server, args[1])
	case "certificate":
		writeCertificate(ts, w.server, args[1])
	case "company":
		startCompany(ts, w)
	case "approve", "deny":
		server := w.server
		if w.company != nil {
			server = w.company
		}
		decideDevice(ts, server, args[0] == "approve")
	default:
		ts.Fatalf("no command lab %s", args[0])
	}
}

func startLab(ts *testscript.TestScript, w *scriptWorld, args []string) {
	habits := lab.NoneFirst()
	if len(args) > 0 {
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &habits))
	}
	w.stop()
	server, err := lab.StartWith(habits, lab.Options{TLS: habits.MTLS != (lab.MTLS{})})
	ts.Check(err)
	w.server = server
	ts.Setenv("MCP", server.MCPURL())
	ts.Setenv("ISSUER", server.Issuer())
	ts.Setenv("PORT", server.URL()[strings.LastIndexByte(server.URL(), ':')+1:])
}

// inHome returns the folders of HANDSTAMP_HOME.
func inHome(home string) (filestore.Folders, error) {
	return findFolders(environment{"HANDSTAMP_HOME=" + home})
}

// credentials opens the store of the script.
func credentials(ts *testscript.TestScript) *filestore.Store {
	dirs, err := inHome(ts.Getenv("HANDSTAMP_HOME"))
	ts.Check(err)
	files, err := dirs.Open(filestore.Options{})
	ts.Check(err)
	return files
}

// records calls do with every stored record.
func records(ts *testscript.TestScript, do func(*filestore.Store, *record.Record)) {
	files := credentials(ts)
	ctx := context.Background()
	keys, err := files.List(ctx)
	ts.Check(err)
	for _, key := range keys {
		rec, err := record.Get(ctx, files, key)
		ts.Check(err)
		do(files, rec)
	}
}

// cmdAge lets time go by for what is stored: age 2h.
func cmdAge(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: age DURATION")
	}
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	records(ts, func(files *filestore.Store, rec *record.Record) {
		rec.Grant.ObtainedAt = rec.Grant.ObtainedAt.Add(-d)
		if !rec.Grant.ExpiresAt.IsZero() {
			rec.Grant.ExpiresAt = rec.Grant.ExpiresAt.Add(-d)
		}
		if rec.Retry != nil {
			rec.Retry.NotBefore = rec.Retry.NotBefore.Add(-d)
		}
		ts.Check(record.Put(context.Background(), files, rec))
	})
}

// cmdMode checks the permissions of files: mode 0600 home/credentials/*.json.
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode 0600 PATTERN")
	}
	want, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	paths, err := filepath.Glob(ts.MkAbs(args[1]))
	ts.Check(err)
	if len(paths) == 0 {
		ts.Fatalf("nothing is called %s", args[1])
	}
	for _, path := range paths {
		info, err := os.Lstat(path)
		ts.Check(err)
		if got := info.Mode().Perm(); got != os.FileMode(want) {
			ts.Fatalf("%s has mode %o, want %o", path, got, want)
		}
	}
}

// cmdRecord checks whether a login with a refresh token is stored: record grant|no-grant.
func cmdRecord(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: record grant|no-grant")
	}
	n, grants := 0, 0
	records(ts, func(_ *filestore.Store, rec *record.Record) {
		n++
		if rec.Grant != nil && rec.Grant.RefreshToken != "" {
			grants++
		}
	})
	switch {
	case args[0] == "grant" && grants == 0:
		ts.Fatalf("%d records, and no grant among them", n)
	case args[0] == "no-grant" && grants > 0:
		ts.Fatalf("%d records with %d grants, want none", n, grants)
	}
}

// cmdExpand copies a file with the script's variables in it: expand SRC DST.
func cmdExpand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: expand SRC DST")
	}
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}

// cmdForeign turns the stored login into one of mcp-remote's and removes it:
// foreign FOLDER [MEMBER=JSON…], where the members are put into its tokens and
// client:MEMBER=JSON into its registration. FOLDER is below MCP_REMOTE_CONFIG_DIR.
func cmdForeign(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: foreign FOLDER [MEMBER=JSON…]")
	}
	dir := filepath.Join(ts.Getenv("MCP_REMOTE_CONFIG_DIR"), args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	records(ts, func(files *filestore.Store, rec *record.Record) {
		g := rec.Grant
		tokens := map[string]any{
			"access_token": g.AccessToken.Reveal(), "refresh_token": g.RefreshToken.Reveal(), "token_type": "Bearer",
			"expires_in": 3600, "expires_at": g.ExpiresAt.UnixMilli(), "issuer": g.Issuer,
		}
		client := make(map[string]any)
		ts.Check(json.Unmarshal([]byte(rec.GrantClient().Response.Reveal()), &client))
		for _, arg := range args[1:] {
			name, text, _ := strings.Cut(arg, "=")
			members := tokens
			if rest, ok := strings.CutPrefix(name, "client:"); ok {
				name, members = rest, client
			}
			var value any
			ts.Check(json.Unmarshal([]byte(text), &value))
			if members[name] = value; value == nil {
				delete(members, name)
			}
		}
		remote := mcpremote.Server{URL: ts.Getenv("MCP"), Resource: ts.Getenv("RESOURCE")}
		if name, value, ok := strings.Cut(ts.Getenv("HEADER"), ":"); ok {
			remote.Headers = map[string]string{name: value}
		}
		hash := remote.Hashes()[0]
		for kind, object := range map[string]any{"tokens.json": tokens, "client_info.json": client} {
			text, err := json.MarshalIndent(object, "", "  ")
			ts.Check(err)
			ts.Check(os.WriteFile(filepath.Join(dir, hash+"_"+kind), text, 0o600))
		}
		ts.Check(record.Delete(context.Background(), files, rec))
	})
}
