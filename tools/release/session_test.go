package main

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
)

// sessionLimit bounds a session. It is for what hangs, and long enough for a busy machine.
const sessionLimit = 5 * time.Minute

// user is the environment of a user whose browser is the command's own.
func user(t *testing.T, binary string) []string {
	t.Helper()
	return append(os.Environ(), "DBUS_SESSION_BUS_ADDRESS=disabled:", "HANDSTAMP_HOME="+filepath.Join(t.TempDir(), "home"),
		`HANDSTAMP_BROWSER="`+binary+`" demo browser`)
}

// bridgeCallsATool runs a command line that ends with the URL of a protected server: a stdio
// MCP server, which signs in and calls the tool.
func bridgeCallsATool(t *testing.T, dir string, env []string, args ...string) {
	t.Helper()
	server, err := lab.Start(lab.NoneFirst())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	args = append(args, server.MCPURL())
	ctx, cancel := context.WithTimeout(t.Context(), sessionLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, env, 10*time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
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
	called := session(stdin, bufio.NewReader(stdout))
	stdin.Close()
	if err := cmd.Wait(); called != nil || err != nil {
		t.Errorf("%q: %v, %v\n%s", args, called, err, stderr.String())
	}
	if a := server.Audit(); a.Codes != 1 {
		t.Errorf("there were %d logins, want 1", a.Codes)
	}
}

// session is what an MCP host sends. The tool is called until the user has signed in; a server that
// comes to nothing ends at the session's limit.
func session(stdin io.Writer, stdout *bufio.Reader) error {
	send := func(format string, args ...any) {
		fmt.Fprintf(stdin, `{"jsonrpc":"2.0",`+format+"}\n", args...) // a closed pipe ends the reads
	}
	send(`"id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},` +
		`"clientInfo":{"name":"test","version":"1"}}`)
	send(`"method":"notifications/initialized"`)
	for id := 2; ; id++ {
		send(`"id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"text":"walked in"}}`, id)
		for {
			line, err := stdout.ReadString('\n')
			if err != nil {
				return err
			}
			if strings.Contains(line, "walked in") {
				return nil
			}
			if strings.Contains(line, fmt.Sprintf(`"id":%d`, id)) {
				break
			}
		}
	}
}
