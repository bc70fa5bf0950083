package examples

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/lab/mcpserver"
)

// limit bounds a program. It is for what hangs.
const limit = 5 * time.Minute

// browserVariable makes the test's own program a browser with a user, who consents.
const browserVariable = "EXAMPLES_BROWSER"

func TestMain(m *testing.M) {
	if os.Getenv(browserVariable) != "" && len(os.Args) == 2 {
		if _, err := lab.Browse(context.Background(), os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// place is a protected MCP server, and a user who has no login yet.
type place struct {
	t      *testing.T
	server *lab.Server
	env    []string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds the examples")
	}
	server, err := lab.StartWith(lab.NoneFirst(), lab.Options{MCP: mcpserver.Handler()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &place{t: t, server: server, env: append(os.Environ(),
		"DBUS_SESSION_BUS_ADDRESS=disabled:", "HANDSTAMP_HOME="+filepath.Join(t.TempDir(), "home"), `HANDSTAMP_BROWSER="`+self+`"`, browserVariable+"=1")}
}

// build builds the program in a folder as its README does.
func (p *place) build(folder string) string {
	p.t.Helper()
	program := filepath.Join(p.t.TempDir(), folder+".exe")
	if out, err := exec.Command("go", "build", "-o", program, "./"+folder).CombinedOutput(); err != nil {
		p.t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// command is one process of a program.
func (p *place) command(program string, args ...string) *exec.Cmd {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), limit)
	p.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, append([]string{p.server.MCPURL()}, args...)...)
	cmd.Env = p.env
	return cmd
}

// TestExamplesSignInOnce runs each program in two processes: the first signs in, and the second
// sends nothing to the authorization server.
func TestExamplesSignInOnce(t *testing.T) {
	for _, test := range []struct {
		folder string
		args   []string
		want   string
	}{
		{"gosdk", []string{"echo", `{"text":"hello"}`}, "hello\n"},
		{"mcpgo", []string{"echo", `{"text":"hello"}`}, "hello\n"},
		{"httpclient", nil, "handstamp-lab"},
	} {
		t.Run(test.folder, func(t *testing.T) {
			p := newPlace(t)
			program := p.build(test.folder)
			for _, logins := range []int{1, 0} {
				p.server.Reset()
				out, err := p.command(program, test.args...).CombinedOutput()
				if err != nil || !strings.Contains(string(out), test.want) {
					t.Fatalf("%v\n%s", err, out)
				}
				if a := p.server.Audit(); a.Codes != logins {
					t.Errorf("%d logins, want %d", a.Codes, logins)
				}
			}
			if n := p.server.Counts()["token"]; n != 0 {
				t.Errorf("the second process sent %d token requests", n)
			}
		})
	}
}

// TestExitCodes has programs fail: at a tool that reports an error, and at a login without a browser.
func TestExitCodes(t *testing.T) {
	for _, test := range []struct {
		folder string
		args   []string
		env    []string
		code   int
		want   string
	}{
		{"gosdk", []string{"echo", "{}"}, nil, 1, "the tool reports an error"},
		{"mcpgo", []string{"echo", "{}"}, nil, 1, "the tool reports an error"},
		{"httpclient", nil, []string{"HANDSTAMP_NO_BROWSER=1"}, 4, "handstamp login --store file http"},
	} {
		t.Run(test.folder, func(t *testing.T) {
			p := newPlace(t)
			cmd := p.command(p.build(test.folder), test.args...)
			cmd.Env = append(cmd.Env, test.env...)
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != test.code || !strings.Contains(string(out), test.want) {
				t.Errorf("exit code %d, want %d\n%s", code, test.code, out)
			}
		})
	}
}

// TestAgentSurvivesAnExpiredToken ends the agent's token between two of its tasks: it refreshes
// once, and needs no user.
func TestAgentSurvivesAnExpiredToken(t *testing.T) {
	p := newPlace(t)
	agent := p.build("agent")
	out, err := p.command(agent).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "handstamp login --store file "+p.server.MCPURL()) {
		t.Fatalf("without a login the agent writes %s, %v", out, err)
	}
	if out, err := p.command(p.build("httpclient")).CombinedOutput(); err != nil { // signs in
		t.Fatalf("%v\n%s", err, out)
	}

	cmd := p.command(agent)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	tasks, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	results := bufio.NewReader(stdout)
	for i, task := range []string{"first", "second", "third"} {
		if i == 1 {
			p.server.ExpireAccessTokens()
		}
		fmt.Fprintln(tasks, task)
		if line, err := results.ReadString('\n'); line != "echo: "+task+"\n" {
			t.Errorf("the agent writes %q, %v", line, err)
			break
		}
	}
	tasks.Close()
	if _, err := io.Copy(io.Discard, results); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, stderr.String())
	}
	if a := p.server.Audit(); a.Codes != 1 || a.Refreshes != 1 || a.Reuses != 0 {
		t.Errorf("%d logins, %d refreshes, %d reuses; want 1, 1, 0", a.Codes, a.Refreshes, a.Reuses)
	}
}
