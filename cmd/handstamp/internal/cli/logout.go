package cli

import (
	"context"
	"errors"

	"github.com/handstamp/handstamp"
	"github.com/spf13/cobra"
)

// logoutCommand is handstamp logout.
type logoutCommand struct {
	*app
	all  bool
	opts handstamp.LogoutOptions
}

func (a *app) newLogout() *cobra.Command {
	l := &logoutCommand{app: a}
	cmd := &cobra.Command{
		Use:   "logout <server> | --all",
		Short: "Sign out: revoke at the server, then forget",
		Long: `Revoke the tokens at the authorization server (RFC 7009), then delete them here.
The deletion happens whatever the server says; what it said is told.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if l.all && len(args) > 0 {
				return usage("handstamp logout takes a server or --all, not both")
			}
			if l.all {
				return nil
			}
			return exactly(1, "one server, or --all")(cmd, args)
		},
		ValidArgsFunction: a.completeServers,
		RunE:              func(cmd *cobra.Command, args []string) error { return l.run(cmd.Context(), args) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&l.all, "all", false, "sign out everywhere, in every profile")
	flags.BoolVar(&l.opts.NoRevoke, "no-revoke", false, "ask the server for nothing, only forget")
	flags.BoolVar(&l.opts.KeepClient, "keep-client", false, "keep the client registration for the next login")
	flags.BoolVar(&l.opts.DeleteClient, "delete-client", false, "delete the client registration at the server, too (RFC 7592)")
	return cmd
}

// logoutOutput is what --json prints for a server.
type logoutOutput struct {
	Server            string `json:"server"`
	Profile           string `json:"profile"`
	WasSignedIn       bool   `json:"was_signed_in"`
	Damaged           bool   `json:"damaged,omitempty"`
	Revoked           bool   `json:"revoked"`
	RevokeError       string `json:"revoke_error,omitempty"`
	ClientDeleted     bool   `json:"client_deleted"`
	DeleteClientError string `json:"delete_client_error,omitempty"`
}

func (l *logoutCommand) run(ctx context.Context, args []string) error {
	if l.opts.KeepClient && l.opts.DeleteClient {
		return usage("--keep-client and --delete-client contradict each other")
	}
	targets, err := l.targets(ctx, args)
	if err != nil {
		return err
	}
	results := make([]logoutOutput, 0, len(targets))
	var errs []error
	for _, t := range targets {
		if ctx.Err() != nil {
			break
		}
		out, err := l.one(ctx, t)
		if err != nil {
			errs = append(errs, advise(err, t))
			continue
		}
		results = append(results, *out)
	}
	if l.global.json {
		var v any = results
		if !l.all && len(results) == 1 {
			v = results[0]
		}
		if len(results) > 0 || l.all {
			errs = append(errs, l.out.json(v, true))
		}
	} else if len(targets) == 0 && !l.global.quiet {
		l.err.note("", "Nobody is signed in anywhere")
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// targets returns the server named, or all that are stored.
func (l *logoutCommand) targets(ctx context.Context, args []string) ([]*target, error) {
	if !l.all {
		t, err := l.target(args[0])
		if err != nil {
			return nil, err
		}
		return []*target{t}, nil
	}
	credentials, err := l.openStore()
	if err != nil {
		return nil, err
	}
	keys, err := credentials.List(ctx)
	if err != nil {
		return nil, &failure{kind: kindStore, err: err}
	}
	targets := make([]*target, 0, len(keys))
	for _, k := range keys {
		targets = append(targets, l.storedTarget(k))
	}
	return targets, nil
}

// one signs out of one server and tells what happened.
func (l *logoutCommand) one(ctx context.Context, t *target) (*logoutOutput, error) {
	c, err := l.storedClient(ctx, t, handstamp.LoginNever)
	if err != nil {
		return nil, err
	}
	ctx, cancel := l.bounded(ctx)
	defer cancel()
	r, err := c.Logout(ctx, t.url, l.opts)
	if err != nil {
		return nil, err
	}
	if keys, err := c.Store.List(ctx); err == nil {
		l.forgetFlags(t.profile, keys)
	}
	out := &logoutOutput{
		Server: t.url, Profile: t.profile, WasSignedIn: r.WasSignedIn, Damaged: r.Damaged,
		Revoked: r.Revoked, RevokeError: text(r.RevokeError),
		ClientDeleted: r.ClientDeleted, DeleteClientError: text(r.DeleteClientError),
	}
	if !l.global.json && !l.global.quiet {
		l.say(t, r)
	}
	return out, nil
}

// say tells how the logout ended, and what is left at the server.
func (l *logoutCommand) say(t *target, r *handstamp.LogoutResult) {
	switch {
	case r.Damaged:
		l.err.warn("", "The saved login at %s (profile %s) was damaged: deleted here; nothing could be revoked at the server", t.name, t.profile)
	case !r.WasSignedIn:
		l.err.ok("", "Nobody was signed in to %s (profile %s)", t.name, t.profile)
	case r.Revoked:
		l.err.ok("", "Signed out of %s (profile %s): revoked at the server and deleted here", t.name, t.profile)
	case r.RevokeError != nil:
		l.err.warn("", "Signed out of %s (profile %s) here only: the server did not revoke the tokens (%s)", t.name, t.profile, short(r.RevokeError.Error()))
		l.err.note("", "They end by themselves; to be sure, remove Handstamp in your account at the server")
	default:
		l.err.ok("", "Signed out of %s (profile %s): deleted here; the server was not asked to revoke anything", t.name, t.profile)
	}
	switch {
	case r.ClientDeleted:
		l.err.note("", "The client registration is deleted at the server")
	case r.DeleteClientError != nil:
		l.err.warn("", "The client registration stays at the server (%s)", short(r.DeleteClientError.Error()))
	}
}

// text returns an error's text, or "".
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
