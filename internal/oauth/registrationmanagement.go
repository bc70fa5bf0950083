package oauth

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/handstamp/handstamp/internal/errtype"
)

const manageSpec = "RFC 7592 section 2.2"

// serverMembers are the members of a registration response that an update must not send.
var serverMembers = []string{
	"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at",
}

// UpdateRegistration replaces the metadata of a dynamically registered client (RFC 7592 section
// 2.2) by that of its last response with the changed members in place of the old ones. A server
// that lets secrets end issues a new one with it. It returns a [*ProtocolError] for a registration
// that cannot be managed or a response that must not be used, an [*Error] or a [*TransientError].
//
// The response to an earlier update may have been lost, and with it the client's secret: an update
// with the one before is rejected. Then the registration is read, and updated as it is now. If that
// fails, the registration as it was read is returned beside the error: it replaces the old one.
func (f *Fetcher) UpdateRegistration(ctx context.Context, r *Registration,
	changed map[string]json.RawMessage) (*Registration, error) {
	updated, err := f.replaceRegistration(ctx, r, changed)
	rejected, ok := errtype.As[*Error](err)
	if !ok || rejected.Status != http.StatusBadRequest {
		return updated, err
	}
	read, readErr := f.configureClient(ctx, http.MethodGet, r, nil)
	if readErr != nil || read.ClientSecret == r.ClientSecret {
		return nil, err
	}
	if updated, err = f.replaceRegistration(ctx, read, changed); err != nil {
		return read, err
	}
	return updated, nil
}

// replaceRegistration sends one update.
func (f *Fetcher) replaceRegistration(ctx context.Context, r *Registration,
	changed map[string]json.RawMessage) (*Registration, error) {
	o, err := readDocument([]byte(r.Raw))
	if err != nil || r.RegistrationAccessToken == "" || o.text("client_id") != r.ClientID {
		return nil, protocolErrorf(manageSpec, "the registration cannot be updated: its response was not kept")
	}
	members := make(map[string]json.RawMessage, len(o.members))
	for _, m := range o.members {
		if !slices.Contains(serverMembers, m.name) && !isBlank(m.value) {
			members[m.name] = m.value
		}
	}
	maps.Copy(members, changed)
	body, err := writeObject(members)
	if err != nil {
		return nil, fmt.Errorf("oauth: registration update: %w", err)
	}
	return f.configureClient(ctx, http.MethodPut, r, body)
}

// configureClient sends a request to the client configuration endpoint, and returns the
// registration that it responds with (RFC 7592 section 3).
func (f *Fetcher) configureClient(ctx context.Context, method string, r *Registration,
	body []byte) (*Registration, error) {
	if _, err := parseEndpoint("the registration's URI", r.RegistrationClientURI); err != nil {
		return nil, err
	}
	a, err := f.managed(ctx, method, r.RegistrationClientURI, r.RegistrationAccessToken, body)
	if err != nil {
		return nil, err
	}
	reply := a.reply("registration")
	switch {
	case a.status/100 != 2:
		return nil, notUpdated(reply)
	case a.truncated:
		return nil, &TransientError{Status: a.status, Err: a.readErr,
			Reason: "the registration could not be read"}
	}
	if err := reply.errorMember(); err != nil {
		return nil, err
	}
	returned, err := ParseRegistration(a.body)
	switch {
	case err != nil:
		return nil, err
	case returned.ClientID != r.ClientID:
		return nil, protocolErrorf(manageSpec, "the registration endpoint returned another client_id")
	}
	returned.manageAt(a.url, a.body)
	if returned.RegistrationAccessToken == "" {
		returned.RegistrationAccessToken = r.RegistrationAccessToken
		returned.RegistrationClientURI = r.RegistrationClientURI
	}
	return returned, nil
}

// notUpdated returns the error of a response that is not a success. One that will be the same next
// time is a [*ProtocolError], whoever has sent it: the registration cannot be updated, then.
func notUpdated(r reply) error {
	err := r.failure()
	_, transient := errtype.As[*TransientError](err)
	switch r.status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return err
	}
	if transient && (r.status < 500 || r.status == http.StatusNotImplemented) {
		return protocolErrorf(manageSpec, "the registration endpoint updates no registration (status %d)", r.status)
	}
	return err
}
