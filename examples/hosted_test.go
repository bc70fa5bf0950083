package examples

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/internal/servicetest"
)

// replica starts one process of the application, and returns where it is.
func replica(t *testing.T, cmd *exec.Cmd, database string) string {
	t.Helper()
	cmd.Env = append(cmd.Env, "DATABASE_URL="+database, "HOSTED_SECRET="+strings.Repeat("5a", 32))
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var started struct{ URL string }
	if err := json.NewDecoder(stdout).Decode(&started); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	return started.URL
}

// A user who begins at one replica comes back to the other, and then both call tools in the user's
// name; other users cannot.
func TestHostedReplicas(t *testing.T) {
	p := newPlace(t)
	database := servicetest.StartPostgres(t).URL()
	program := p.build("hosted")
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
