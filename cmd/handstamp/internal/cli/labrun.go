package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/lab/suite"
	"github.com/spf13/cobra"
)

// labRun is handstamp lab run.
type labRun struct {
	*app
	client, clientHTTP string
	personalities      []string
	conditions         []string
	processes          []int
	ways               []string
	parallel           int
	junit, html        string
}

func (a *app) newLabRun() *cobra.Command {
	r := &labRun{app: a}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run an MCP client through the suite: our own, or any other",
		Long: `Run an MCP client through the suite. Without --client, that is our library, in
processes of its own, and our bridge.

Every cell has a server with one personality. One process signs in; then
something happens (the access token expires, the server forgets the client, two
days pass), and 1 or 20 processes start, each for one tool call. The suite counts
the sessions that succeeded, browser tabs, token requests, registrations and failed
calls. The exit code is 1 if a cell failed.

Programs in PATH and BROWSER play the browser; HOME, where the client starts, is a
new folder for each cell. --timeout bounds the sessions of a cell.`,
		Example: `  handstamp lab run --personality rotates-strictly --processes 20
  handstamp lab run --client 'npx -y mcp-remote {url}' --html report.html
  handstamp lab run --client-http './mcpcall {url}' --junit report.xml`,
		Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.run(cmd.Context(), cmd.Flags().Changed)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&r.client, "client", "",
		"command line of a stdio bridge; {url} stands for the server's URL, which is the last argument without it")
	flags.StringVar(&r.clientHTTP, "client-http", "",
		"command line of a program that makes one tool call; {url} as for --client")
	repeatedVar(flags, &r.personalities, "personality",
		"only these (default: all): "+personalityHelp)
	_ = cmd.RegisterFlagCompletionFunc("personality", personalityCompletions)
	flags.StringSliceVar(&r.conditions, "condition", nil, "only these (default: all)")
	flags.IntSliceVar(&r.processes, "processes", nil,
		"how many processes start at once (default 1,20)")
	flags.StringSliceVar(&r.ways, "way", nil, "grant `types` that the client is configured for by "+
		"its environment, beside a login without configuration: "+strings.Join(lab.Ways(), ", "))
	flags.IntVar(&r.parallel, "parallel", 0,
		"how many cells are played at once (default: two for each processor)")
	flags.StringVar(&r.junit, "junit", "", "write a JUnit report to this file")
	flags.StringVar(&r.html, "html", "", "write a report with the matrix as a picture to this file")
	return cmd
}

// run plays the suite. given reports whether a flag is on the command line.
func (r *labRun) run(ctx context.Context, given func(flag string) bool) error {
	o, err := r.options()
	if err != nil {
		return err
	}
	clients, err := r.clients(given)
	if err != nil {
		return err
	}
	files := []reportFile{
		{"junit", r.junit, suite.Reports.WriteJUnit},
		{"html", r.html, suite.Reports.WriteHTML},
	}
	files = slices.DeleteFunc(files, func(f reportFile) bool { return !given(f.flag) })
	for _, file := range files {
		if err := file.check(); err != nil {
			return err
		}
	}
	reports, err := r.playAll(ctx, clients, o)
	// An interrupted run reports the cells that it has played.
	for _, file := range files {
		err = errors.Join(err, file.create(reports))
	}
	if r.global.json {
		err = errors.Join(err, r.out.json(map[string]any{"reports": reports}, true))
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	case !reports.Passed():
		return exitStatus(exitOther)
	}
	return nil
}

// playAll plays the suite with each client, until an error.
func (r *labRun) playAll(ctx context.Context, clients []suite.Client, o suite.Options) (suite.Reports, error) {
	var reports suite.Reports
	for _, client := range clients {
		o.Client, o.Ways = client, r.ways
		if ours, ok := client.(*labClient); ok {
			o.Ways = ours.ways
		}
		report, err := r.play(ctx, o)
		if report != nil {
			reports = append(reports, report)
		}
		if err != nil {
			return reports, err
		}
	}
	return reports, nil
}

