package handstamp

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

// probeClient finds out whether the authorization endpoint knows the client: one that was
// registered earlier, or a client ID metadata document. Many servers show only the user
// that they do not, on a page that never redirects.
func (l *loginClients) probeClient(ctx context.Context, rawURL string) error {
	if l.clientProbed || !l.canRegisterAnew() {
		return nil
	}
	l.clientProbed = true
	if rejected := l.preflight(ctx, rawURL); rejected != nil {
		return l.onUnknown(ctx, rejected)
	}
	return nil
}

// preflight requests a page of the authorization endpoint as a browser would, without a user. It
// returns the rejection of the client, nil if there is none.
func (l *loginClients) preflight(ctx context.Context, rawURL string) *oauth.Error {
	ctx, cancel := context.WithTimeout(ctx, preflightTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return nil
	}
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Sec-Purpose", "prefetch")
	req.Header.Set("User-Agent", userAgent)
	l.events.say(StepAuthorization, "the authorization endpoint is requested once to see whether it knows the client")
	watched := l.events.sent(purposeClient, req, nil)
	resp, err := l.fetcher.HTTP.RoundTrip(req)
	watched(resp, err)
	if err != nil {
		return nil
	}
	resp.Body.Close()
	if l.saysUnknown(resp.StatusCode) {
		return &oauth.Error{Status: resp.StatusCode, Endpoint: "authorization"}
	}
	location := resp.Header.Get("Location")
	to, err := url.Parse(location)
	if resp.StatusCode/100 != 3 || err != nil || !strings.HasPrefix(location, l.callback.redirectURI) {
		return nil
	}
	rejected := &oauth.Error{Code: to.Query().Get("error"), Description: to.Query().Get("error_description"), Endpoint: "authorization"}
	if rejected.Code != "" && (rejected.Class() == oauth.ClassClient || l.rejectsDocument(rejected)) {
		return rejected
	}
	return nil
}

// saysUnknown reports whether a status of the authorization endpoint means that it does
// not know the client. Where the token endpoint has just rejected a refresh without a
// reason, that is likely enough for every status that is about the request.
func (l *loginClients) saysUnknown(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusUnprocessableEntity:
		return true
	case http.StatusTooManyRequests:
		return false
	}
	return status/100 == 4 && refreshRejectedWithoutReason(l.rec, l.client)
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
	if !l.canReplaceDocument() {
		return false
	}
	switch rejected.Code {
	case "invalid_client_metadata", "invalid_redirect_uri", "invalid_client_metadata_document", "invalid_request", "invalid_client_id_metadata":
		return true
	}
	return false
}
