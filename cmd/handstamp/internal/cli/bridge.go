package cli

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/handstamp/handstamp/bridge"
	"github.com/spf13/cobra"
)

// bridgeConnections is how many connections to a server are kept for the next
// request: an MCP host may have many requests under way.
const bridgeConnections = 64

// bridgeMemory is the size, in bytes, from which on the garbage collector works harder: an
// MCP host starts a bridge for each server, and they run all day.
const bridgeMemory = 56 << 20

// bridgeGarbage is how much garbage there may be before it is collected, in percent of what is in use.
// With 100, one call in a hundred waits for a collection; it takes 4 MiB.
const bridgeGarbage = 200

// bridgeReadBuffer is how many bytes are read from a connection at once: chunks of a
// response come in pieces otherwise, a system call each.
const bridgeReadBuffer = 32 << 10

// bridgeInitializeWait is how long the MCP host's initialize waits for the server: some
// hosts give up after 5 s.
const bridgeInitializeWait = 4 * time.Second

// bridgeCommand is handstamp bridge.
type bridgeCommand struct {
	*app
	login   loginOptions
	policy  string // "" takes HANDSTAMP_LOGIN, then auto
	wire    string
	wait    time.Duration // for the server, with the MCP host's initialize; zero: no limit
	headers headerOptions
	tools   toolFilter
	remote  remoteFlags
	memory  int             // MiB
	direct  bool            // tools or call: the user is at the terminal, not an MCP host
	carried *carriedSecrets // what the user is not shown; nil unless direct
}

func (a *app) newBridge() *cobra.Command { return (&bridgeCommand{app: a}).command() }

func (b *bridgeCommand) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bridge <server> [callback-port]",
		Short: "Run a stdio MCP server in front of a remote one",
		Long: `Run an MCP server on standard input and output, in front of a remote one that
requires a login. An MCP host (an editor, a desktop assistant, an agent) starts it
where it would start a local server.

The first time, a browser opens, once for all bridges on this machine. Until the
user has signed in, the MCP host sees a tool that describes what to do. From then on
every bridge starts without a login. With --login=never no browser opens: the MCP
host gets an error that names the command to run.

The flags of mcp-remote are accepted too, with the callback port after the server.`,
		Example: `  {"mcpServers": {"linear": {
    "command": "handstamp", "args": ["bridge", "https://mcp.linear.app/mcp"]}}}`,
		Args: between(1, 2, "one server"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := b.remote.apply(b, cmd.Flags(), args); err != nil {
				return err
			}
			return b.run(cmd.Context(), args[0])
		},
	}
	flags := cmd.Flags()
	b.bind(cmd, "http-first", "http-only", "sse-first", "sse-only")
	for _, name := range []string{"paste", "client-secret-stdin"} {
		_ = flags.MarkHidden(name) // they read standard input, which is the MCP host's
	}
	flags.DurationVar(&b.wait, "initialize-wait", bridgeInitializeWait,
		"respond to initialize in place of a server that takes longer (0: wait without limit)")
	b.tools.bind(flags)
	b.remote.bind(b, flags)
	flags.IntVar(&b.memory, "max-memory", defaultMaxMemory,
		"how much memory the process may take, in `MiB`: long messages wait for one another")
	return cmd
}

func (b *bridgeCommand) run(ctx context.Context, arg string) error {
	if b.wait < 0 {
		return usage("--initialize-wait is a duration of zero or more")
	}
	if b.memory < leastMaxMemory {
		return usage("--max-memory is at least %d, in MiB", leastMaxMemory)
	}
	if b.login.paste || b.login.secret.stdin {
		return usage("standard input belongs to the MCP host: use --client-secret-file or " +
			"--client-secret-env, and run handstamp login --paste beforehand")
	}
	if b.env.get("HANDSTAMP_STORE_PASSPHRASE_FILE") == "-" {
		return usage("standard input belongs to the MCP host: name a file with " +
			"HANDSTAMP_STORE_PASSPHRASE_FILE or HANDSTAMP_STORE_KEY_FILE")
	}
	t, err := b.targetWith(arg, &b.login, &b.headers)
	if err != nil {
		return err
	}
	o, err := b.options(ctx, t)
	if err != nil {
		return err
	}
	if b.terminalIn() && !b.global.quiet {
		b.err.note("", "The bridge is an MCP server on standard input and output, "+
			"for an MCP host to start")
		b.err.note("", "To try the server from a terminal, press Ctrl-C and run: %s", t.command("tools"))
	}
	// All that is left to do shares one limit, which begins with the host's signal.
	ending := func() { b.endBy.CompareAndSwap(nil, new(time.Now().Add(closeTimeout))) }
	defer context.AfterFunc(ctx, ending)()
	o.Stdin, o.Stdout = endReader{b.in, ending}, b.out.w
	if b.env.get("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bridgeMemory)
	}
	if b.env.get("GOGC") == "" {
		debug.SetGCPercent(bridgeGarbage)
	}
	return bridge.Run(ctx, *o)
}

// endReader is a reader that reports its end.
type endReader struct {
	io.Reader
	ended func()
}

func (e endReader) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if err != nil {
		e.ended()
	}
	return n, err
}

// SyscallConn implements syscall.Conn where the reader does.
func (e endReader) SyscallConn() (syscall.RawConn, error) {
	if c, ok := e.Reader.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}
