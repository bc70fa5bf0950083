package cli

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/mcpremote"
)

// take takes one login. The error is one that ends the whole import.
func (m *importCommand) take(ctx context.Context, c candidate) (*importResult, error) {
	t := c.target
	r := c.result()
	if c.Err != nil {
		m.unreadable(r, c)
		return r, nil
	}
	l := importedLogin(c)
	if !m.dryRun {
		if err := m.decideStore(); err != nil {
			return nil, err
		}
	}
	client, err := m.client(t, &m.login, handstamp.LoginNever)
	if err != nil {
		return nil, err
	}
	known := l.Registration.ClientID != "" || l.Registration.Response != ""
	switch {
	case c.command.UseIDToken:
		r.Error = notTaken("unsupported", "mcp-remote sends this server an ID token instead of "+
			"an access token (--use-id-token), which Handstamp does not", t.command("login"))
		return r, nil
	case c.Refreshable && !known && client.Registration == nil:
		r.Error = notTaken("client_unknown", "its client is not in mcp-remote's folder, because "+
			"mcp-remote was given it (--static-oauth-client-info)",
			m.command(c.command, "--client-id ID --client-secret-file FILE"))
		return r, nil
	case m.login.clientID != "" && known:
		r.Notes = append(r.Notes, "Its client is known, so --client-id was not needed")
	}
	return r, m.store(ctx, client, l, c, r)
}

// unreadable fills in the result for a login that can't be read.
func (m *importCommand) unreadable(r *importResult, c candidate) {
	r.Error = notTaken("unreadable", c.Err.Error(), c.target.command("login"))
	switch {
	case errors.Is(c.Err, mcpremote.ErrNoTokens) && len(m.only) > 0:
		r.Error.Code, r.Error.Exit = kindLogin.code, exitLogin
	case errors.Is(c.Err, mcpremote.ErrNoTokens):
		r.Outcome, r.Error, r.Notes = outcomeNothing, nil, []string{c.Err.Error()}
	case errors.Is(c.Err, mcpremote.ErrRefreshing):
		r.Error.Code, r.Error.Command = "busy", m.command(c.command, "")
	}
}

// store stores a login, completely or as far as it is known, and fills in the result. The
// error is one that ends the whole import.
func (m *importCommand) store(
	ctx context.Context, client *handstamp.Client, l handstamp.ImportedLogin,
	c candidate, r *importResult,
) error {
	t := c.target
	o := handstamp.ImportOptions{Force: m.force, Offline: m.offline, DryRun: m.dryRun}
	if !m.global.json {
		m.err.progress("Reading the metadata of %s…", t.name)
	}
	result, err := client.Import(ctx, t.url, l, o)
	if errors.Is(err, handstamp.ErrUnreachable) && ctx.Err() == nil {
		r.Notes = append(r.Notes,
			"Not complete yet, the first refresh fetches the rest: "+explain(ctx, err).Message)
		o.Offline = true
		result, err = client.Import(ctx, t.url, l, o)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && kindOf(err) == kindStore:
		return advise(err, t)
	case err != nil:
		r.Notes = nil
		r.Error = explain(ctx, advise(err, t))
		r.Error.Command = cmp.Or(r.Error.Command, t.command("login"))
		if r.Error.Exit == exitUsage { // of a file, not of the command line
			r.Error.Exit = exitOther
		}
		return nil
	}
	r.Status, r.Outcome = m.newEntry(t, result.Status, m.loadSettings(t)), outcomeTaken
	if !m.dryRun {
		m.saveFlags(t)
	}
	switch {
	case result.Already:
		r.Outcome, r.Notes = outcomeKept, nil
	case c.Issuer == "" && result.Status.Issuer != "":
		r.Notes = append(r.Notes,
			"This version of mcp-remote did not note the issuer: taken to be the one that the server names")
	case m.offline:
		r.Notes = append(r.Notes, "Not complete yet: the first refresh fetches the rest from the network")
	}
	return nil
}

// importedLogin returns a login as the library takes it.
func importedLogin(c candidate) handstamp.ImportedLogin {
	l := handstamp.ImportedLogin{
		TokenResponse: c.Tokens, ReceivedAt: c.ReceivedAt, ExpiresAt: c.ExpiresAt,
		ScopeRequested: c.ScopeRequested,
		Registration:   handstamp.Registration{Issuer: c.Issuer},
	}
	r, command := &l.Registration, c.command
	given := func(client *mcpremote.Client) {
		r.ClientID, r.ClientSecret, r.TokenEndpointAuthMethod = client.ID, client.Secret, client.Method
	}
	switch {
	case command.Client != nil: // it wins in mcp-remote, too
		given(command.Client)
	case c.Registration != "":
		r.Response = c.Registration
	case c.Client != nil:
		given(c.Client)
	case command.ClientMetadataURL != "":
		r.ClientID = command.ClientMetadataURL
	}
	if r.ClientID != "" && !command.URLOnly {
		r.RedirectURIs = []string{command.RedirectURI(c.Hash)}
	}
	l.OmitResource = command.OmitResource
	if c.apart() != "" {
		l.Resource = command.SentResource()
	}
	return l
}

// again returns the command line of this import, to be suggested.
func (m *importCommand) again() string {
	s := "handstamp import mcp-remote" + m.repeated()
	if m.folderFlag != "" {
		s += " --folder " + shellWord(m.folderFlag)
	}
	if m.global.profile != "" {
		s += " --profile " + shellWord(m.global.profile)
	}
	return s
}

// command returns the command line that imports one login, with more flags. What
// mcp-remote was started with is repeated only as far as no secret can be in it.
func (m *importCommand) command(command *mcpremote.Command, flags string) string {
	s := strings.TrimSpace(m.again() + " " + flags)
	server := " " + shellWord(command.URL)
	switch {
	case len(command.Headers) > 0 || len(command.AuthorizeParams) > 0 ||
		command.ClientMetadataURL != "" || command.TokenEndpoint != "":
		return strings.TrimSuffix(s, " --") + " --" + server + " … (all of mcp-remote's arguments)"
	case command.Resource != "":
		return strings.TrimSuffix(s, " --") + " --" + server + loginFlags(command.Resource, nil)
	}
	return s + server
}
