package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// bridges is how many bridges do.
const bridges = 5

// command lives the same life with the command.
type command struct {
	*scene
	program, home string
}

// process returns the command as a process of its own, which can reach a user.
func (c *command) process(ctx context.Context, args ...string) *exec.Cmd {
	cmd, a := exec.CommandContext(ctx, c.program, args...), c.as.account()
	cmd.Env = append(os.Environ(), "DBUS_SESSION_BUS_ADDRESS=disabled:", "HANDSTAMP_HOME="+c.home, `HANDSTAMP_BROWSER="`+os.Args[0]+`"`,
		userVariable+"="+strings.Join(append([]string{a.username, a.password}, a.pages...), "\n"))
	return cmd
}

// run runs the command and returns its output and exit code.
func (c *command) run(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), timeout)
	defer cancel()
	cmd := c.process(ctx, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if exited := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exited) {
		c.t.Error(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// must runs the command, wants an exit code and returns the output.
func (c *command) must(code int, args ...string) (stdout, stderr string) {
	c.t.Helper()
	stdout, stderr, got := c.run(args...)
	if got != code {
		c.t.Fatalf("handstamp %s: exit code %d, want %d; requests: %s\n%s", strings.Join(args, " "), got, code, c.as.all(), stderr)
	}
	return strings.TrimSpace(stdout), stderr
}

// bridge is an MCP host's session through the bridge.
func (c *command) bridge() error {
	ctx, cancel := context.WithTimeout(c.t.Context(), timeout)
	defer cancel()
	client := mcp.NewClient(&mcp.Implementation{Name: "interop", Version: "1"}, nil)
	session, err := client.Connect(ctx, &mcp.CommandTransport{Command: c.process(ctx, "bridge", c.mcp)}, nil)
	if err != nil {
		return err
	}
	return errors.Join(echo(ctx, session), session.Close())
}

// login returns the arguments of a login.
func (c *command) login() []string {
	args := []string{"login", c.mcp}
	if r := c.as.registration; r != nil {
		args = append(args, "--client-id", r.ClientID, "--token-endpoint-auth-method", r.TokenEndpointAuthMethod)
	}
	return args
}

// expired leaves a login whose access token has ended.
func (c *command) expired() {
	c.t.Helper()
	c.as.lifetime(short)
	token, _ := c.must(0, "token", c.mcp, "--refresh")
	expiry := time.Now().Add(short)
	c.as.lifetime(time.Hour)
	c.expire(token, expiry)
}

func (c *command) live() {
	_, said := c.must(0, c.login()...)
	if !strings.Contains(said, "refreshed automatically") {
		c.t.Fatalf("login says:\n%s", said)
	}
	c.wantRegistered("login")
	c.want("login", c.as.token, 1)
	c.seen("`login`", c.as.cost())

	c.as.reset()
	first, _ := c.must(0, "token", c.mcp)
	if !c.works(first) {
		c.t.Error("the token does not work")
	}
	if err := c.bridge(); err != nil {
		c.t.Errorf("bridge: %v", err)
	}
	c.want("second session", "", 0)
	c.seen("`token`, then `bridge`", c.as.cost())

	c.expired()
	c.as.reset()
	tokens := make([]string, crowd)
	var wait sync.WaitGroup
	for i := range tokens {
		wait.Go(func() {
			out, errOut, code := c.run("token", c.mcp)
			if tokens[i] = strings.TrimSpace(out); code != 0 {
				c.t.Errorf("expired token: exit code %d: %s", code, errOut)
			}
		})
	}
	wait.Wait()
	c.want("expired token, many processes at once", "", 1)
	c.seen("expired token, 20 processes of `token`", c.as.cost())
	c.want("expired token, many processes at once", c.as.token, 1)
	for _, token := range tokens {
		if token != tokens[0] || token == first {
			c.t.Fatal("the processes have different tokens")
		}
	}
	if !c.works(tokens[0]) {
		c.t.Error("the refreshed token does not work")
	}

	c.expired()
	c.as.reset()
	for range bridges {
		wait.Go(func() {
			if err := c.bridge(); err != nil {
				c.t.Errorf("bridge, expired token: %v", err)
			}
		})
	}
	wait.Wait()
	c.want("bridges, expired token", c.as.token, 1)
	c.seen(fmt.Sprintf("expired token, %d processes of `bridge`", bridges), c.as.cost())
	c.rejected()

	c.forgotten()
	c.restarted()
	c.keptClients()

	last, _ := c.must(0, "token", c.mcp)
	if _, said := c.must(0, "logout", c.mcp); !strings.Contains(said, "revoked") {
		c.t.Errorf("logout says:\n%s", said)
	}
	c.seen("`logout`", "revoked")
	c.wantDead("logout", last)
	c.must(4, "token", c.mcp)
}

// forgotten is what becomes of a login whose client the server has forgotten.
func (c *command) forgotten() {
	if c.as.forgetClients == nil {
		return
	}
	c.expired()
	c.as.forgetClients()
	code := 4
	if c.as.forgotten == handstamp.ErrUnreachable {
		code = 3
	}
	c.must(code, "token", c.mcp)
	c.seen("forgotten client, `token`", fmt.Sprintf("exit code %d", code))
	c.as.rememberClients()
	c.as.reset()
	c.must(0, append(c.login(), "--force")...)
	c.wantRegistered("login after that")
}
