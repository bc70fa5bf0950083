package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// newTools returns handstamp tools.
func (a *app) newTools() *cobra.Command {
	b := &bridgeCommand{app: a}
	cmd := &cobra.Command{
		Use:   "tools <server>",
		Short: "List the tools of a server",
		Long: `List the tools of a server with their arguments, through the bridge: it signs in
where that is needed, and works with every version of MCP.`,
		Example: `  handstamp tools mcp.example.com/mcp`,
		Args:    exactly(1, "one server"),
		RunE:    withArgs(b.list),
	}
	b.bind(cmd)
	return cmd
}

// newCall returns handstamp call.
func (a *app) newCall() *cobra.Command {
	b := &bridgeCommand{app: a}
	cmd := &cobra.Command{
		Use:   "call <server> <tool> [json | name=value…]",
		Short: "Call a tool of a server",
		Long: `Call a tool of a server, through the bridge. Arguments are a JSON object, or - to
read one from standard input, or name=value pairs, whose values are strings unless
the tool's schema has another type.

The text of the result goes to standard output; --json writes the result as it is.
If the tool reports an error, the exit code is 1.`,
		Example: `  handstamp call mcp.example.com/mcp search query="open issues" limit=5
  handstamp call mcp.example.com/mcp search '{"query": "issues", "limit": 5}'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usage("call takes a server and a tool; handstamp tools <server> lists them")
			}
			return nil
		},
		RunE: withArgs(b.call),
	}
	b.bind(cmd)
	return cmd
}

// bind binds the bridge's flags that make sense at a terminal, too, and more transports.
func (b *bridgeCommand) bind(cmd *cobra.Command, transports ...string) {
	b.login.bind(cmd)
	bindLoginPolicy(cmd, &b.policy, "auto")
	bindChoice(cmd, &b.wire, "transport", "how to talk to the server (default auto)",
		append([]string{"auto", "http", "sse"}, transports...)...)
	b.headers.bind(cmd.Flags())
}

// connect begins a session with the server that an argument names.
func (b *bridgeCommand) connect(ctx context.Context, arg string) (*mcpHost, error) {
	t, err := b.targetWith(arg, &b.login, &b.headers)
	if err != nil {
		return nil, err
	}
	return b.host(ctx, t)
}

func (b *bridgeCommand) list(ctx context.Context, args []string) error {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	h, err := b.connect(ctx, args[0])
	if err != nil {
		return err
	}
	defer h.close()
	tools, err := h.tools()
	if err != nil {
		return err
	}
	if b.global.json {
		return b.out.json(map[string]any{"tools": tools}, true)
	}
	if len(tools) == 0 {
		b.err.note("", "The server has no tools")
		return nil
	}
	width := 0
	for _, t := range tools {
		width = max(width, len(clean(t.Name)))
	}
	var text strings.Builder
	for _, t := range tools {
		about, _, _ := strings.Cut(strings.TrimSpace(cmp.Or(t.Description, t.Title)), "\n")
		line := fmt.Sprintf("%-*s  %s", width, clean(t.Name), clean(about))
		fmt.Fprintln(&text, strings.TrimRight(line, " "))
		if arguments := t.arguments(); arguments != "" {
			fmt.Fprintf(&text, "    arguments: %s\n", arguments)
		}
	}
	return b.out.data([]byte(text.String()))
}

func (b *bridgeCommand) call(ctx context.Context, args []string) error {
	server, name := args[0], args[1]
	arguments, err := interruptible(b.app, func() (toolArguments, error) {
		return parseArguments(args[2:], b.in)
	})
	if err != nil {
		return listTools(err, server, b.repeated())
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	h, err := b.connect(ctx, server)
	if err != nil {
		return err
	}
	defer h.close()
	var tools []*tool
	if arguments.ambiguous() {
		if tools, err = h.tools(); err != nil {
			return err
		}
	}
	object, err := arguments.typed(toolNamed(tools, name))
	if err != nil {
		return listTools(err, server, b.repeated())
	}
	result, err := h.request("tools/call", map[string]any{
		"name": name, "arguments": object, "_meta": map[string]any{"progressToken": "call"},
	})
	if rejected, ok := errors.AsType[*rpcError](err); ok {
		return listTools(h.wrongCall(rejected, tools, name, arguments), server, b.repeated())
	}
	if err != nil {
		return err
	}
	return b.showResult(result)
}

// listTools adds the command that lists a server's tools to an error about their use.
func listTools(err error, server, flags string) error {
	if kindOf(err) != kindUsage {
		return err
	}
	return &advised{err: err, command: "handstamp tools " + shellWord(server) + flags}
}

// wrongCall returns why a call was rejected: for a reason that the list of tools
// shows, or the server's own.
func (h *mcpHost) wrongCall(
	rejected *rpcError, tools []*tool, name string, arguments toolArguments,
) error {
	if tools == nil {
		tools, _ = h.tools()
	}
	if len(tools) == 0 {
		return rejected
	}
	t := toolNamed(tools, name)
	if t == nil {
		var names []string
		for _, t := range tools {
			names = append(names, t.Name)
		}
		return usage("the server has no tool %q%s", name, didYouMean(name, names))
	}
	if _, err := arguments.typed(t); err != nil {
		return err
	}
	return rejected
}

func toolNamed(tools []*tool, name string) *tool {
	for _, t := range tools {
		if t.Name == name {
			return t
		}
	}
	return nil
}
