package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/bridge"
	"github.com/spf13/cobra"
)

// bridgeConnections is how many connections to a server are kept for the next
// request: a host may have many requests under way.
const bridgeConnections = 64

// bridgeMemory is from where on the garbage collector works harder: a host starts
// a bridge for each server, and they are there all day.
const bridgeMemory = 56 << 20

// bridgeReadBuffer is what is read from a connection at once: chunks of an answer
// come in pieces otherwise, a system call each.
const bridgeReadBuffer = 32 << 10

// bridgeInitializeWait is how long the host's initialize waits for the server: some
// hosts give up after 5 s.
const bridgeInitializeWait = 4 * time.Second

// bridgeCommand is handstamp bridge.
type bridgeCommand struct {
	*app
	login   loginOptions
	policy  string // "" takes HANDSTAMP_LOGIN, then auto
	wire    string
	wait    time.Duration // for the server, with the host's initialize; zero: without limit
	headers headerOptions
	tools   toolFilter
	remote  remoteFlags
	memory  int             // MiB
	direct  bool            // a person is here, who is asked and told as by other commands
	carried *carriedSecrets // what a person is not shown; nil unless direct
}

func (a *app) newBridge() *cobra.Command { return (&bridgeCommand{app: a}).command() }

func (b *bridgeCommand) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bridge <server> [callback-port]",
		Short: "Be a stdio MCP server in front of a remote one",
		Long: `Be an MCP server on standard input and output, in front of a remote one that
wants a login. An MCP host starts it where it would start a local server.

The first time a browser opens, once for all bridges on this machine, and the host
has a tool that says what to do until somebody has signed in. From then on every
bridge just walks in. With --login=never no browser opens: the host gets an error
that names the command to run.

The flags of mcp-remote are taken too, with the callback port after the server.`,
		Example: `  {"mcpServers": {"linear": {"command": "handstamp", "args": ["bridge", "https://mcp.linear.app/mcp"]}}}`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return exactly(1, "one server")(cmd, args)
		},

		ValidArgsFunction: b.completeServers,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := b.remote.apply(b, cmd.Flags(), args); err != nil {
				return err
			}
			return b.run(cmd.Context(), args[0])
		},
	}
	flags := cmd.Flags()
	b.login.bind(cmd)
	for _, name := range []string{"paste", "client-secret-stdin"} {
		_ = flags.MarkHidden(name) // they want standard input, which is the host's
	}
	bindChoice(cmd, flags, &b.policy, "login", "may a browser open where nothing stored works (HANDSTAMP_LOGIN, auto)", "auto", "never")
	bindChoice(cmd, flags, &b.wire, "transport", "how to speak to the server (auto)", "auto", "http", "sse", "http-first", "http-only", "sse-first", "sse-only")
	flags.DurationVar(&b.wait, "initialize-wait", bridgeInitializeWait, "answer initialize in the server's place if it takes longer than this (0: wait for as long as it takes)")
	b.headers.bind(flags)
	b.tools.bind(flags)
	b.remote.bind(flags)
	flags.IntVar(&b.memory, "max-memory", defaultMaxMemory, "what the process may take, in `MiB`: long messages wait for one another")
	return cmd
}

func (b *bridgeCommand) run(ctx context.Context, arg string) error {
	if err := b.login.check(); err != nil {
		return err
	}
	if b.wait < 0 {
		return usage("--initialize-wait is a duration of zero or more")
	}
	if b.memory < leastMaxMemory {
		return usage("--max-memory wants at least %d, in MiB", leastMaxMemory)
	}
	if b.login.paste || b.login.secret.stdin {
		return usage("standard input is the MCP host's: use --client-secret-file or --client-secret-env, and run handstamp login --paste beforehand")
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
		b.err.note("", "The bridge is an MCP server on standard input and output, which an MCP host starts and speaks to")
		b.err.note("", "To try the server from a terminal, press Ctrl-C and run: %s", t.command("tools"))
	}
	// All that is left to do shares one limit, which begins with the host's sign.
	asked := func() { b.endBy.CompareAndSwap(nil, new(time.Now().Add(closeTimeout))) }
	defer context.AfterFunc(ctx, asked)()
	o.Stdin, o.Stdout = ending{b.in, asked}, b.out.w
	if b.env.get("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bridgeMemory)
	}
	return bridge.Run(ctx, *o)
}

