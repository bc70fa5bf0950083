//go:build unix

package cli

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/installed"
	"github.com/handstamp/handstamp/internal/servicetest"
	"github.com/handstamp/handstamp/lab"
)

// tokenService is handstamp serve --store postgres://… in a process of its own.
type tokenService struct {
	*command
	serviceOutput
	cmd    *exec.Cmd
	stderr *bufio.Reader
	key    string // of a caller of the tenant acme
}

// newDatabase returns a command whose logins are in a PostgreSQL server of the test's.
func newDatabase(t *testing.T, h lab.Habits) (*command, *servicetest.Postgres) {
	t.Helper()
	postgres := servicetest.StartPostgres(t)
	server, err := lab.Start(h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	processes.Watch(t, server)
	c := &command{t: t, home: filepath.Join(t.TempDir(), "home"), server: server}
	raw := make([]byte, 32)
	rand.Read(raw)
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte(base64.StdEncoding.EncodeToString(raw)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.env = []string{"HANDSTAMP_STORE=" + databaseURL(postgres), "HANDSTAMP_STORE_KEY_FILE=" + keys}
	return c, postgres
}

// databaseURL returns the URL of a server, or of what is before it.
func databaseURL(p interface{ URL() string }) string {
	query := make(url.Values)
	for _, setting := range strings.Fields(p.URL()) {
		name, value, _ := strings.Cut(setting, "=")
		query.Set(name, value)
	}
	return "postgres:///?" + query.Encode()
}

// must runs handstamp and returns its standard output.
func (c *command) must(args ...string) string {
	c.t.Helper()
	stdout, stderr, code := c.run(args...)
	if code != 0 {
		c.t.Fatalf("handstamp %s: %d\n%s", strings.Join(args, " "), code, stderr)
	}
	return strings.TrimSpace(stdout)
}

// signIn signs a user in.
func (c *command) signIn(tenant, user string) {
	c.t.Helper()
	c.must("login", c.server.MCPURL(), "--tenant", tenant, "--user", user)
}

// serveTokens starts the service.
func (c *command) serveTokens(args ...string) *tokenService {
	c.t.Helper()
	s := &tokenService{command: c}
	var stdin io.WriteCloser
	var stdout *bufio.Reader
	s.cmd, stdin, stdout, s.stderr = c.startWithin(5*time.Minute, "handstamp",
		append([]string{"serve", "--json"}, args...)...)
	stdin.Close()
	if err := json.NewDecoder(stdout).Decode(&s.serviceOutput); err != nil {
		text, _ := io.ReadAll(s.stderr)
		c.t.Fatalf("%v: %s", err, text)
	}
	return s
}

// loopback starts the service on loopback, with a caller.
func (c *command) loopback() *tokenService {
	c.t.Helper()
	key := c.must("caller", "add", "first "+strconv.Itoa(len(c.must("caller", "ls"))), "--tenant", "acme")
	s := c.serveTokens("--listen", "127.0.0.1:0")
	s.key = key
	return s
}

// end ends the service as an operator does, and returns what it has written.
func (s *tokenService) end() string {
	s.t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	text, _ := io.ReadAll(s.stderr)
	if code := s.wait(s.cmd); code != 0 {
		s.t.Errorf("exit code %d: %s", code, text)
	}
	return string(text)
}

// response is what the service responds with.
type response struct {
	status  int
	retry   string
	Code    string `json:"code"`
	Token   string `json:"access_token"`
	Detail  string `json:"detail"`
	Command string `json:"command"`
}

// token requests the token of a user with a key.
func (s *tokenService) token(client *http.Client, key, user string, more ...string) (r response) {
	s.t.Helper()
	base := s.URL
	if base == "" {
		base = "http://service"
	}
	query := url.Values{"server": {s.server.MCPURL()}, "user": {user}}
	for i := 0; i < len(more); i += 2 {
		query.Set(more[i], more[i+1])
	}
	req, err := http.NewRequest(http.MethodGet, base+"/v1/token?"+query.Encode(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		s.t.Fatal(err)
	}
	r.status, r.retry = resp.StatusCode, resp.Header.Get("Retry-After")
	return r
}

func (s *tokenService) want(r response, status int, code string) response {
	s.t.Helper()
	if r.status != status || r.Code != code || (status == http.StatusOK) != (r.Token != "") {
		s.t.Errorf("%d %s %s, want %d %s", r.status, r.Code, r.Detail, status, code)
	}
	return r
}

// Users of two tenants sign in with the command, and programs get what they may have.
func TestServeTokens(t *testing.T) {
	c, _ := newDatabase(t, lab.NoneFirst())
	c.signIn("acme", "ada")
	c.signIn("globex", "ada")
	globex := c.must("caller", "add", "globex-web", "--tenant", "globex")
	s := c.loopback()
	acme := s.want(s.token(http.DefaultClient, s.key, "ada"), 200, "")
	other := s.want(s.token(http.DefaultClient, globex, "ada"), 200, "")
	if acme.Token == other.Token {
		t.Error("two tenants have the same token")
	}
	if got := c.must("token", c.server.MCPURL(), "--tenant", "acme", "--user", "ada"); got != acme.Token {
		t.Error("the command has another token than the service")
	}
	s.want(s.token(http.DefaultClient, globex, "ada", "tenant", "acme"), 403, "forbidden")
	s.want(s.token(http.DefaultClient, s.key, "bob"), 404, "no_login")
	s.want(s.token(http.DefaultClient, "", "ada"), 401, "unauthenticated")
	c.must("caller", "remove", "globex-web")
	s.want(s.token(http.DefaultClient, globex, "ada"), 401, "unauthenticated")
	c.server.RevokeFamilies()
	s.want(s.token(http.DefaultClient, s.key, "ada", "refresh", "true"), 409, "auth_required")
	said := s.end()
	for _, secret := range append(c.server.Secrets(), s.key, globex) {
		if strings.Contains(said, secret) {
			t.Errorf("a secret is in the log: %s", said)
		}
	}
}

// The command in a response signs the user in to the profile that the service serves.
func TestServeTokensNamesTheLoginOfItsProfile(t *testing.T) {
	c, _ := newDatabase(t, lab.NoneFirst())
	key := c.must("caller", "add", "web", "--tenant", "acme")
	s := c.serveTokens("--listen", "127.0.0.1:0", "--profile", "work")
	r := s.want(s.token(http.DefaultClient, key, "ada"), 404, "no_login")
	c.must(strings.Fields(r.Command)[1:]...)
	s.want(s.token(http.DefaultClient, key, "ada"), 200, "")
	s.end()
}

// What another process has done with a login is seen, without a minute's wait.
func TestServeTokensAfterALogoutElsewhere(t *testing.T) {
	c, _ := newDatabase(t, lab.NoneFirst())
	c.signIn("acme", "ada")
	s := c.loopback()
	old := s.want(s.token(http.DefaultClient, s.key, "ada"), 200, "")
	c.must("token", c.server.MCPURL(), "--refresh", "--tenant", "acme", "--user", "ada")
	until := func(what string, done func(response) bool) {
		t.Helper()
		for begun := time.Now(); !done(s.token(http.DefaultClient, s.key, "ada")); {
			if time.Since(begun) > 45*time.Second { // less than the minute
				t.Fatalf("what another process has done is not seen: %s", what)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	until("a refresh", func(r response) bool { return r.status == 200 && r.Token != old.Token })
	c.must("logout", c.server.MCPURL(), "--tenant", "acme", "--user", "ada")
	until("a logout", func(r response) bool { return r.status == 404 })
	s.end()
}

// While the database is down there is a 503, and when it is back, tokens: without a restart.
func TestServeTokensWithoutDatabase(t *testing.T) {
	c, postgres := newDatabase(t, lab.NoneFirst())
	c.signIn("acme", "ada")
	c.signIn("acme", "bob")
	s := c.loopback()
	s.want(s.token(http.DefaultClient, s.key, "ada"), 200, "")
	postgres.Stop(syscall.SIGQUIT)
	s.want(s.token(http.DefaultClient, s.key, "ada"), 200, "")
	r := s.want(s.token(http.DefaultClient, s.key, "bob"), 503, "store")
	if r.retry == "" || strings.Contains(r.Detail, "postgres") {
		t.Errorf("Retry-After %q, %s", r.retry, r.Detail)
	}
	s.want(s.token(http.DefaultClient, s.key, "ada", "refresh", "true"), 503, "store")
	if n := c.server.Counts()["token:refresh"]; n != 0 {
		t.Errorf("%d refreshes whose result could not have been stored", n)
	}
	postgres.Start()
	for end := time.Now().Add(waitLimit); ; {
		r := s.token(http.DefaultClient, s.key, "bob")
		if r.status == 200 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the database is back, and the service responds %d %s", r.status, r.Detail)
		}
	}
	s.want(s.token(http.DefaultClient, s.key, "ada", "refresh", "true"), 200, "")
	if said := s.end(); !strings.Contains(said, "a request failed") {
		t.Errorf("the log does not have it: %s", said)
	}
}

// A service that is killed while a refresh is under way loses no login at a server that forgives the
// repetition, and one that ends waits for the refresh.
func TestServeTokensKilled(t *testing.T) {
	c, _ := newDatabase(t, lab.Habits{Rotation: lab.RotateGrace, Grace: time.Hour})
	c.signIn("acme", "ada")
	s := c.loopback()
	gate := c.server.Hold("token:refresh:committed")
	ended := s.request("refresh", "true")
	s.reached(gate)
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	_ = s.cmd.Wait()
	gate.Release()
	second := c.loopback()
	second.want(second.token(http.DefaultClient, second.key, "ada"), 200, "")
	second.want(second.token(http.DefaultClient, second.key, "ada", "refresh", "true"), 200, "")

	gate = c.server.Hold("token:refresh:committed")
	ended = second.request("refresh", "true")
	second.reached(gate)
	if err := second.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	gate.Release()
	if err := <-ended; err != nil {
		t.Errorf("a service that ends leaves a request without its response: %v", err)
	}
	if code := c.wait(second.cmd); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if a := c.server.Audit(); a.FamiliesRevoked != 0 {
		t.Errorf("%d logins were ended", a.FamiliesRevoked)
	}
}

// request requests a token of ada in the background.
func (s *tokenService) request(more ...string) (ended chan error) {
	s.t.Helper()
	query := url.Values{"server": {s.server.MCPURL()}, "user": {"ada"}}
	for i := 0; i < len(more); i += 2 {
		query.Set(more[i], more[i+1])
	}
	req, err := http.NewRequest(http.MethodGet, s.URL+"/v1/token?"+query.Encode(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	ended = make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				err = errors.New(resp.Status)
			}
		}
		ended <- err
	}()
	return ended
}

// reached waits until a request is at a gate.
func (s *tokenService) reached(gate *lab.Gate) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), waitLimit)
	defer cancel()
	if _, err := gate.Wait(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// At a Unix socket the processes of a user need no key, and the socket of a service that was killed
// is in no other's way, while that of one that runs is not taken from it.
func TestServeTokensAtASocket(t *testing.T) {
	c, _ := newDatabase(t, lab.NoneFirst())
	c.signIn("acme", "ada")
	path := filepath.Join(t.TempDir(), "s")
	c.must("caller", "add", "sidecar", "--tenant", "acme", "--uid", strconv.Itoa(os.Getuid()))
	dialer := &net.Dialer{}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		}}}
	first := c.serveTokens("--socket", path)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	known := 200
	if _, isLinux := os.Stat("/proc/self"); isLinux != nil {
		known = 401
	}
	if r := first.token(client, "", "ada"); r.status != known {
		t.Errorf("the user of the service's process: %d %s", r.status, r.Detail)
	}
	first.want(first.token(client, "hsk_wrong", "ada"), 401, "unauthenticated")
	if _, stderr, code := c.run("serve", "--socket", path); code != exitOther ||
		!strings.Contains(stderr, "another service has") {
		t.Errorf("beside a service that runs: %d %s", code, stderr)
	}
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.cmd.Wait()
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("there is no socket that could be in the way: %v", err)
	}
	second := c.serveTokens("--socket", path)
	if r := second.token(client, "", "ada"); r.status != known {
		t.Errorf("after the first was killed: %d %s", r.status, r.Detail)
	}
	second.end()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := c.run("serve", "--socket", path); code != exitOther || !strings.Contains(stderr, "no socket") {
		t.Errorf("where a file is: %d %s", code, stderr)
	}
}

