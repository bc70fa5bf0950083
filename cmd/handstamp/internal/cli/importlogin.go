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
	r := &importResult{Outcome: outcomeNotTaken, Name: t.name, Server: t.url, Profile: t.profile, File: c.Path, Found: c.found()}
	if err := c.Err; err != nil {
		r.Code, r.Reason, r.Command, r.exit = "unreadable", err.Error(), t.command("login"), exitOther
		switch {
		case errors.Is(err, mcpremote.ErrNoTokens) && len(m.only) > 0:
			r.Code, r.exit = kindLogin.code, exitLogin
		case errors.Is(err, mcpremote.ErrNoTokens):
			r.Outcome, r.Code, r.Command, r.exit = outcomeNothing, "", "", exitOK
		case errors.Is(err, mcpremote.ErrRenewing):
			r.Code, r.Command = "busy", m.command(c.match, "")
		}
		return r, nil
	}
	l := foreignLogin(c)
	client, err := m.client(t, &m.login, handstamp.LoginNever)
	if err != nil {
		return nil, err
	}
	switch command := c.match.command; {
	case command != nil && command.UseIDToken:
		r.Code, r.exit, r.Command = "unsupported", exitOther, t.command("login")
		r.Reason = "mcp-remote sends this server an ID token instead of an access token (--use-id-token), which Handstamp does not"
		return r, nil
	case c.Renewable && l.Registration.ClientID == "" && l.Registration.Response == "" && client.Registration == nil:
		r.Code, r.exit = "client_unknown", exitOther
		r.Reason = "its client is not in mcp-remote's folder, because mcp-remote was given it (--static-oauth-client-info)"
		r.Command = m.command(c.match, "--client-id ID --client-secret-file FILE")
		return r, nil
	}
	if m.login.clientID != "" && (l.Registration.ClientID != "" || l.Registration.Response != "") {
		r.Notes = append(r.Notes, "Its client is known, so --client-id was not needed")
	}
	o := handstamp.ImportOptions{Force: m.force, Offline: m.offline, DryRun: m.dryRun}
	if !m.global.json {
		m.err.progress("Asking %s…", t.name)
	}
	result, err := client.Import(ctx, t.url, l, o)
	if errors.Is(err, handstamp.ErrUnreachable) && ctx.Err() == nil {
		r.Notes = append(r.Notes, "Not complete yet, the first renewal asks for the rest: "+explain(ctx, err).Message)
		o.Offline = true
		result, err = client.Import(ctx, t.url, l, o)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if k := kindOf(err); err != nil && k == kindStore {
		return nil, advise(err, t)
	}
	if err != nil {
		report := explain(ctx, advise(err, t))
		r.Notes = nil
		r.Code, r.Reason, r.exit = report.Code, report.Message, report.Exit
		r.Command = cmp.Or(report.Command, t.command("login"))
		if r.exit == exitUsage { // of a file, not of the command line
			r.exit = exitOther
		}
		return r, nil
	}
	r.Status, r.Outcome = result.Status, outcomeTaken
	if !m.dryRun {
		m.saveFlags(t)
	}
	switch {
	case result.Already:
		r.Outcome, r.Notes = outcomeKept, nil
	case c.Issuer == "" && result.Status.Issuer != "":
		r.Notes = append(r.Notes, "This version of mcp-remote did not note who issued it: taken to be the one that the server names")
	case o.Offline && m.offline:
		r.Notes = append(r.Notes, "Not complete yet: the first renewal asks the network for the rest")
	}
	return r, nil
}

// foreignLogin returns a login as the library takes it.
func foreignLogin(c candidate) handstamp.ImportedLogin {
	l := handstamp.ImportedLogin{
		TokenResponse: c.Tokens, ReceivedAt: c.ReceivedAt, ExpiresAt: c.ExpiresAt, ScopeRequested: c.ScopeRequested,
		Registration: handstamp.Registration{Issuer: c.Issuer},
	}
	r, command := &l.Registration, c.match.command
	given := func(client *mcpremote.Client) {
		r.ClientID, r.ClientSecret, r.TokenEndpointAuthMethod = client.ID, client.Secret, client.Method
	}
	switch {
	case command != nil && command.Client != nil: // it wins in mcp-remote, too
		given(command.Client)
	case c.Registration != "":
		r.Response = c.Registration
	case c.Client != nil:
		given(c.Client)
	case command != nil && command.ClientMetadataURL != "":
		r.ClientID = command.ClientMetadataURL
	}
	if command == nil {
		return l
	}
	if r.ClientID != "" {
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
func (m *importCommand) command(found *match, flags string) string {
	s := strings.TrimSpace(m.again() + " " + flags)
	command := found.command
	switch {
	case command == nil:
		return s + " " + shellWord(found.url)
	case len(command.Headers) > 0 || len(command.AuthorizeParams) > 0 || command.ClientMetadataURL != "" || command.TokenEndpoint != "":
		return strings.TrimSuffix(s, " --") + " -- " + shellWord(found.url) + " … (all of mcp-remote's arguments)"
	case command.Resource != "":
		return strings.TrimSuffix(s, " --") + " -- " + shellWord(found.url) + " --resource " + shellWord(command.Resource)
	}
	return s + " " + shellWord(found.url)
}
