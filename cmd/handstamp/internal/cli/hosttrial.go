package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// trialTimeout bounds each attempt to start the bridge as a host does.
const trialTimeout = 15 * time.Second

// try starts the bridge with what the host is sure to pass on of its environment, and notes
// what is missing. Without a login it would only say so: then no network is used, and only the
// store is looked for.
func (c *connectCommand) try(ctx context.Context) {
	note := func(text string) { c.result.Notes = append(c.result.Notes, text) }
	here, err := c.entry(ctx, c.target)
	switch {
	case err != nil && kindOf(err) == kindStore:
		note("the credential store cannot be used: " + err.Error())
		return
	case err != nil:
		note("the bridge is not tried: " + err.Error())
		return
	}
	usable := here.Usable()
	code, report := c.bareStatus(ctx)
	switch {
	case code == exitStore:
		note("with what " + c.host.Name + " passes on of its environment, the bridge cannot use the " +
			"credential store: " + report)
	case code == exitLogin && usable:
		note("with what " + c.host.Name + " passes on of its environment, the bridge does not find the " +
			"login that is stored here: it looks elsewhere")
	case !usable:
		note("no user is signed in yet: run " + c.target.command("login") +
			", or the bridge opens a browser when the MCP host first starts it")
	case code == exitOK && usable:
		if problem := c.bareBridge(ctx); problem != "" {
			note("tried as " + c.host.Name + " starts it, the bridge reports: " + problem)
		}
	}
}

// missingVariables returns the variables that hold what the bridge needs, and that the host may
// keep from it. They may be secrets, so they are not written into the entry.
func (c *connectCommand) missingVariables() []string {
	conf := c.target.config
	names := append(conf.variables(), conf.ClientSecretEnv)
	for i, arg := range c.server.Args {
		if i > 0 && strings.HasSuffix(c.server.Args[i-1], "-env") {
			names = append(names, arg)
		}
	}
	values := append(slices.Collect(maps.Values(conf.Headers)), c.server.Args...)
	for _, match := range variable.Get().FindAllStringSubmatch(strings.Join(values, " "), -1) {
		names = append(names, match[1])
	}
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HANDSTAMP_CLIENT_SECRET", tokenVariable} {
		if value := c.env.get(name); value != "" && (strings.Contains(value, "@") || strings.HasPrefix(name, "HANDSTAMP")) {
			names = append(names, name)
		}
	}
	if c.global.Store == "" {
		names = append(names, c.storeSecret()...)
	}
	slices.Sort(names)
	passed := c.bareEnv()
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool {
		return !variable.Get().MatchString("${"+name+"}") || passed.get(name) != ""
	})
}

// bare returns the command of the entry as a host would start it: in which folder is not known, but
// for a project's. Only its flags that are about the login are kept where it is another command
// than bridge.
func (c *connectCommand) bare(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.server.Command, args...)
	if !c.project {
		cmd.Dir = filepath.VolumeName(c.server.Command) + string(filepath.Separator)
	}
	cmd.Env = c.bareEnv().with("HANDSTAMP_LOGIN", "never")
	cmd.WaitDelay = time.Second
	return cmd
}

// bareEnv returns the environment that the bridge is sure to have.
func (c *connectCommand) bareEnv() environment {
	env := environment(c.host.Env.Bare(c.env))
	for _, m := range slices.Concat(c.server.Env, c.kept) {
		if env = env.without(m.Name); m.Value != nil {
			env = env.with(m.Name, fmt.Sprint(m.Value))
		}
	}
	return env
}

// bareStatus has the program look for the login, and returns its exit code and its error.
func (c *connectCommand) bareStatus(ctx context.Context) (code int, message string) {
	ctx, cancel := context.WithTimeout(ctx, trialTimeout)
	defer cancel()
	args := []string{"status", c.server.Args[1], "--json"}
	for _, flag := range []string{"--profile", "--store", "--tenant", "--user"} {
		if value := flagValue(c.server.Args, flag); value != "" {
			args = append(args, flag, value)
		}
	}
	if slices.Contains(c.server.Args, "--allow-http") {
		args = append(args, "--allow-http")
	}
	cmd := c.bare(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	if exited, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exited.ExitCode()
	} else if err != nil {
		return exitOther, err.Error()
	}
	var out struct {
		Error struct{ Message string }
	}
	_ = json.Unmarshal(stderr.Bytes(), &out)
	return code, short(out.Error.Message)
}

const noResponse = "it ended without a response"

// bareBridge starts the bridge, sends initialize, and returns what is wrong with the response.
func (c *connectCommand) bareBridge(ctx context.Context) (problem string) {
	ctx, cancel := context.WithTimeout(ctx, trialTimeout)
	defer cancel()
	cmd := c.bare(ctx, c.server.Args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err.Error()
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err.Error()
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return err.Error()
	}
	defer func() {
		in.Close()
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil && problem == noResponse {
			first, _, _ := strings.Cut(stderr.String(), "\n")
			problem = cmp.Or(short(strings.TrimPrefix(first, "X ")), problem)
		}
	}()
	_, err = io.WriteString(in, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{`+
		`"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"handstamp","version":"trial"}}}`+"\n")
	if err != nil {
		return noResponse
	}
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return noResponse
		}
		var m struct {
			ID     json.RawMessage
			Result json.RawMessage
			Error  json.RawMessage
		}
		if json.Unmarshal(line, &m) != nil || string(m.ID) != "1" {
			continue
		}
		if e := errorOf(m.Error); e != nil {
			return short(e.Message)
		}
		return ""
	}
}

// lookPath finds a program in the folders of PATH, "" if it is in none.
func (a *app) lookPath(name string) string {
	for _, dir := range filepath.SplitList(a.env.get("PATH")) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil && filepath.IsAbs(path) {
			return path
		}
	}
	return ""
}

// shownURL is a URL of a host's file as it is printed: a query may hold a secret.
func shownURL(rawURL string) string {
	u, err := parseURL(rawURL)
	if err != nil {
		return clean(shownWrongURL(rawURL))
	}
	query := u.RawQuery
	if u.RawQuery = ""; query != "" {
		return u.String() + "?…"
	}
	return clean(rawURL)
}

// shownWrongURL is shownURL for what no server's URL can be. Where the end of a password is not
// certain, nothing is shown of what follows the scheme.
func shownWrongURL(rawURL string) string {
	scheme, rest := "", rawURL
	if i := strings.Index(rawURL, "://"); i >= 0 {
		scheme, rest = rawURL[:i+3], rawURL[i+3:]
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	if strings.Contains(rest[end:], "@") {
		return scheme + "…"
	}
	host := rest[strings.LastIndex(rest[:end], "@")+1 : end]
	path := rest[end:]
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		path = path[:i]
	}
	return scheme + host + path
}