var codeBlock = regexp.MustCompile("(?s)```(python|ts)\n(.*?)```")

// The clients on the page about the service get a token, and the error of a user without a login.
func TestServiceClientsOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/service.md")
	if err != nil {
		t.Fatal(err)
	}
	c, _ := newDatabase(t, lab.NoneFirst())
	c.signIn("acme", "ada")
	key := c.must("caller", "add", "by key", "--tenant", "acme")
	c.must("caller", "add", "by uid", "--tenant", "acme", "--uid", strconv.Itoa(os.Getuid()))
	socket := filepath.Join(t.TempDir(), "s")
	s := c.serveTokens("--listen", "127.0.0.1:0", "--socket", socket)
	want := s.want(s.token(http.DefaultClient, key, "ada"), 200, "").Token
	clients := codeBlock.FindAllStringSubmatch(string(page), -1)
	if len(clients) != 4 {
		t.Fatalf("the page has %d clients", len(clients))
	}
	for _, client := range clients {
		atSocket := strings.Contains(client[2], "HANDSTAMP_SOCKET")
		t.Run(fmt.Sprintf("%s, socket %t", client[1], atSocket), func(t *testing.T) {
			if atSocket && runtime.GOOS != "linux" {
				t.Skip("the user of the other process is known on Linux alone")
			}
			dir, name, code := t.TempDir(), "client.ts", client[2]
			run := []string{"python3", "-c", "import sys, client; print(client.token(*sys.argv[1:]))"}
			if client[1] == "python" {
				name = "client.py"
			} else {
				run = append(typeScript(t), "--input-type=module", "-e",
					`import { token } from "./client.ts"; console.log(await token(...process.argv.slice(1)))`)
			}
			if lines := strings.Count(code, "\n"); lines > 11 {
				t.Errorf("it has %d lines", lines)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(code), 0o600); err != nil {
				t.Fatal(err)
			}
			for user, in := range map[string]string{"ada": want, "bob": "no_login"} {
				cmd := exec.CommandContext(t.Context(), run[0], append(run[1:], c.server.MCPURL(), user)...)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "HANDSTAMP_SERVICE="+s.URL,
					"HANDSTAMP_SERVICE_KEY="+key, "HANDSTAMP_SOCKET="+socket)
				out, err := cmd.CombinedOutput()
				if (err == nil) != (user == "ada") || !strings.Contains(string(out), in) {
					t.Errorf("%s: %v\n%s", user, err, out)
				}
			}
		})
	}
	s.end()
}

// typeScript returns the command of a Node.js that runs TypeScript.
func typeScript(t *testing.T) []string {
	t.Helper()
	for _, node := range []string{"../../../../conformance/node_modules/.bin/node", "node"} {
		node, err := exec.LookPath(node)
		if err == nil {
			node, err = filepath.Abs(node)
		}
		command := []string{node, "--experimental-strip-types", "--no-warnings"}
		if err == nil && exec.Command(node, append(command[1:], "-e", "0")...).Run() == nil {
			return command
		}
	}
	installed.Need(t, "postgres", "there is no Node.js that runs TypeScript (22.6)")
	return nil
}
