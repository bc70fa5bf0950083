package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// address is a listener of a play.
var address = regexp.MustCompile(`127\.0\.0\.1:\d+|localhost:\d+`)

// A contestant is a command that bridges a stdio MCP host and a remote MCP server.
type contestant struct {
	name    string
	version string

	// slow is added to the limits of what includes the start of the process.
	slow time.Duration

	// timeFactor multiplies the limits where the machine may be busy with other tests; zero: one.
	timeFactor time.Duration

	command func(p *play, url string, flags ...string) *exec.Cmd
}

// limit returns how long something may take that takes d at most on a machine with nothing
// else to do.
func (c *contestant) limit(d time.Duration) time.Duration { return d * max(c.timeFactor, 1) }

// environment is this process's, without what would steer the contestants.
func environment(more ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		for _, prefix := range []string{"HANDSTAMP_", "MCP_", "NODE_", "GOMEMLIMIT", "GOGC", "GODEBUG", "SSL_CERT"} {
			if strings.HasPrefix(name, prefix) {
				return true
			}
		}
		return strings.HasSuffix(strings.ToLower(name), "_proxy")
	})
	return append(env, more...)
}

// own returns the bridge of this tree, which it builds into dir, or the program that is
// given in its place.
func own(ctx context.Context, root, dir, program string) (*contestant, error) {
	if program == "" {
		program = filepath.Join(dir, "handstamp")
		build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/handstamp")
		build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0") // as a release is built
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	return &contestant{name: "handstamp", version: "of this tree", command: func(p *play, url string, flags ...string) *exec.Cmd {
		cmd := exec.Command(program, slices.Concat([]string{"bridge", url}, flags)...)
		cmd.Env = environment("HANDSTAMP_HOME="+filepath.Join(p.dir, "home"), "HANDSTAMP_STORE=file", "HANDSTAMP_BROWSER=true")
		cmd.Env = append(cmd.Env, p.env...)
		return cmd
	}}, nil
}

// mcpRemote returns the mcp-remote that the benchmark of the bridge has pinned.
func mcpRemote(ctx context.Context, root string) (*contestant, error) {
	folder := filepath.Join(root, "bench", "bridge")
	module := filepath.Join(folder, "node_modules", "mcp-remote")
	program := filepath.Join(module, "dist", "proxy.js")
	if _, err := os.Stat(program); err != nil {
		install := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
		install.Dir = folder
		if out, err := install.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("npm ci: %w\n%s", err, out)
		}
	}
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(module, "package.json"))
	if err != nil {
		return nil, err
	}
	var description struct{ Version string }
	if err := json.Unmarshal(raw, &description); err != nil {
		return nil, err
	}
	return &contestant{name: "mcp-remote", version: description.Version, slow: 5 * time.Second, command: func(p *play, url string, flags ...string) *exec.Cmd {
		cmd := exec.Command(node, slices.Concat([]string{program, url}, flags)...)
		// The browser that it opens does nothing: its URL is read where it is written.
		cmd.Env = environment("MCP_REMOTE_CONFIG_DIR="+filepath.Join(p.dir, "mcp-remote"), "BROWSER=true", "DISPLAY=")
		cmd.Env = append(cmd.Env, p.env...)
		return cmd
	}}, nil
}
