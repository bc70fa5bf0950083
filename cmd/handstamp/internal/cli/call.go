package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// maxArguments bounds arguments that are read from standard input, in bytes.
const maxArguments = 16 << 20

// newTools returns handstamp tools.
func (a *app) newTools() *cobra.Command {
	b := &bridgeCommand{app: a}
	cmd := &cobra.Command{
		Use:   "tools <server>",
		Short: "List the tools of a server",
		Long: `List the tools of a server with their arguments, through the bridge: signed in to
if it has to be, and by whatever version of MCP it speaks.`,
		Example:           `  handstamp tools mcp.example.com/mcp`,
		Args:              exactly(1, "one server"),
		ValidArgsFunction: a.completeServers,
		RunE:              func(cmd *cobra.Command, args []string) error { return b.list(cmd.Context(), args[0]) },
	}
	b.bindDirect(cmd)
	return cmd
}

// newCall returns handstamp call.
func (a *app) newCall() *cobra.Command {
	b := &bridgeCommand{app: a}
	cmd := &cobra.Command{
		Use:   "call <server> <tool> [json | name=value…]",
		Short: "Call a tool of a server",
		Long: `Call a tool of a server, through the bridge. Arguments are a JSON object, or - to
read one from standard input, or name=value pairs, whose values are texts unless
the tool wants something else.

Texts of the result go to standard output; --json writes the result as it is. A
tool that reports an error makes the exit code 1.`,
		Example: `  handstamp call mcp.example.com/mcp search query="open issues" limit=5
  handstamp call mcp.example.com/mcp search '{"query": "open issues", "limit": 5}'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usage("call takes a server and a tool; handstamp tools <server> lists them")
			}
			return nil
		},
		ValidArgsFunction: a.completeServers,
		RunE: func(cmd *cobra.Command, args []string) error {
			return b.call(cmd.Context(), args[0], args[1], args[2:])
		},
	}
	b.bindDirect(cmd)
	return cmd
}

// bindDirect binds the bridge's flags that concern a person at a terminal.
func (b *bridgeCommand) bindDirect(cmd *cobra.Command) {
	b.login.bind(cmd)
	bindChoice(cmd, cmd.Flags(), &b.policy, "login", "may a browser open where nothing stored works (HANDSTAMP_LOGIN, auto)", "auto", "never")
	bindChoice(cmd, cmd.Flags(), &b.wire, "transport", "how to speak to the server (auto)", "auto", "http", "sse")
	b.headers.bind(cmd.Flags())
}

// connect begins a session with the server that an argument names.
func (b *bridgeCommand) connect(ctx context.Context, arg string) (*mcpHost, error) {
	if err := b.login.check(); err != nil {
		return nil, err
	}
	t, err := b.targetWith(arg, &b.login, &b.headers)
	if err != nil {
		return nil, err
	}
	return b.host(ctx, t)
}

func (b *bridgeCommand) list(ctx context.Context, server string) error {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	h, err := b.connect(ctx, server)
	if err != nil {
		return err
	}
	defer h.close()
	tools, err := h.tools()
	if err != nil {
		return err
	}
	if b.global.json {
		raw := make([]json.RawMessage, 0, len(tools))
		for _, t := range tools {
			raw = append(raw, t.raw)
		}
		return b.out.json(map[string]any{"tools": raw}, true)
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
		about, _, _ := strings.Cut(strings.TrimSpace(first(t.Description, t.Title)), "\n")
		fmt.Fprintln(&text, strings.TrimRight(fmt.Sprintf("%-*s  %s", width, clean(t.Name), clean(about)), " "))
		if arguments := t.arguments(); arguments != "" {
			fmt.Fprintf(&text, "    arguments: %s\n", arguments)
		}
	}
	return b.out.data([]byte(text.String()))
}

func (b *bridgeCommand) call(ctx context.Context, server, name string, words []string) error {
	given, pairs, err := b.arguments(words)
	if err != nil {
		return err
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	h, err := b.connect(ctx, server)
	if err != nil {
		return err
	}
	defer h.close()
	var tools []*tool
	if slices.ContainsFunc(pairs, ambiguous) {
		if tools, err = h.tools(); err != nil {
			return err
		}
	}
	if len(pairs) > 0 {
		if given, err = typed(pairs, toolNamed(tools, name)); err != nil {
			return err
		}
	}
	result, err := h.request("tools/call", map[string]any{
		"name": name, "arguments": given, "_meta": map[string]any{"progressToken": "call"},
	})
	if rejected, ok := errors.AsType[*rpcError](err); ok {
		return h.wrongCall(rejected, tools, name, pairs)
	}
	if err != nil {
		return err
	}
	return b.showResult(result)
}

// wrongCall returns why a call was rejected: for a reason that the list of tools
// shows, or the server's own.
func (h *mcpHost) wrongCall(rejected *rpcError, tools []*tool, name string, pairs [][2]string) error {
	if tools == nil {
		tools, _ = h.tools()
	}
	if len(tools) == 0 {
		return rejected
	}
	t := toolNamed(tools, name)
	if t == nil {
		names := make([]string, 0, len(tools))
		for _, t := range tools {
			names = append(names, t.Name)
		}
		return usage("the server has no tool %q%s", name, didYouMean(name, names))
	}
	if _, err := typed(pairs, t); err != nil {
		return err
	}
	return rejected
}

// ambiguous reports whether the value of a pair may be a text or something else,
// which the tool's schema decides. Every other value is a text.
func ambiguous(pair [2]string) bool { return json.Valid([]byte(pair[1])) }

// arguments reads a call's arguments: an object, or pairs whose types the tool
// decides.
func (b *bridgeCommand) arguments(words []string) (given json.RawMessage, pairs [][2]string, err error) {
	switch {
	case len(words) == 0:
		return json.RawMessage("{}"), nil, nil
	case len(words) == 1 && words[0] == "-":
		if given, err = io.ReadAll(io.LimitReader(b.in, maxArguments)); err != nil {
			return nil, nil, err
		}
	case len(words) == 1 && strings.HasPrefix(strings.TrimSpace(words[0]), "{"):
		given = json.RawMessage(words[0])
	default:
		for _, word := range words {
			name, value, ok := strings.Cut(word, "=")
			if !ok || name == "" {
				return nil, nil, usage("arguments are one JSON object, - or name=value pairs, not %q", word)
			}
			if slices.ContainsFunc(pairs, func(p [2]string) bool { return p[0] == name }) {
				return nil, nil, usage("the argument %s is given twice; write an array as JSON", name)
			}
			pairs = append(pairs, [2]string{name, value})
		}
		return nil, pairs, nil
	}
	given = bytes.TrimSpace(given)
	if len(given) == 0 || given[0] != '{' || !json.Valid(given) {
		return nil, nil, usage("the arguments are no JSON object")
	}
	return given, nil, nil
}

// typed makes an object of pairs. A value is a text unless the tool's schema says
// otherwise.
func typed(pairs [][2]string, t *tool) (json.RawMessage, error) {
	object := make(map[string]any, len(pairs))
	for _, pair := range pairs {
		object[pair[0]] = pair[1]
		if t == nil {
			continue
		}
		property, known := t.InputSchema.Properties[pair[0]]
		if known && wantsText(property.Type) && !json.Valid([]byte(pair[1])) {
			continue
		}
		if known && property.Type != "string" && json.Valid([]byte(pair[1])) {
			object[pair[0]] = json.RawMessage(pair[1])
		} else if known && property.Type != "string" && property.Type != nil {
			return nil, usage("the argument %s of %s is of type %v, which %q is not", pair[0], t.Name, property.Type, pair[1])
		}
	}
	return json.Marshal(object)
}

// wantsText reports whether a schema's type, or one of its types, is a text.
func wantsText(t any) bool {
	types, ok := t.([]any)
	return t == "string" || ok && slices.Contains(types, any("string"))
}

func toolNamed(tools []*tool, name string) *tool {
	for _, t := range tools {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// showResult writes the result of a tool.
func (b *bridgeCommand) showResult(raw json.RawMessage) error {
	var result struct {
		Content []struct {
			Type, Text, MimeType, URI, Name string
			Data                            []byte
			Resource                        *struct{ URI, Text, MimeType string }
		}
		StructuredContent json.RawMessage
		IsError           bool
	}
	if json.Unmarshal(raw, &result) != nil {
		return &failure{kind: kind{"protocol", exitProtocol}, message: "the tool's result cannot be read"}
	}
	var text strings.Builder
	for _, c := range result.Content {
		switch {
		case c.Type == "text":
			fmt.Fprintln(&text, c.Text)
		case c.Type == "resource" && c.Resource != nil && c.Resource.Text != "":
			fmt.Fprintln(&text, c.Resource.Text)
		case c.Type == "resource" && c.Resource != nil:
			fmt.Fprintf(&text, "[resource %s]\n", c.Resource.URI)
		case c.Type == "resource_link":
			fmt.Fprintf(&text, "[%s %s]\n", c.Name, c.URI)
		default:
			fmt.Fprintf(&text, "[%s, %s, %d bytes; --json shows it]\n", c.Type, c.MimeType, len(c.Data))
		}
	}
	if text.Len() == 0 && result.StructuredContent != nil {
		text.Write(result.StructuredContent)
		text.WriteByte('\n')
	}
	shown := []byte(text.String())
	if b.out.terminal {
		shown = []byte(cleanLines(text.String())) // a server's text must not drive a terminal
	}
	var err error
	switch {
	case b.global.json:
		err = b.out.json(raw, true)
	case result.IsError:
		return &failure{kind: kindOther, message: "the tool reports an error: " + b.carried.redact(strings.TrimSpace(text.String()))}
	default:
		err = b.out.data(shown)
	}
	if err == nil && result.IsError {
		return exitStatus(exitOther)
	}
	return err
}

// cleanLines is clean for a text of several lines.
func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = clean(line)
	}
	return strings.Join(lines, "\n")
}
