package cli

import (
	"context"
	"errors"
	"os"
	"slices"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/doctor"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// doctorCommand is handstamp doctor.
type doctorCommand struct {
	*app
	login  loginOptions
	fix    bool
	bundle string
	html   string

	loginFlags []*pflag.Flag // of login, in what it binds
}

func (a *app) newDoctor() *cobra.Command {
	d := &doctorCommand{app: a}
	cmd := &cobra.Command{
		Use:   "doctor <server>",
		Short: "Explain why a login fails",
		Long: `Walk through everything that a login at a server needs, and name the cause of the
trouble and the command that helps. Each step shows what was sent and what came back:
DNS and TLS, challenge, resource metadata, authorization server metadata, PKCE, iss,
registration, which token endpoint auth method and why, the stored login, a dry run at
the token endpoint, and MCP.

It changes nothing, neither here nor at a server: no client is registered and no token
refreshed. Where it tries an endpoint, it sends what no server can carry out: a
registration whose JSON is cut off, and a code that does not exist. The session that
it opens at the MCP server with the stored token is ended again.

--fix fixes what it can without the user: it moves a damaged login away, marks a
client as unknown that the server has forgotten, and refreshes a token that does not
work. It registers nothing: the next login does. The flags of a login show what a
login with them would do.

The exit code is 0 if all is well or the next use fixes it, and otherwise that of the
trouble: 3 unreachable, 4 login required, 5 denied, 6 protocol or security, 7 store,
2 a URL or setting that cannot work.`,
		Example: `  handstamp doctor mcp.example.com/mcp
  handstamp doctor linear --fix
  handstamp doctor linear --bundle report.json     # for a bug report`,
		Args: exactly(1, "one server"),
		RunE: withArgs(d.run),
	}
	d.login.bind(cmd)
	cmd.Flags().VisitAll(func(f *pflag.Flag) { d.loginFlags = append(d.loginFlags, f) })
	cmd.Flags().BoolVar(&d.fix, "fix", false, "fix what can be fixed without the user")
	cmd.Flags().StringVar(&d.bundle, "bundle", "",
		"write the report to this file, to be given to others: it is searched for secrets first")
	cmd.Flags().StringVar(&d.html, "html", "",
		"draw what was sent and decided as a sequence diagram, in this file")
	return cmd
}

// doctorOutput is what --json prints.
type doctorOutput struct {
	Name string `json:"name"`
	*doctor.Report
	Exit int `json:"exit"`
}

func (d *doctorCommand) run(ctx context.Context, args []string) error {
	t, err := d.targetWith(args[0], &d.login, &headerOptions{})
	if err != nil {
		return err
	}
	c, err := d.doctorClient(ctx, t)
	if err != nil {
		return err
	}
	ctx, cancel := d.bounded(ctx)
	defer cancel()
	options := doctor.Options{Command: d.command(t), Recorder: doctor.Record(c)}
	r, err := doctor.Examine(ctx, c, t.url, options)
	if err == nil && d.fix {
		r, err = d.repair(ctx, c, r, options)
	}
	if err != nil {
		return advise(err, t)
	}
	if e, ok := errors.AsType[*handstamp.Error](r.Cause.Err); ok && e.Setting != "" {
		r.Cause.Hint = settings[e.Setting].hint // the one of the command
	}
	exit := exitOf(r.Cause)
	if err := d.print(doctorOutput{t.name, r, exit}, func() { d.show(t, r) }); err != nil {
		return err
	}
	if d.global.quiet && !d.global.json && exit != exitOK {
		d.err.cause(r.Cause)
	}
	if err := d.writeFiles(t, r); err != nil {
		return err
	}
	return ended(exit)
}

// doctorClient returns the Client to examine: with the flags of a login, or else the stored login's.
func (d *doctorCommand) doctorClient(ctx context.Context, t *target) (*handstamp.Client, error) {
	if d.givenFlags() != "" || t.loginFlags != "" {
		return d.client(t, &d.login, handstamp.LoginNever)
	}
	return d.storedClient(ctx, t, handstamp.LoginNever)
}

// givenFlags returns the flags of a login that were given, as a command line has them, but for those
// that a suggested login has anyway. None of them holds a secret.
func (d *doctorCommand) givenFlags() string {
	s := ""
	for _, f := range d.loginFlags {
		switch values, ok := f.Value.(pflag.SliceValue); {
		case !f.Changed || slices.Contains([]string{"resource", "no-resource", "param"}, f.Name):
		case ok:
			for _, v := range values.GetSlice() {
				s += " --" + f.Name + " " + shellWord(v)
			}
		case f.Value.Type() == "bool":
			s += " --" + f.Name
		default:
			s += " --" + f.Name + " " + shellWord(f.Value.String())
		}
	}
	return s
}

// command returns the command line of a verb about the server that was examined.
func (d *doctorCommand) command(t *target) func(verb string) string {
	return func(verb string) string {
		if verb == "login" || verb == "doctor" {
			return t.command(verb) + d.givenFlags()
		}
		return t.command(verb)
	}
}

// repair fixes what it can and examines the server once more.
func (d *doctorCommand) repair(
	ctx context.Context, c *handstamp.Client, r *doctor.Report, o doctor.Options,
) (*doctor.Report, error) {
	failed := r.Repair(ctx, c)
	if failed != nil && ctx.Err() != nil {
		return nil, failed
	}
	after, err := doctor.Examine(ctx, c, r.Server, o)
	if err != nil {
		return nil, err
	}
	after.Fixed = r.Fixed
	if failed != nil {
		d.notice("it could not be fixed: " + failed.Error())
	}
	return after, nil
}

// exitOf returns the exit code of a cause.
func exitOf(c doctor.Cause) int {
	if c.Kind == nil {
		return exitOK
	}
	return kindOf(&handstamp.Error{Kind: c.Kind}).exit
}

// writeFiles writes what can be given to others.
func (d *doctorCommand) writeFiles(t *target, r *doctor.Report) error {
	if d.bundle != "" {
		content, err := r.Bundle(map[string]any{"version": buildVersion(), "store": d.place})
		if err := d.writeSearched("--bundle", d.bundle, content, err); err != nil {
			return err
		}
	}
	if d.html != "" {
		content, err := r.Diagram("handstamp doctor " + t.name)
		return d.writeSearched("--html", d.html, content, err)
	}
	return nil
}

// writeSearched writes a file that was searched for secrets, which err is the result of.
func (d *doctorCommand) writeSearched(flag, path string, content []byte, err error) error {
	switch {
	case errors.Is(err, doctor.ErrSecret):
		return &failure{kind: kindProtocol,
			message: path + " was not written: something in it looks like a secret",
			hint:    "please report what the command prints, without the secret"}
	case err != nil:
		return err
	}
	write := os.WriteFile // into a device or a pipe, or through a link
	if info, err := os.Lstat(path); err != nil || info.Mode().IsRegular() {
		write = writeWhole // a file that is there also gets the mode 0600
	}
	if err := write(path, content, 0o600); err != nil {
		return usage("%s cannot be written: %w", flag, withoutPath(err))
	}
	return nil
}

// show writes the walk and the cause.
func (d *doctorCommand) show(t *target, r *doctor.Report) {
	d.out.raw(d.out.styled(styleBold, t.name))
	for _, s := range r.Steps {
		d.showStep(s)
	}
	for _, done := range r.Fixed {
		d.out.ok("", "Fixed: %s", done)
	}
	d.out.cause(r.Cause)
}

// cause writes a cause and what helps.
func (p *printer) cause(c doctor.Cause) {
	say := p.bad
	if exitOf(c) == exitOK {
		say = p.ok
	}
	say("", "%s", capital(c.Message))
	if c.Hint != "" {
		p.note("", "%s", capital(c.Hint))
	}
	if c.Command != "" {
		p.note("", "Run: %s", c.Command)
	}
}

func (d *doctorCommand) showStep(s doctor.Step) {
	say := map[doctor.Result]func(indent, format string, args ...any){
		doctor.OK: d.out.ok, doctor.Warning: d.out.warn, doctor.Failed: d.out.bad, doctor.Skipped: d.out.note,
	}[s.Result]
	say(indent, "%d. %s: %s", s.Number, s.Name, s.Finding)
	for _, e := range s.Evidence {
		d.out.line("      %s", e)
	}
}
