package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// demoTimeout bounds the whole demo, unless it uses a real browser.
const demoTimeout = 2 * time.Minute

// demoCommand is handstamp demo.
type demoCommand struct {
	*app
	browser bool
}

func (a *app) newDemo() *cobra.Command {
	d := &demoCommand{app: a}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See it work on this machine: no account, no network",
		Long: `See it work: the demo starts an authorization server and an MCP server on this
machine, then one session after the other, each a process of its own. The first
signs in; the others walk back in, and the table shows what each one cost.

The authorization server has the habits that trip clients up: it lists the method
none first, registers every client for client_secret_post, accepts nothing else,
and revokes everything if a refresh token is used twice. The last lines show what
happens to a client that takes the first method listed.

The demo checks itself: the exit code is 1 if a session cost more than it should.
The demo does not touch your own logins, and leaves nothing behind.`,
		Args: exactly(0, "no arguments"),
		RunE: withArgs(d.run),
	}
	cmd.Flags().BoolVar(&d.browser, "browser", false,
		"sign in with a real browser instead of a simulated user")
	cmd.AddCommand(
		hidden("session <server> <text>", 2, "a server and a text", a.runDemoSession),
		hidden("browser <url>", 1, "a URL", runDemoBrowser),
	)
	return cmd
}

// demoOutput is what --json prints.
type demoOutput struct {
	Server      string            `json:"server"`
	Issuer      string            `json:"issuer"`
	Methods     []string          `json:"token_endpoint_auth_methods_supported"`
	Sessions    []*sessionOutcome `json:"sessions"`
	FirstListed *firstListed      `json:"client_that_takes_the_first_method"`
	OK          bool              `json:"ok"`
}

func (d *demoCommand) run(ctx context.Context, _ []string) error {
	if !d.browser {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, demoTimeout)
		defer cancel()
	}
	stage, err := d.newStage()
	if err != nil {
		return err
	}
	defer stage.close()

	show := &demoTable{p: d.shown(d.out)}
	show.title(stage.server)
	out := demoOutput{
		Server: stage.server.MCPURL(), Issuer: stage.server.Issuer(),
		Methods: stage.server.Habits().Methods, OK: true,
	}
	for number, scene := range scenes(d.browser) {
		show.p.progress("%d %s …", number+1, scene.name)
		outcome, err := stage.play(ctx, number+1, scene)
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("the demo was not over after %v", demoTimeout)
		}
		if err != nil {
			return err
		}
		out.Sessions = append(out.Sessions, outcome)
		out.OK = out.OK && len(outcome.Failures) == 0
		show.session(outcome)
	}
	show.p.progress("a client that takes the first method …")
	if out.FirstListed, err = takeFirst(ctx); err != nil {
		return err
	}
	out.OK = out.OK && out.FirstListed.Failure == ""
	show.first(out.FirstListed)
	show.summary(&out)
	if d.global.json {
		if err := d.out.json(out, true); err != nil {
			return err
		}
	}
	if !out.OK {
		return exitStatus(exitOther)
	}
	return nil
}
