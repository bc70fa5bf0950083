//go:build unix

package examples

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/servicetest"
)

// replica starts one process of the application, and returns where it is. At the end of the test it
// gets the signal that platforms end processes with.
func replica(t *testing.T, cmd *exec.Cmd, database string) string {
	t.Helper()
	cmd.Env = append(cmd.Env, "DATABASE_URL="+database, "HOSTED_SECRET="+strings.Repeat("5a", 32))
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	cmd.Cancel = func() error { return os.ErrProcessDone } // it is ended below
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		hang := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
		defer hang.Stop()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("a replica that is ended: %v\n%s", err, stderr.String())
		}
	})
	var started struct{ URL string }
	if err := json.NewDecoder(stdout).Decode(&started); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	return started.URL
}

// The application works the same with both databases.
func TestHostedReplicas(t *testing.T) {
	program := newPlace(t).build("hosted")
	t.Run("PostgreSQL", func(t *testing.T) {
		testReplicas(t, program, servicetest.StartPostgres(t).URL())
	})
	t.Run("Redis", func(t *testing.T) {
		testReplicas(t, program, "unix://"+servicetest.StartRedis(t).Socket())
	})
}

// testReplicas has a user begin at one replica and come back to the other, and both call tools in
// the user's name; other users cannot.
func testReplicas(t *testing.T, program, database string) {
	t.Helper()
	p := newPlace(t)
	start := func(flags ...string) string {
		cmd := p.command(program)
		cmd.Args = append(append(cmd.Args[:1:1], flags...), p.server.MCPURL())
		return replica(t, cmd, database)
	}
	two := start()
	one := start("-callback", two+"/oauth/callback")

	user := func(name string) (post func(target string, form url.Values) (string, string)) {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Jar: jar}
		post = func(target string, form url.Values) (page, at string) {
			t.Helper()
			resp, err := client.PostForm(target, form)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return string(body), resp.Request.URL.String()
		}
		post(one+"/session", url.Values{"name": {name}})
		return post
	}
	server := url.Values{"server": {p.server.MCPURL()}}
	call := url.Values{"server": {p.server.MCPURL()}, "tool": {"echo"}, "arguments": {`{"text":"hello from a replica"}`}}
	ada, ben := user("ada"), user("ben")

	page, at := ada(one+"/connect", server)
	if at != two+"/servers" || !regexp.MustCompile(`<p>connected</p>`).MatchString(page) {
		t.Fatalf("the login ended at %s:\n%s", at, page)
	}
	wrong := url.Values{"server": {p.server.MCPURL()}, "tool": {"echo"}, "arguments": {"{}"}}
	if page, _ := ada(one+"/call", wrong); !strings.Contains(page, "the tool reports an error") {
		t.Errorf("a call that the tool rejects:\n%s", page)
	}
	for _, replica := range []string{one, two, one} {
		if page, _ := ada(replica+"/call", call); !strings.Contains(page, "hello from a replica") {
			t.Errorf("a call by %s:\n%s", replica, page)
		}
		p.server.ExpireAccessTokens()
		if page, _ := ben(replica+"/call", call); strings.Contains(page, "hello from a replica") {
			t.Errorf("another user's call by %s:\n%s", replica, page)
		}
	}
	if page, _ := ada(two+"/disconnect", server); !strings.Contains(page, "not connected") {
		t.Errorf("after the end of the connection:\n%s", page)
	}
	if page, _ := ada(one+"/call", call); strings.Contains(page, "hello from a replica") {
		t.Errorf("a call after the end of the connection:\n%s", page)
	}
	if a := p.server.Audit(); a.Codes != 1 || a.Reuses != 0 || a.Refreshes != 2 {
		t.Errorf("%d logins, %d refreshes, %d reuses; want 1, 2, 0", a.Codes, a.Refreshes, a.Reuses)
	}
}
