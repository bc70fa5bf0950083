package cli

import (
	"context"
	"errors"
	"slices"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/store"
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
		Short: "Sign out: revoke the tokens at the server, then delete them here",
		Long: `Revoke the tokens at the authorization server (RFC 7009), then delete them here.
They are deleted even if the server does not revoke them; its error is reported.`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case !l.all:
				return exactly(1, "one server, or --all")(cmd, args)
			case len(args) > 0:
				return usage("handstamp logout takes a server or --all, not both")
			}
			return nil
		},
		RunE: withArgs(l.run),
	}
	flags := cmd.Flags()
	flags.BoolVar(&l.all, "all", false, "sign out everywhere, in every profile")
	flags.BoolVar(&l.opts.NoRevoke, "no-revoke", false, "send nothing to the server, only delete here")
	flags.BoolVar(&l.opts.KeepClient, "keep-client", false,
		"keep the client registration for the next login")
	flags.BoolVar(&l.opts.DeleteClient, "delete-client", false,
		"delete the client registration at the server, too (RFC 7592)")
	return cmd
}

// logoutOutput is what --json prints for a server.
type logoutOutput struct {
	Server            string  `json:"server"`
	Profile           string  `json:"profile"`
	WasSignedIn       bool    `json:"was_signed_in"`
	Damaged           bool    `json:"damaged,omitempty"`
	Revoked           bool    `json:"revoked"`
	RevokeError       *report `json:"revoke_error,omitempty"`
	ClientDeleted     bool    `json:"client_deleted"`
	DeleteClientError *report `json:"delete_client_error,omitempty"`
	Error             *report `json:"error,omitempty"` // with --all
}

func (l *logoutCommand) run(ctx context.Context, args []string) error {
	if l.opts.DeleteClient && (l.opts.NoRevoke || l.opts.KeepClient) {
		return usage("--delete-client contradicts --no-revoke and --keep-client")
	}
	targets, err := l.targets(ctx, args)
	if err != nil {
		return err
	}
	results := []*logoutOutput{}
	for _, t := range targets {
		if ctx.Err() != nil {
			break
		}
		out, failed := l.one(ctx, t)
		if failed = advise(failed, t); failed != nil {
			out.Error = explain(ctx, failed)
		}
		results, err = append(results, out), errors.Join(err, failed)
	}
	switch {
	case l.global.json && l.all:
		err = errors.Join(err, l.out.json(map[string]any{"servers": results}, true))
	case l.global.json && err == nil && len(results) == 1:
		err = l.out.json(results[0], true)
	case len(targets) == 0 && !l.global.quiet:
		l.err.note("", "No server is signed in to")
	}
	return errors.Join(err, ctx.Err())
}

// targets returns the server named, or all that are stored.
func (l *logoutCommand) targets(ctx context.Context, args []string) ([]*target, error) {
	if !l.all {
		t, err := l.target(args[0])
		return []*target{t}, err
	}
	keys, err := l.storedKeys(ctx)
	if err != nil {
		return nil, err
	}
	targets := make([]*target, 0, len(keys))
	for _, k := range keys {
		targets = append(targets, l.storedTarget(k))
	}
	return targets, nil
}

// one signs out of one server and shows the result. With an error it returns what was done until then.
func (l *logoutCommand) one(ctx context.Context, t *target) (*logoutOutput, error) {
	out := &logoutOutput{Server: t.url, Profile: t.profile}
	t.local = true
	c, err := l.storedClient(ctx, t, handstamp.LoginNever)
	if err != nil {
		return out, err
	}
	ctx, cancel := l.bounded(ctx)
	defer cancel()
	r, err := c.Logout(ctx, t.url, l.opts)
	if r == nil {
		return out, err
	}
	out.WasSignedIn, out.Damaged = r.WasSignedIn, r.Damaged
	out.Revoked, out.RevokeError = r.Revoked, explain(ctx, r.RevokeError)
	out.ClientDeleted, out.DeleteClientError = r.ClientDeleted, explain(ctx, r.DeleteClientError)
	if err == nil {
		err = l.forgetLogin(ctx, c.Store, t)
	}
	if err == nil {
		showLogout(l.shown(l.err), t, r)
	}
	return out, err
}

// forgetLogin removes what is left of a login that a logout has removed from a store.
func (a *app) forgetLogin(ctx context.Context, from store.Store, t *target) error {
	a.forgetFlags(ctx, t.profile, from)
	if keys, err := keysAt(ctx, from, t.key.Server); err == nil && !slices.Contains(keys, t.storeKey()) {
		a.forgetSettings(t)
	}
	return a.forgetCopies(ctx, t.storeKey())
}

// showLogout writes how the logout ended, and what is left at the server.
func showLogout(p *printer, t *target, r *handstamp.LogoutResult) {
	switch {
	case r.Damaged:
		p.warn("", "The stored login at %s (profile %s) was damaged: deleted here; "+
			"nothing could be revoked at the server", t.name, t.profile)
	case !r.WasSignedIn:
		p.ok("", "Not signed in to %s (profile %s)", t.name, t.profile)
	case r.Revoked:
		p.ok("", "Signed out of %s (profile %s): revoked at the server and deleted here", t.name,
			t.profile)
	case r.RevokeError != nil:
		p.warn("", "Signed out of %s (profile %s) here only: "+
			"the server did not revoke the tokens (%s)",
			t.name, t.profile, short(r.RevokeError.Error()))
		p.note("", "The tokens expire; to end them now, "+
			"remove Handstamp in your account at the server")
	default:
		p.ok("", "Signed out of %s (profile %s): deleted here, and nothing was sent to the server",
			t.name, t.profile)
	}
	switch {
	case r.ClientDeleted:
		p.note("", "The client registration is deleted at the server")
	case r.DeleteClientError != nil:
		p.warn("", "The client registration stays at the server (%s)",
			short(r.DeleteClientError.Error()))
	}
}
