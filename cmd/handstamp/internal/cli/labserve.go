package cli

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/lab/suite"
	"github.com/spf13/cobra"
)

// labServe is handstamp lab serve.
type labServe struct {
	*app
	personality string
	addr        string
	setup       labSetup
}

func (a *app) newLabServe() *cobra.Command {
	s := &labServe{app: a}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve one personality, to try a client by hand",
		Long: `Serve an authorization server with one personality and an MCP server behind it,
on this machine. A page shows the requests as they come, and has buttons for what
happens to logins: the access token expires, the server forgets its clients.

No secret is shown: where one was, there is a fingerprint.

If a personality needs setup by an administrator, the lab does it, writes what the client
needs into files and prints their names. For a client of your own, --client-id and its
kin register it, --trust makes the server accept the tokens of a platform, and
--allow-exchange makes it, as a company's identity provider, issue ID-JAGs for another server.`,
		Example: `  handstamp lab serve --personality rotates-strictly
  handstamp lab serve --personality '{"habits": {"rotation": "grace", "grace": "30s"}}'
  handstamp lab serve --personality machine-key --setup-dir setup`,
		Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&s.personality, "personality", "none-first", personalityHelp)
	cmd.Flags().StringVar(&s.addr, "addr", "127.0.0.1:0",
		"where the page is: a loopback address and a port, 0 for a free one")
	_ = cmd.RegisterFlagCompletionFunc("personality", personalityCompletions)
	s.setup.bind(cmd)
	return cmd
}

// served is what --json prints.
type served struct {
	Personality string `json:"personality"`
	MCP         string `json:"mcp"`
	Issuer      string `json:"issuer"`
	Page        string `json:"page"`

	// Setup is what the administrator gives to the client, by name.
	Setup map[string]string `json:"setup,omitempty"`
}

func (s *labServe) run(ctx context.Context) error {
	p, err := findPersonality(s.personality)
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(s.addr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return usage("--addr is a loopback address and a port, such as 127.0.0.1:8090")
	}
	scene, err := suite.Serve(p, lab.Options{TLS: p.Habits.MTLS != (lab.MTLS{})})
	if err != nil {
		return fmt.Errorf("the lab cannot start its servers: %w", err)
	}
	defer scene.Close()
	given, end, err := s.setup.apply(scene.Server, p.Setup)
	if err != nil {
		return err
	}
	defer end()
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		return usage("--addr cannot be used: %w", err)
	}
	server := &http.Server{Handler: scene, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // it ends with Close, below
	defer server.Close()

	page := "http://" + listener.Addr().String() + "/"
	if s.global.json {
		out := served{p.Name, scene.Server.MCPURL(), scene.Server.Issuer(), page, given}
		if err := s.out.json(out, false); err != nil {
			return err
		}
	} else {
		s.out.raw(s.out.styled(styleBold, clean(p.Name)) + "  " + clean(p.Habit))
		if p.Client != "" {
			s.out.note("  ", "A client must: %s", lowerFirst(p.Client))
		}
		s.out.note("  ", "MCP server:    %s", scene.Server.MCPURL())
		s.out.note("  ", "Requests:      %s", page)
		for _, name := range slices.Sorted(maps.Keys(given)) {
			s.out.note("  ", "%-14s %s", name+":", given[name])
		}
		s.out.note("  ", "Stop with Ctrl-C")
	}
	<-ctx.Done()
	return nil
}
