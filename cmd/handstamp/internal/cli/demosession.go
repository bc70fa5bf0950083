package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// sessionReport is what a session process prints for the demo, as JSON.
type sessionReport struct {
	Found    string `json:"found"` // the state of the login at the start
	Greeting string `json:"greeting"`
	Method   string `json:"method"`
	Reason   string `json:"reason"`

	err error // of the process
}

// runDemoSession is what the demo starts for each session: an ordinary MCP client, made with
// net/http over our transport. It calls the server's tool and prints its report. Its
// arguments are the server and a text.
func (a *app) runDemoSession(ctx context.Context, args []string) error {
	t, c, err := a.sessionClient(args[0], &loginOptions{})
	if err != nil {
		return err
	}
	before, err := c.Status(ctx, t.url)
	if err != nil {
		return err
	}
	greeting, err := callEcho(ctx, c, t.url, args[1])
	if err != nil {
		return err
	}
	after, err := c.Status(ctx, t.url)
	if err != nil {
		return err
	}
	return a.out.json(sessionReport{Found: string(before.State), Greeting: greeting,
		Method: after.Method, Reason: after.MethodReason}, false)
}

// sessionClient returns a server and a Client for a session of the demo or the lab.
func (a *app) sessionClient(server string, o *loginOptions) (*target, *handstamp.Client, error) {
	t, err := a.targetWith(server, o, &headerOptions{})
	if err != nil {
		return nil, nil, err
	}
	c, err := a.client(t, o, handstamp.LoginAuto)
	return t, c, err
}

// callEcho opens an MCP session, calls the server's tool echo, closes the session and returns
// the text of the result. The servers are the lab's, whose responses are JSON.
func callEcho(ctx context.Context, c *handstamp.Client, url, text string) (string, error) {
	s := &plainSession{client: c.HTTPClient(url), url: url}
	defer s.close()
	_, err := s.request(ctx, "initialize", map[string]any{
		"protocolVersion": "2025-11-25", "capabilities": map[string]any{},
		"clientInfo": map[string]string{"name": "handstamp-demo", "version": "1"},
	})
	if err != nil {
		return "", err
	}
	if _, err := s.send(ctx, map[string]any{"method": "notifications/initialized"}); err != nil {
		return "", err
	}
	raw, err := s.request(ctx, "tools/call",
		map[string]any{"name": "echo", "arguments": map[string]string{"text": text}})
	if err != nil {
		return "", err
	}
	result, err := parseToolResult(raw)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(result.text(), "\n"), nil
}

// runDemoBrowser is what the demo names as the browser: a user who signs in at once.
func runDemoBrowser(ctx context.Context, args []string) error {
	_, err := lab.Browse(ctx, args[0])
	return err
}

// runSessions runs the processes of a scene, all at once, and returns what each
// one printed. A session that fails is no error here.
func (s *stage) runSessions(ctx context.Context, number int, sc scene) ([]sessionReport, error) {
	var done sync.WaitGroup
	results := make([]sessionReport, sc.processes)
	for i := range results {
		done.Go(func() { results[i].err = s.runSession(ctx, number, sc, &results[i]) })
	}
	done.Wait()
	return results, ctx.Err()
}

// runSession runs one process and reads its report.
func (s *stage) runSession(ctx context.Context, number int, sc scene, r *sessionReport) error {
	text := fmt.Sprintf("session %d", number)
	cmd := exec.CommandContext(ctx, s.exe, "demo", "session", s.server.MCPURL(), text)
	cmd.Env = s.env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = closeTimeout
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if sc.visible {
		cmd.Stderr = s.app.err.w
	}
	printed, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("a session failed (%w): %s", err, short(strings.TrimSpace(stderr.String())))
	}
	if err := json.Unmarshal(printed, r); err != nil {
		return fmt.Errorf("a session printed no report: %w", err)
	}
	if r.Greeting != text {
		return fmt.Errorf("the tool returned %q instead of %q", short(r.Greeting), text)
	}
	return nil
}
