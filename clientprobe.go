package handstamp

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// clientProbe finds out, before the user is sent to a browser, whether the authorization server
// knows the client of a login, and how it authenticates.
type clientProbe struct {
	*loginState
	clients *loginClients
}

// probeClient finds out whether the authorization endpoint knows the client: one that was
// registered earlier, or a client ID metadata document. Many servers show only the user
// that they do not, on a page that never redirects.
func (p clientProbe) probeClient(ctx context.Context, rawURL string) error {
	if p.clients.clientProbed || !p.clients.canRegisterAnew() {
		return nil
	}
	p.clients.clientProbed = true
	if rejected := p.preflight(ctx, rawURL); rejected != nil {
		return p.clients.onUnknown(ctx, rejected)
	}
	return nil
}

// preflightTimeout bounds the request that shows whether the authorization endpoint knows
// the client; without a response the login goes on.
const preflightTimeout = 5 * time.Second

// preflight requests a page of the authorization endpoint as a browser would, without a user. It
// returns the rejection of the client, nil if there is none.
func (p clientProbe) preflight(ctx context.Context, rawURL string) *oauth.Error {
	ctx, cancel := context.WithTimeout(ctx, preflightTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return nil
	}
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Sec-Purpose", "prefetch")
	req.Header.Set("User-Agent", userAgent)
	p.events.report(StepAuthorization, "the authorization endpoint is requested once to see whether it knows the client")
	watched := p.events.sent(purposeClient, req, nil)
	resp, err := p.fetcher.HTTP().RoundTrip(req)
	watched(resp, err)
	if err != nil {
		return nil
	}
	resp.Body.Close()
	if p.saysUnknown(resp.StatusCode) {
		return &oauth.Error{Status: resp.StatusCode, Endpoint: "authorization"}
	}
	location := resp.Header.Get("Location")
	to, err := url.Parse(location)
	if resp.StatusCode/100 != 3 || err != nil || !strings.HasPrefix(location, p.clients.callback.redirectURI) {
		return nil
	}
	rejected := &oauth.Error{Code: to.Query().Get("error"), Description: to.Query().Get("error_description"), Endpoint: "authorization"}
	if rejected.Code != "" && (rejected.Class() == oauth.ClassClient || p.clients.rejectsDocument(rejected)) {
		return rejected
	}
	return nil
}

// saysUnknown reports whether a status of the authorization endpoint means that it does
// not know the client. Where the token endpoint has just rejected a refresh without a
// reason, that is likely enough for every status that is about the request.
func (p clientProbe) saysUnknown(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusUnprocessableEntity:
		return true
	case http.StatusTooManyRequests:
		return false
	}
	return status/100 == 4 && refreshRejectedWithoutReason(p.rec, p.clients.client)
}

// refreshRejectedWithoutReason reports whether the last refresh with a client was
// rejected by a response that names neither the grant nor the client.
func refreshRejectedWithoutReason(rec *record.Record, c *record.Client) bool {
	bound := rec.GrantClient()
	return (rec.Rejection != nil || rec.GrantError != nil && rec.GrantError.Guessed) && bound != nil && bound.ID == c.ID
}

// rejectsDocument reports whether an error response means that a client ID metadata
// document was read and not accepted, or could not be read.
func (l *loginClients) rejectsDocument(rejected *oauth.Error) bool {
	codes := []string{"invalid_client_metadata", "invalid_redirect_uri", "invalid_client_metadata_document",
		"invalid_request", "invalid_client_id_metadata"}
	return l.canReplaceDocument() && slices.Contains(codes, rejected.Code)
}

// probeAuthMethod finds out at the token endpoint, with a made-up code, whether a method
// that was chosen by default is right, before the user is sent to the browser:
// invalid_grant means that the client was authenticated (RFC 6749, section 5.2).
// It does so only where the server lists several, for a client that was not
// registered just now.
func (p clientProbe) probeAuthMethod(ctx context.Context) error {
	listed := p.plan.server.TokenEndpointAuthMethodsSupported
	methods := slices.DeleteFunc(oauth.MethodCandidates(listed, p.clients.client.Secret != ""), func(m string) bool {
		return listed != nil && !slices.Contains(listed, m)
	})
	if p.clients.authMethod.source != record.MethodDefault || p.clients.client.Source == record.SourceDynamic || len(methods) < 2 {
		return nil
	}
	p.events.report(StepAuthMethod, "a token request with a made-up code finds out whether the method is right")
	unnamed := false // one of the rejections was not about the client
	t := p.clients.tokenRequest(oauth.TokenRequest{
		Code: oauth.Secret(rand.Text()), RedirectURI: p.clients.callback.redirectURI, Verifier: oauth.NewPKCE().Verifier,
	}, sendOnce)
	t.final = func(rejected *oauth.Error) bool {
		unnamed = unnamed || rejected.Class() == oauth.ClassOther
		return rejected.Class() == oauth.ClassGrant
	}
	_, _, err := t.run(ctx)
	p.requests += t.sent
	rejected, ok := errtype.As[*oauth.Error](err)
	switch {
	case ok && rejected.Class() == oauth.ClassGrant:
		if t.sent > 1 {
			p.events.decide(StepAuthMethod, aboutAuthMethod, t.form.method, "the server accepted it, after another")
		}
		p.clients.learnMethod(t)
	case ok && mayBlameClient(err) && !unnamed:
		return p.clients.onUnknown(ctx, rejected)
	}
	return nil
}
