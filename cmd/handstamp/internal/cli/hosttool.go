package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/mcphost"
	"github.com/handstamp/handstamp/cmd/handstamp/internal/splice"
)

// tool returns the path of the host's own command, "" where the file is written. An entry that is
// there would have to be removed first: it would be lost if this process ended there, and could not be
// brought back without showing what is in it to all who see command lines.
func (c *connectCommand) tool() string {
	if c.taken {
		return ""
	}
	return c.hostTool(c.host, c.hostOptions)
}

func (a *app) hostTool(h *mcphost.Host, o hostOptions) string {
	if h.Tool == "" || o.project || o.file != "" {
		return ""
	}
	tool := a.lookPath(h.Tool)
	if isBatchFile(tool) {
		return ""
	}
	return tool
}

// isBatchFile reports whether cmd.exe would run a program, on Windows: it takes what is in the quotes of
// JSON for commands, and puts variables into it.
func isBatchFile(path string) bool {
	return slices.Contains([]string{".cmd", ".bat"}, strings.ToLower(filepath.Ext(path)))
}

// writeByTool has Claude Code's own command add the entry: Claude Code writes to its file all
// the time, and might overwrite what others do.
func (c *connectCommand) writeByTool(ctx context.Context, tool string) error {
	entry := string(splice.Compact(c.object()))
	r := &c.result
	add := []string{"mcp", "add-json", r.Name, entry, "--scope", "user"}
	r.Command = append([]string{c.host.Tool}, add...)
	if c.dryRun {
		r.Outcome = outcomeWould
		return c.print(r, func() {
			c.out.line("%s", shellLine(r.Command))
			c.err.note("", "Nothing was run: this was a dry run")
		})
	}
	if err := c.runTool(ctx, tool, add...); err != nil {
		return err
	}
	if after, err := c.toolEntry(); err != nil || after == nil {
		return &failure{kind: kindOther, message: c.host.Tool + " reports success, but the entry is not in " + r.File}
	}
	r.Outcome = outcomeWritten
	return c.show("Connected", nil)
}

// toolEntry returns the entry of this name in the host's file, nil if there is none.
func (c *connectCommand) toolEntry() (*mcphost.Entry, error) {
	text, err := mcphost.ReadFile(c.result.File)
	if err != nil {
		return nil, err
	}
	exe, _ := c.executable()
	entries, err := c.host.Entries(text, exe)
	for i := range entries {
		if entries[i].Name == c.result.Name {
			return &entries[i], nil
		}
	}
	return nil, err
}

// toolTimeout bounds the run of a host's own command.
const toolTimeout = time.Minute

// runTool runs a host's own command. What that leaves running is not waited for.
func (a *app) runTool(ctx context.Context, tool string, args ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, toolTimeout, errors.New("it does not end"))
	defer cancel()
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.WaitDelay = time.Second
	cmd.Env = a.env.without(append(a.storeSecret(), tokenVariable, "HANDSTAMP_CLIENT_SECRET")...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return &failure{kind: kindOther, err: cmp.Or(context.Cause(ctx), err),
			message: tool + " " + strings.Join(args[:2], " ") + ": " + short(strings.TrimSpace(out.String()))}
	}
	return nil
}

// shellLine returns a command line to paste into a shell.
func shellLine(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = shellWord(word)
	}
	return strings.Join(quoted, " ")
}
