package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/handstamp/handstamp/internal/webpage"
	"github.com/spf13/cobra"
)

// serveCommand is handstamp serve.
type serveCommand struct {
	*app
	port            int
	open, noBrowser bool
	service         serviceOptions
}

func (a *app) newServe() *cobra.Command {
	s := &serveCommand{app: a}
	cmd := &cobra.Command{
		Use:   "serve [server…]",
		Short: "Serve a page with the logins, or access tokens to other programs",
		Long: `Serve a page on this machine that shows the servers and their logins, signs in and
out, and shows what happens to them as it happens. Without a server, it shows all
that are stored or configured.

Each signed-in server is also an MCP server at /mcp/NAME of the same address, for MCP
hosts that speak HTTP and no OAuth. Each has a bearer token of its own: the page shows
what to configure, and --json prints it. Port and tokens stay the same the next time.
An MCP host never starts a login: where one is required, it gets an error, and the page
has a button.

If the page is served already, a second handstamp serve opens it, and ends, unless --port
names another port.

With --store postgres://… there is no page. It serves access tokens of the users in the
database to programs in any language: GET /v1/token and /v1/logins, on loopback
(--listen), at a Unix socket (--socket), or to other machines over mTLS (--tls-cert,
--tls-key, --tls-client-ca). handstamp caller add adds a program that may make requests.`,
		Example: `  handstamp serve
  handstamp serve linear --port 8400
  handstamp serve --json
  handstamp serve --store postgres:///handstamp --socket /run/handstamp/service.sock`,
		RunE: withArgs(s.run),
	}
	flags := cmd.Flags()
	flags.IntVar(&s.port, "port", 0, "listen on this port (by default the same as last time)")
	flags.BoolVar(&s.open, "open", false, "open the page in the browser, with --json too")
	flags.BoolVar(&s.noBrowser, "no-browser", false,
		"open no browser, only show the URL (environment: HANDSTAMP_NO_BROWSER)")
	s.service.bind(flags)
	return cmd
}

// serveOutput is what --json prints.
type serveOutput struct {
	URL     string        `json:"url"` // lets a browser in: a secret
	Already bool          `json:"already_served,omitempty"`
	Servers []serveServer `json:"servers"`
}

// serveServer is a server that is re-exposed.
type serveServer struct {
	Name     string `json:"name"`
	Server   string `json:"server"`
	Profile  string `json:"profile"`
	SignedIn bool   `json:"signed_in"`
	URL      string `json:"url"`
	Bearer   string `json:"bearer"`
}

// check finds flags that cannot work.
func (s *serveCommand) check() error {
	switch {
	case s.open && s.noBrowser:
		return usage("--open and --no-browser contradict each other")
	case s.port < 0 || s.port > 65535:
		return usage("--port is a number up to 65535")
	}
	return nil
}

func (s *serveCommand) run(ctx context.Context, args []string) error {
	if err := s.check(); err != nil {
		return err
	}
	switch choice, err := s.chosenStore(); {
	case err != nil:
		return err
	case isDatabase(choice.word):
		return s.runService(ctx, choice.word, args)
	case s.service != (serviceOptions{}):
		return usage("--listen, --socket and the other flags of the token service need " +
			"--store postgres://…")
	}
	b, err := s.newServeBackend(args)
	if err != nil {
		return err
	}
	b.noBrowser = s.noBrowser
	servers, err := b.Servers(ctx)
	if err != nil {
		return err
	}
	port := s.port
	listener, place, err, unkept := b.state.begin(func(last int) (net.Listener, error) {
		port = cmp.Or(port, last)
		return listenLocally(ctx, port)
	})
	if err != nil {
		if link, ok := place.runningPage(ctx, port); ok {
			return s.show(b, link, place.host(), servers, true)
		}
		return portError(port, place.Port, err)
	}
	defer listener.Close()
	if unkept != nil {
		s.notice("port and bearer tokens last only until the page ends: " + unkept.Error())
	}
	page := webpage.New(webpage.Options{Backend: b, Host: place.host(),
		Control: place.Control, Proof: place.Proof})
	b.page.Store(page)
	server := &http.Server{Handler: page, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10,
		IdleTimeout: 2 * time.Minute, ErrorLog: webpage.NoLog}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	defer func() {
		page.Close()
		b.end()
		_ = server.Close()
	}()
	if err := s.show(b, page, place.host(), servers, false); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return fmt.Errorf("the page can no longer be served: %w", err)
	case <-ctx.Done():
		return nil // it was stopped as it is to be stopped
	}
}

// listenLocally listens on a port of the loopback interface, 0 for a free one.
func listenLocally(ctx context.Context, port int) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, "tcp4",
		net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

// portError returns the error for a port that cannot be used. Another port than the last one is no
// way out: MCP hosts are configured with that.
func portError(port, last int, err error) error {
	message := fmt.Sprintf("port %d cannot be used", port)
	if errors.Is(err, syscall.EADDRINUSE) {
		message = fmt.Sprintf("another program uses port %d", port)
		if port == last {
			message += ", at which the page was served last time"
		}
		err = nil
	}
	return &failure{kind: kindOther, message: message, err: err,
		hint: "end that program, or choose another port with --port; MCP hosts then need the new address"}
}

// linker returns links to a page: one that can be passed to a browser as an argument, and one
// that can be shown.
type linker interface{ Link(once bool) string }

// show prints where the page and the servers are, and opens the page.
func (s *serveCommand) show(b *serveBackend, page linker, host string, servers []webpage.Server,
	already bool,
) error {
	b.mu.Lock()
	base := b.baseProfile()
	b.mu.Unlock()
	out := serveOutput{URL: page.Link(false), Already: already, Servers: []serveServer{}}
	for _, v := range servers {
		out.Servers = append(out.Servers, serveServer{
			Name: v.Name, Server: v.URL, Profile: cmp.Or(v.Profile, base), SignedIn: v.SignedIn,
			URL: "http://" + host + "/mcp/" + v.Name, Bearer: b.Bearer(v.Name),
		})
	}
	if s.global.json {
		if err := s.out.json(out, true); err != nil {
			return err
		}
	} else {
		s.showAddresses(out)
	}
	if open, _ := s.browserFor(&loginOptions{noBrowser: s.noBrowser}); open != nil &&
		(s.open || !s.global.json) {
		if already { // the process ends, and must not take the opener with it
			return open(context.Background(), page.Link(true))
		}
		return s.openURL(open)(context.Background(), page.Link(true))
	}
	return nil
}

func (s *serveCommand) showAddresses(out serveOutput) {
	if out.Already {
		s.err.ok("", "The page is served already, by another process of yours")
	} else {
		s.err.ok("", "Your servers are on a page on this machine")
	}
	s.err.note("", "Open: %s", out.URL)
	p := s.shown(s.err)
	for _, v := range out.Servers {
		if v.SignedIn {
			p.note("", "For MCP hosts: %s  (%s)", v.URL, v.Server)
		}
	}
	p.note("", "The page shows the bearer token of each, and so does handstamp serve --json")
	if !out.Already {
		p.note("", "Stop with Ctrl-C")
	}
}