// ending is a reader that tells of its end.
type ending struct {
	io.Reader
	ended func()
}

func (e ending) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if err != nil {
		e.ended()
	}
	return n, err
}

// SyscallConn implements syscall.Conn where the reader does.
func (e ending) SyscallConn() (syscall.RawConn, error) {
	if c, ok := e.Reader.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// options returns what connects to a server, and what says how.
func (b *bridgeCommand) options(ctx context.Context, t *target) (*bridge.Options, error) {
	policy, err := loginPolicy(first(b.policy, b.env.get("HANDSTAMP_LOGIN"), "auto"))
	if err != nil {
		return nil, err
	}
	tool, err := b.tools.match()
	if err != nil {
		return nil, err
	}
	header, err := b.headers.read(b.app)
	if err != nil {
		return nil, err
	}
	c, err := b.client(t, &b.login, policy)
	if err != nil {
		return nil, err
	}
	person := new(bridge.User)
	if b.direct {
		if c.RefreshHelper != nil {
			c.RefreshHelper.Logins = false // the person may paste
		}
		if b.global.timeout > 0 { // which bounds the whole command: a login that ends first says why
			c.LoginTimeout = b.lockTimeout()
		}
	} else {
		b.involve(c, t, person)
		c.LockTimeout = 0 // no command to wait for: a slow refresh elsewhere is waited for
	}
	transport, ok := c.BaseTransport.(*http.Transport)
	if !ok {
		transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	transport.OnProxyConnectResponse = func(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		return &net.OpError{Op: "proxyconnect", Net: "tcp", Err: fmt.Errorf("the proxy %s answers with %d (%s)", proxy.Host, resp.StatusCode, http.StatusText(resp.StatusCode))}
	}
	transport.MaxIdleConnsPerHost = bridgeConnections
	transport.ReadBufferSize = bridgeReadBuffer
	limitBuffers(transport)
	b.remote.configure(c, transport)
	c.BaseTransport = bridge.NewTransport(transport)
	if fixed := b.env.get("HANDSTAMP_ACCESS_TOKEN"); fixed != "" && header.Get("Authorization") == "" {
		value, err := parseSecret([]byte(fixed), "the environment variable HANDSTAMP_ACCESS_TOKEN")
		if err != nil {
			return nil, err
		}
		header.Set("Authorization", "Bearer "+value.Reveal())
	}
	if err := b.ours(ctx, c, t); err != nil {
		return nil, err
	}
	signedIn := func(ctx context.Context) bool {
		s, err := c.Status(ctx, t.url)
		return err == nil && s.Usable()
	}
	client := c.HTTPClient(t.url)
	client.Transport = bareErrors{client.Transport}
	if b.direct {
		b.carried = &carriedSecrets{RoundTripper: client.Transport, header: header}
		client.Transport = b.carried
	}
	if !b.remote.withoutCookies {
		// Some load balancers tie a session to a cookie.
		if client.Jar, err = cookiejar.New(nil); err != nil {
			return nil, err
		}
	}
	wait := b.wait
	if b.direct || wait == 0 {
		wait = -1
	}
	return &bridge.Options{
		URL: t.url,

		InitializeWait: wait,

		HTTP:     client,
		Ping:     b.remote.pings(),
		Wire:     map[string]bridge.Wire{"http": bridge.WireHTTP, "http-only": bridge.WireHTTP, "sse": bridge.WireSSE, "sse-only": bridge.WireSSE}[b.wire],
		Header:   header,
		Tool:     tool,
		Name:     "handstamp",
		Version:  buildVersion().Version,
		User:     person,
		SignedIn: signedIn,
		Explain:  b.explain(t),
		Logger:   b.logger(),

		MaxMemory: b.memory << 20,
	}, nil
}

// ours makes sure that the stored login is the one that the flags ask for: with
// another resource or client it may be another tenant's.
func (b *bridgeCommand) ours(ctx context.Context, c *handstamp.Client, t *target) error {
	s, err := c.Status(ctx, t.url)
	if err != nil || !s.Usable() {
		return nil // what cannot be read is reported when it is needed
	}
	b.saveFlags(t)
	differs := func(what, stored, asked string) error {
		if stored == "" || asked == "" || stored == asked {
			return nil
		}
		return usage("the stored login at %s is for the %s %s, not %s: give this one a --profile of its own, or replace it with %s --force", t.name, what, stored, asked, t.command("login"))
	}
	if err := differs("resource", s.Resource, c.Resource); err != nil || c.Registration == nil {
		return err
	}
	return differs("client", s.ClientID, c.Registration.ClientID)
}

// involve tells the host of a person that is waited for.
func (b *bridgeCommand) involve(c *handstamp.Client, t *target, person *bridge.User) {
	c.Prompt.Paste = nil
	c.Prompt.Show = b.show(t, person)
	c.Prompt.Waiting = func(_ context.Context, r handstamp.AuthorizationRequest) {
		if r.URL == "" {
			person.Await("Another process is already waiting for a user to sign in to " + t.name + ", in a browser on this machine: continue there.")
			b.say("Another process is signing in to %s; waiting for it", t.name)
			return
		}
		person.Await("Another process is already waiting for a user to sign in to " + t.name + " at " + clean(r.Issuer) + ", in a browser on this machine: continue there, or open this URL in it: " + clean(r.URL))
		b.say("Another process is waiting for a sign-in to %s: %s", t.name, r.URL)
	}
	loggedIn := c.Hooks.LoggedIn
	c.Hooks.LoggedIn = func(e handstamp.LoginEvent) {
		person.Done()
		loggedIn(e)
	}
}

// show tells the host, and in one line whoever reads its log, what a person has
// to do.
func (b *bridgeCommand) show(t *target, person *bridge.User) func(context.Context, handstamp.AuthorizationRequest) {
	return func(_ context.Context, r handstamp.AuthorizationRequest) {
		open, _ := b.browserFor(&b.login)
		how := "open this URL in a browser on this machine: "
		if open != nil {
			how = "continue in the browser that has opened on this machine, or open this URL there: "
		}
		person.Await("To sign in to " + t.name + " at " + clean(r.Issuer) + ", " + how + clean(r.URL))
		b.say("Sign in to %s: %s", t.name, r.URL)
	}
}

// say writes a line to the log of the host.
func (b *bridgeCommand) say(format string, args ...any) {
	if !b.global.quiet {
		b.err.line("handstamp: "+format, args...)
	}
}

// bareErrors hands the network errors of the MCP server itself to the bridge as they
// are: it judges them, and says what they mean for a request.
type bareErrors struct{ http.RoundTripper }

func (b bareErrors) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(req)
	if e, ok := errors.AsType[*handstamp.Error](err); ok && e.Kind == handstamp.ErrServerUnreachable && e.Err != nil {
		err = e.Err
	}
	return resp, err
}

// explain returns what explains errors of the library to the MCP host. What the user has to
// act on is also written to the host's log, in one line and once.
func (b *bridgeCommand) explain(t *target) func(error) *bridge.Trouble {
	var mu sync.Mutex
	var last string
	return func(err error) *bridge.Trouble {
		tr := trouble(err, t)
		if tr == nil || b.direct || tr.Code == bridge.CodeUnreachable {
			return tr
		}
		line := tr.Message
		if tr.Command != "" {
			line += "; run: " + tr.Command
		}
		mu.Lock()
		defer mu.Unlock()
		if line != last {
			b.err.line("handstamp: %s", line)
		}
		last = line
		return tr
	}
}

// trouble says what an error of the library means to a host. It returns nil for
// what is about the MCP server itself.
func trouble(err error, t *target) *bridge.Trouble {
	e, ok := errors.AsType[*handstamp.Error](err)
	if !ok {
		return nil
	}
	k := kindOf(err)
	r := explain(context.Background(), err)
	if r.Setting != "" {
		r.Message += "; " + r.Hint
	}
	tr := &bridge.Trouble{Code: bridge.CodeSignIn, Reason: k.code, Message: r.Message}
	switch k.exit {
	case exitLogin, exitDenied:
		tr.Command = t.command("login")
		if k.code == "registration_required" || k.code == "client_rejected" {
			tr.Command += " --client-id ID"
		}
	case exitUnreachable:
		tr.Code, tr.Retry = bridge.CodeUnreachable, true
		if !e.RetryAt.IsZero() {
			tr.RetryAfter = max(0, time.Until(e.RetryAt)).Round(time.Millisecond)
		}
	case exitProtocol:
		tr.Code = bridge.CodeProtocol
		if r.Setting == "" && r.Hint != "" {
			tr.Message += "; " + r.Hint
		}
	default:
		tr.Code = bridge.CodeUnreachable
	}
	return tr
}
