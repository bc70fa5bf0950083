package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Client is an MCP client under test. Its methods are called by any number of
// goroutines, as a user starts any number of processes.
type Client interface {
	// String names the client in reports.
	String() string
	// Session is one process of the client from its start to its end: it
	// connects to the MCP server, calls the tool echo once, and is gone. The
	// error is nil if the tool call worked.
	Session(ctx context.Context, s Session) error
}

// An Ager is a Client that can make what it has stored d older, as if its clock
// had moved. For other clients, tokens live for a second where a cell needs that.
type Ager interface {
	Age(ctx context.Context, s Session, d time.Duration) error
}

// Session is what a process of a client is given.
type Session struct {
	// URL of the MCP server.
	URL string
	// Home is the folder of the cell: the home directory of its user, who has
	// nothing else.
	Home string
	// Env is the environment, in which HOME and its kin are Home, and every
	// program that opens a browser is the suite's.
	Env []string
	// Setup is what an administrator has given to the client, by name; nil where it needs nothing.
	// lab.Arrangement.Write lists the names. A process finds each in its environment too, as
	// HANDSTAMP_LAB_CLIENT_ID and so on.
	Setup map[string]string
	// Open is how a client that is no process opens the browser.
	Open func(url string)
	// Retry reports that the user may be signing in: a call that is rejected meanwhile may be
	// repeated until the context ends.
	Retry bool
}

// Func is a client within this process: for the library of one's own. Each call
// has to behave like a new process, with nothing left of the calls before but
// what is stored in s.Home.
type Func struct {
	Name string
	Run  func(ctx context.Context, s Session) error
}

// String returns the name.
func (f *Func) String() string { return f.Name }

// Session calls Run.
func (f *Func) Session(ctx context.Context, s Session) error { return f.Run(ctx, s) }

// Program is a client that is given a URL, makes one tool call, and ends with
// exit code 0 if that has worked.
type Program struct {
	// Command is the program and its arguments. "{url}" in an argument is
	// replaced by the URL; without one the URL is the last argument. What is in [Session].Setup
	// is replaced likewise, as "{client_id}".
	Command []string
	// Env is added to the environment, as os.Environ has it.
	Env []string
}

// String returns the command.
func (p *Program) String() string { return strings.Join(p.Command, " ") }

// Session runs the program.
func (p *Program) Session(ctx context.Context, s Session) error {
	cmd := command(ctx, p.Command, p.Env, s)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	if cmd.Process != nil && ctx.Err() != nil {
		killGroup(cmd)
	}
	if err != nil {
		return withOutput(overdue(ctx, err), &stderr)
	}
	return nil
}

// overdue adds to an error that the time of the session was over, if it was.
func overdue(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("it was not done in time: %w", err)
	}
	return err
}

// endTimeout is how long a process may take to end after a signal.
const endTimeout = 5 * time.Second

// command makes a command of a template. When ctx ends the process and all that
// it has started get a signal to end; the caller kills what does not.
func command(ctx context.Context, template, env []string, s Session) *exec.Cmd {
	args := make([]string, len(template))
	found := false
	for i, arg := range template {
		found = found || strings.Contains(arg, "{url}")
		args[i] = s.placeholders(arg)
	}
	if !found {
		args = append(args, s.URL)
	}
	if path, err := filepath.Abs(args[0]); err == nil &&
		strings.ContainsRune(args[0], filepath.Separator) {
		args[0] = path // the process starts in its home
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(s.Env[:len(s.Env):len(s.Env)], env...)
	cmd.Dir = s.Home
	lead(cmd)
	cmd.Cancel = func() error { return interruptGroup(cmd) }
	cmd.WaitDelay = endTimeout
	return cmd
}

// maxOutput bounds how much of the output of a process an error shows.
const maxOutput = 600

// withOutput adds the end of a process's output to an error.
func withOutput(err error, stderr *bytes.Buffer) error {
	text := strings.TrimSpace(stderr.String())
	if len(text) > maxOutput {
		text = "… " + text[len(text)-maxOutput:]
	}
	if text == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, text)
}

// errNoResult reports that a tool call had no result, or a wrong one.
var errNoResult = errors.New("the tool call has no result")
