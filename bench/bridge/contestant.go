package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// Names of the contestants.
const (
	ours   = "handstamp"
	floor  = "floor"
	sdk    = "Go SDK client"
	remote = "mcp-remote"
)

// A contestant is a bridge that has signed in, so that each new process finds a
// stored, valid token.
type contestant struct {
	name    string
	version string
	start   func(context.Context) *exec.Cmd // nil for one that is no process
	call    func(context.Context) *exec.Cmd // a process that has callText echoed, once; nil: none
	missing error                           // why it takes no part; nil if it does
}

// A stage is where the contestants meet.
type stage struct {
	self   string // this program
	root   string // the module's folder
	dir    string // for what lasts as long as the run
	target string // the MCP server's URL
	token  string // for those that keep none
}

// build compiles a command of the repository as the binaries of a release are: static and stripped.
func (s *stage) build(ctx context.Context, name, pkg string) (string, error) {
	program := filepath.Join(s.dir, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, pkg)
	cmd.Dir, cmd.Env = s.root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return program, nil
}

// environment is this process's, without what would steer the contestants.
func environment(more ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "HANDSTAMP_") || strings.HasPrefix(v, "MCP_") || strings.HasPrefix(v, "NODE_") ||
			strings.HasPrefix(v, "GOMEMLIMIT=") || strings.HasPrefix(v, "GOGC=") || strings.HasPrefix(v, "GODEBUG=")
	})
	return append(env, more...)
}

// signIn gets the token for the contestants that keep none.
func signIn(ctx context.Context, target string) (string, error) {
	client := &handstamp.Client{Prompt: handstamp.Prompt{
		Authorize: func(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
			return lab.Consent(ctx, r.URL)
		},
	}}
	if _, err := client.Login(ctx, target, handstamp.LoginOptions{}); err != nil {
		return "", err
	}
	token, err := client.TokenSource(ctx, target).Token()
	if err != nil {
		return "", err
	}
	return token.AccessToken, nil
}

// floorBridge is the bare pump.
func (s *stage) floorBridge(ctx context.Context) (*contestant, error) {
	program, err := s.build(ctx, "floor", "./bench/bridge/floor")
	if err != nil {
		return nil, err
	}
	return &contestant{name: floor, start: func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, program, s.target)
		cmd.Env = environment("FLOOR_TOKEN=" + s.token)
		return cmd
	}}, nil
}

// ownBridge is the command of this tree.
func (s *stage) ownBridge(ctx context.Context) (*contestant, error) {
	program, err := s.build(ctx, "handstamp", "./cmd/handstamp")
	if err != nil {
		return nil, err
	}
	env := environment("HANDSTAMP_HOME="+filepath.Join(s.dir, "home"), "HANDSTAMP_STORE=file",
		`HANDSTAMP_BROWSER="`+s.self+`" consent`)
	login := exec.CommandContext(ctx, program, "login", s.target)
	login.Env = env
	if out, err := login.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("handstamp login: %w\n%s", err, out)
	}
	version := "of a tree without git"
	describe := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty")
	describe.Dir = s.root
	if out, err := describe.Output(); err == nil {
		version = strings.TrimSpace(string(out))
	}
	command := func(args ...string) func(context.Context) *exec.Cmd {
		return func(ctx context.Context) *exec.Cmd {
			cmd := exec.CommandContext(ctx, program, args...)
			cmd.Env = env
			return cmd
		}
	}
	return &contestant{
		name: ours, version: version,
		start: command("bridge", s.target), call: command("call", s.target, "echo", "text="+callText),
	}, nil
}

// sdkClient is the official SDK's client, in this process under load, and as a
// program for one call.
func (s *stage) sdkClient(ctx context.Context) (*contestant, error) {
	program, err := s.build(ctx, "sdkcall", "./bench/bridge/sdkcall")
	if err != nil {
		return nil, err
	}
	return &contestant{name: sdk, version: moduleVersion("github.com/modelcontextprotocol/go-sdk"), call: func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, program, s.target, callText)
		cmd.Env = environment("SDKCALL_TOKEN=" + s.token)
		return cmd
	}}, nil
}

// remoteBridge is mcp-remote as the lock file has it, without npx, which costs
// a process and a third of a second more.
func (s *stage) remoteBridge(ctx context.Context) (*contestant, error) {
	c := &contestant{name: remote}
	folder := filepath.Join(s.root, "bench", "bridge")
	program := filepath.Join(folder, "node_modules", "mcp-remote", "dist", "proxy.js")
	if _, err := os.Stat(program); err != nil {
		install := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
		install.Dir = folder
		if out, err := install.CombinedOutput(); err != nil {
			c.missing = fmt.Errorf("npm ci: %w\n%s", err, out)
			return c, ctx.Err()
		}
	}
	node, err := exec.LookPath("node")
	if err != nil {
		c.missing = err
		return c, nil
	}
	if c.version, err = packageVersion(filepath.Join(folder, "node_modules", "mcp-remote", "package.json")); err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, node, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("node --version: %w", err)
	}
	c.version += " on Node.js " + strings.TrimSpace(string(out))
	c.start = func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, node, program, s.target)
		// The browser that it opens does nothing: its URL is read where it says it.
		cmd.Env = environment("MCP_REMOTE_CONFIG_DIR="+filepath.Join(s.dir, "mcp-remote"), "BROWSER=true", "DISPLAY=")
		return cmd
	}
	c.missing = c.consented(ctx)
	return c, ctx.Err()
}

func packageVersion(path string) (string, error) {
	var description struct{ Version string }
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return description.Version, json.Unmarshal(raw, &description)
}

// authorizationURL finds the URL that a bridge prints for the user to open.
var authorizationURL = regexp.MustCompile(`http://127\.0\.0\.1:\d+/authorize\?\S+`)

// consented signs a contestant in that only does so as it starts: its standard
// error is read for the URL, which is then opened.
func (c *contestant) consented(ctx context.Context) error {
	read, write := io.Pipe()
	h, err := launch(c.start(ctx), write)
	if err != nil {
		return err
	}
	var reading sync.WaitGroup
	var said strings.Builder
	reading.Go(func() {
		opened := false
		for chunk := make([]byte, 4096); ; {
			n, err := read.Read(chunk)
			if err != nil {
				return
			}
			said.Write(chunk[:n])
			// The rest of a line may come with the next chunk.
			if end := strings.LastIndexByte(said.String(), '\n'); !opened && end >= 0 {
				if address := authorizationURL.FindString(said.String()[:end]); address != "" {
					opened = true
					if _, err := lab.Browse(ctx, address); err != nil {
						fmt.Fprintf(&said, "\n%v\n", err)
					}
				}
			}
		}
	})
	failed := h.handshake(ctx)
	_, err = h.close()
	write.Close()
	reading.Wait()
	if err = errors.Join(failed, err); err != nil {
		return fmt.Errorf("%s does not sign in: %w\n%s", c.name, err, said.String())
	}
	return nil
}

// try starts a contestant once, and has every byte of an echo checked.
func (c *contestant) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, turnLimit)
	defer cancel()
	var said bytes.Buffer
	h, err := launch(c.start(ctx), &said)
	if err != nil {
		return err
	}
	if err = h.handshake(ctx); err == nil {
		err = h.check(ctx, newPayload(1<<20))
	}
	_, closeErr := h.close()
	if err := errors.Join(err, closeErr); err != nil {
		return fmt.Errorf("%w\n%s", err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}

// rejected makes sure that the server rejects a request without a token.
func rejected(ctx context.Context, target string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("the server responds to a request without a token with status %d", resp.StatusCode)
	}
	return nil
}