// reportFile is a report to be written to a file.
type reportFile struct {
	flag, path string
	write      func(suite.Reports, io.Writer) error
}

// check finds out whether the file can be written before the suite runs for
// minutes, and leaves its content.
func (f reportFile) check() error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return usage("--%s cannot be written: %w", f.flag, err)
	}
	return file.Close()
}

func (f reportFile) create(reports suite.Reports) error {
	file, err := os.Create(f.path)
	if err != nil {
		return err
	}
	return errors.Join(f.write(reports, file), file.Close())
}

// options reads the flags that select the cells.
func (r *labRun) options() (suite.Options, error) {
	o := suite.Options{Processes: r.processes, Parallel: r.parallel, Timeout: r.global.Timeout}
	for _, n := range r.processes {
		if n < 1 || n > 100 {
			return o, usage("--processes cannot be %d: it is 1 to 100", n)
		}
	}
	var names []string
	for _, text := range r.personalities {
		if isOwn(text) { // in JSON, a comma separates no names
			names = append(names, text)
		} else {
			names = append(names, strings.Split(text, ",")...)
		}
	}
	for _, way := range r.ways {
		if err := oneOf("--way", way, lab.Ways()); err != nil {
			return o, err
		}
	}
	if names == nil { // those that the client can be configured for
		return o, r.readConditions(&o)
	}
	var err error
	if o.Personalities, err = findPersonalities(names); err != nil {
		return o, err
	}
	return o, r.readConditions(&o)
}

// readConditions reads the flags --condition.
func (r *labRun) readConditions(o *suite.Options) error {
	var words []string
	for _, c := range suite.Conditions() {
		words = append(words, string(c))
	}
	for _, text := range r.conditions {
		if err := (choice{new(string), words}).Set(text); err != nil {
			return usage("--condition cannot be %q: %w", text, err)
		}
		o.Conditions = append(o.Conditions, suite.Condition(text))
	}
	return nil
}

// clients reads the flags that name the clients under test.
func (r *labRun) clients(given func(flag string) bool) ([]suite.Client, error) {
	var clients []suite.Client
	for _, line := range []struct {
		flag, text string
		client     func([]string) suite.Client
	}{
		{"client", r.client, func(c []string) suite.Client { return &suite.Bridge{Command: c} }},
		{"client-http", r.clientHTTP,
			func(c []string) suite.Client { return &suite.Program{Command: c} }},
	} {
		if !given(line.flag) {
			continue
		}
		words, err := suite.Words(line.text)
		if err != nil {
			return nil, usage("--%s: %w", line.flag, err)
		}
		if _, err := exec.LookPath(words[0]); err != nil {
			return nil, usage("--%s cannot be run: %w", line.flag, err)
		}
		clients = append(clients, line.client(words))
	}
	if clients == nil {
		return r.labClients()
	}
	return clients, nil
}

// play plays the suite with one client and shows its progress.
func (r *labRun) play(ctx context.Context, o suite.Options) (*suite.Report, error) {
	out := r.shown(r.out)
	done, failed, all, begun := 0, 0, o.Cells(), time.Now()
	o.Done = func(c *suite.Cell) {
		done++
		if !c.Passed() {
			failed++
			r.showFailure(out, c)
		}
		out.progress("%s  %d of %d cells, %d failed, %v", strings.TrimSpace(o.Client.String()),
			done, all, failed, time.Since(begun).Round(time.Second))
	}
	report, err := suite.Run(ctx, o)
	switch {
	case err != nil:
	case failed == 0:
		out.ok("", "%s", report)
	default:
		out.bad("", "%s", report)
	}
	return report, err
}

// showFailure prints what went wrong in a cell.
func (r *labRun) showFailure(out *printer, c *suite.Cell) {
	out.bad("", "%s", c.Name())
	for _, failure := range c.Failures {
		out.note(indent, "%s", short(failure))
	}
	if r.global.verbose {
		for _, line := range c.Requests {
			out.line("      %s", line)
		}
	}
}
