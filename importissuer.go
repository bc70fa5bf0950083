package handstamp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// A login that comes from elsewhere may not say which authorization server it
// came from, or not where that one refreshes it. Two rules decide what may be
// sent where:
//
//	written down   only to that issuer, and only while the server names it
//	not written    to the one that the server names first, where the program
//	               that had the login would have sent it at its next start
//
// The claims of a token are no evidence of its issuer: many servers hand on the
// tokens of another one.

// errMoved says that a login comes from another authorization server than the
// one that its server names now.
var errMoved = errors.New("the server has another authorization server now")

// issuerMetadata is an authorization server with the metadata that led there.
type issuerMetadata struct {
	server   *oauth.ServerMetadata
	resource *oauth.ResourceMetadata // nil: the server publishes none

	privateNetwork bool // that the MCP server is in
}

// findIssuer finds the metadata of the authorization server that a login with
// this issuer comes from; "" is not known. It returns errMoved if the server no
// longer names it.
func (im *importer) findIssuer(ctx context.Context, issuer string) (*issuerMetadata, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	reply, err := im.server.probeChallenge(ctx)
	if err != nil {
		return nil, err
	}
	found := &issuerMetadata{}
	if found.resource, err = im.discovery.resourceMetadata(ctx, reply.challenge); err != nil {
		return nil, err
	}
	if found.server, err = im.importedServer(ctx, issuer, found.resource); err != nil {
		return nil, err
	}
	if issuer != "" && !oauth.SameButSlash(found.server.Issuer, issuer) {
		return nil, issuerMovedError(issuer, found.server.Issuer)
	}
	found.server = im.discovery.forCertificate(found.server)
	found.privateNetwork = im.server.privateNetwork.Load()
	return found, nil
}

// importedServer returns the metadata of a login's authorization server. Of several, it is the
// first where the login's is not known: nothing that was issued elsewhere goes to another one
// because the first cannot be reached.
func (im *importer) importedServer(ctx context.Context, issuer string, rm *oauth.ResourceMetadata) (*oauth.ServerMetadata, error) {
	check := im.discovery.checked(ctx)
	switch {
	case im.config.AuthorizationServer != nil:
		return check(im.discovery.statedServer(ctx))
	case rm == nil || len(rm.AuthorizationServers) == 0:
		if configured := im.config.configuredIssuer(); issuer != "" && oauth.SameButSlash(issuer, configured) {
			return check(im.discovery.configuredServer(ctx, configured, nil))
		}
		return check(im.fetcher.LegacyServerMetadata(ctx, im.server.target))
	}
	named, i := rm.AuthorizationServers, 0
	if issuer != "" {
		i = slices.IndexFunc(named, func(n string) bool { return oauth.SameButSlash(n, issuer) })
	}
	if i < 0 {
		return nil, issuerMovedError(issuer, strings.Join(named, ", "))
	}
	return check(im.fetcher.ServerMetadata(ctx, named[i]))
}

func issuerMovedError(from, to string) error {
	return fmt.Errorf("%w: the login comes from %s, and the server names %s", errMoved, oauth.Sanitize(from), oauth.Sanitize(to))
}

// issuerError is explain for findIssuer.
func (im *importer) issuerError(err error) error {
	if errors.Is(err, errMoved) {
		return &Error{Kind: ErrProtocol, Server: im.serverURL, Err: err, Message: "the login is of no use any more",
			Hint: "sign in to " + addressOf(im.serverURL)}
	}
	return im.errs.from(err)
}

// pin binds the imported login to the authorization server it comes from.
func (a *importedRecord) pin(found *issuerMetadata) {
	as := found.server
	g := &a.grant
	g.Issuer, g.TokenEndpoint, g.RevocationEndpoint = as.Issuer, as.TokenEndpoint, as.RevocationEndpoint
	if g.Resource.Value == "" && !g.Resource.Omit {
		g.Resource = conventionalResource(found.resource)
	}
	if a.client != nil {
		a.client.Issuer = as.Issuer
	}
	a.as = serverRecord(as, found.privateNetwork)
}

// conventionalResource returns the resource parameter that other clients send for what
// the server publishes.
func conventionalResource(rm *oauth.ResourceMetadata) record.Resource {
	if rm == nil || rm.Resource == "" {
		return record.Resource{Omit: true, Reason: "the server publishes none"}
	}
	return record.Resource{Value: oauth.StandardURL(rm.Resource), Reason: "published by the server"}
}

// complete finds what an imported login lacks and stores it. The error is
// errSuperseded if the login was replaced meanwhile, errMoved if it cannot be refreshed
// it any more.
func (im *importer) complete(ctx context.Context, rec *record.Record) (*record.Record, error) {
	token := rec.Grant.RefreshToken
	found, err := im.findIssuer(ctx, rec.Grant.Issuer)
	if err != nil {
		return rec, err
	}
	return im.records.update(ctx, rec, func(rec *record.Record) error {
		if !importIncomplete(rec) || rec.Grant.RefreshToken != token {
			return errSuperseded
		}
		old := rec.GrantClient()
		client := *old
		a := &importedRecord{grant: *rec.Grant, client: &client}
		a.pin(found)
		rec.Clients = slices.DeleteFunc(rec.Clients, func(c *record.Client) bool { return c == old })
		rec.Grant, rec.AuthorizationServer = &a.grant, a.as
		rec.AddClient(&client)
		return nil
	})
}

// onImportFailed decides what it means for a refresh that an imported login could
// not be completed.
func (r *refreshAttempt) onImportFailed(ctx context.Context, rec *record.Record, err error) (*cachedToken, error) {
	switch {
	case errors.Is(err, errSuperseded), errors.Is(err, ErrStore):
		return nil, err
	case !errors.Is(err, errMoved):
		return r.onTransientError(ctx, rec, 0, err)
	}
	rec, err = r.grant.update(ctx, rec, func(rec *record.Record) {
		if c := rec.GrantClient(); c != nil {
			c.Rejected = true
		}
		rec.Grant.Rejected = rec.Grant.Rejected || rec.Grant.AccessToken == r.need.rejected
		rec.Retry = nil
		rec.GrantError = &record.GrantError{At: time.Now().UTC(), Code: "issuer_changed", Description: errMoved.Error()}
	})
	if err != nil {
		return nil, err
	}
	return r.keep(rec, nil)
}
