package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
)

// RegistrationRequest is the metadata of a client that registers itself (RFC
// 7591 section 2). Empty fields are omitted: some servers reject empty ones.
type RegistrationRequest struct {
	ClientName              string   `json:"client_name,omitempty"`
	ClientURI               string   `json:"client_uri,omitempty"`
	RedirectURIs            []string `json:"redirect_uris,omitempty"`
	GrantTypes              []string `json:"grant_types,omitempty"`
	ResponseTypes           []string `json:"response_types,omitempty"`
	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method,omitempty"`
	ApplicationType         string   `json:"application_type,omitempty"`
	Scope                   string   `json:"scope,omitempty"`

	// InitialAccessToken is sent as a bearer token, where a server registers
	// only those who have one (RFC 7591 section 3).
	InitialAccessToken Secret `json:"-"`
}

// Registration is what a server answered to a registration (RFC 7591 section
// 3.2.1).
type Registration struct {
	ClientID        string
	ClientSecret    Secret
	SecretExpiresAt time.Time // zero: it does not expire, or that is not known

	// TokenEndpointAuthMethod is as the server said, "" if it said nothing. It
	// may differ from what was asked for, and then it counts.
	TokenEndpointAuthMethod string

	RedirectURIs            []string
	RegistrationAccessToken Secret
	RegistrationClientURI   string
	Raw                     Secret // the whole response
}

const registerSpec = "RFC 7591 section 3.2.1"

// Register registers a client. It returns a *RegistrationError, which wraps an *Error, if
// the server rejects the request, a *TransientError if it may respond otherwise later or
// did not respond, and a *ProtocolError if the endpoint or the response must not be used.
// Redirects are followed on the same origin, as far as they leave the request a POST.
func (f *Fetcher) Register(ctx context.Context, endpoint string, req RegistrationRequest) (*Registration, error) {
	if _, err := parseEndpoint("the registration endpoint", endpoint); err != nil {
		return nil, err
	}
	body, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("oauth: registration request: %w", err)
	}
	a, err := f.managed(ctx, http.MethodPost, endpoint, req.InitialAccessToken, body)
	if err != nil {
		return nil, err
	}
	r := newReply("registration", a.status, a.header.Get("Content-Type"), a.header, a.body, a.truncated, time.Now())
	r.redactor = a.redactor
	if a.status/100 != 2 {
		err := r.failure()
		if _, ok := errors.AsType[*TransientError](err); ok && a.status/100 == 4 && a.status != 408 && a.status != 425 && a.status != 429 {
			err = r.error("", "") // a plain "Forbidden" is a rejection here: no grant hangs on it
		}
		return nil, registrationError(err, r, a.body)
	}
	if a.truncated {
		return nil, &TransientError{Status: a.status, Reason: "the registration could not be read", Err: a.readErr}
	}
	if err := r.errorMember(); err != nil {
		return nil, registrationError(err, r, a.body)
	}
	if !r.parsed {
		return nil, r.failure()
	}
	reg, err := ParseRegistration(a.body)
	if err == nil {
		reg.manageAt(a.url, a.body)
	}
	return reg, err
}

// registrationError adds to an *Error what the response blames.
func registrationError(err error, r reply, body []byte) error {
	if rejected, ok := errors.AsType[*Error](err); ok {
		return &RegistrationError{Err: rejected, text: rejectionText(r, body)}
	}
	return err
}

// manageAt reads a registration_client_uri that is relative to the registration
// endpoint. RFC 7592 section 3 wants it absolute; several servers write a path.
func (r *Registration) manageAt(endpoint *url.URL, raw []byte) {
	o, err := readDocument(raw)
	if err != nil || r.RegistrationClientURI != "" {
		return
	}
	token := o.text("registration_access_token")
	ref, err := url.Parse(o.text("registration_client_uri"))
	if err != nil || ref.IsAbs() || ref.Host != "" || ref.Path == "" || !isHeaderSafe(token) {
		return
	}
	if uri := endpoint.ResolveReference(ref).String(); CheckEndpoint(uri) == nil {
		r.RegistrationClientURI, r.RegistrationAccessToken = uri, Secret(token)
	}
}

// managed sends a request of RFC 7591 or RFC 7592, with token as the bearer
// token if it is not "".
func (f *Fetcher) managed(ctx context.Context, method, target string, token Secret, body []byte) (*response, error) {
	ctx, cancel := awake.WithTimeout(ctx, secretTimeout, nil)
	defer cancel()
	req, err := f.request(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		if !isHeaderSafe(token.Reveal()) {
			return nil, errors.New("oauth: malformed registration access token")
		}
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	carried := f.addKnownSecrets(redactor{token.Reveal()})
	rt, done := f.newConnection()
	defer done()
	a, err := f.roundTrip(rt, req, maxDocument)
	if err != nil {
		return nil, &TransientError{Reason: "no answer from " + req.URL.Host, Err: carried.redactError(err)}
	}
	a.redactor = carried
	return a, nil
}

// ParseRegistration reads a registration response, received or stored. It takes
// null and empty members for absent ones, numbers for strings, and a method in
// an array. It returns a *ProtocolError if the response must not be used.
func ParseRegistration(raw []byte) (*Registration, error) {
	o, err := readDocument(raw)
	if err != nil {
		return nil, protocolErrorf(registerSpec, "the registration cannot be read: %v", err)
	}
	if err := checkLinks(raw, registerSpec); err != nil {
		return nil, err
	}
	r := &Registration{
		ClientID:                o.text("client_id"),
		ClientSecret:            Secret(o.text("client_secret")),
		TokenEndpointAuthMethod: o.text("token_endpoint_auth_method"),
		RedirectURIs:            o.list("redirect_uris"),
		RegistrationAccessToken: Secret(o.text("registration_access_token")),
		RegistrationClientURI:   o.text("registration_client_uri"),
		Raw:                     Secret(raw),
	}
	if r.ClientID == "" {
		return nil, protocolErrorf(registerSpec, "the registration has no client_id")
	}
	for name, value := range map[string]string{
		"client_id":                  r.ClientID,
		"client_secret":              r.ClientSecret.Reveal(),
		"token_endpoint_auth_method": r.TokenEndpointAuthMethod,
	} {
		if len(value) > maxTokenBytes || !isVisible(value) || Secret(value).IsPlaceholder() {
			return nil, protocolErrorf("RFC 6749 appendix A", "the registration has a malformed %s", name)
		}
	}
	// These two serve only to delete the registration one day; a mistake in
	// them is no reason not to sign in.
	if token := r.RegistrationAccessToken; CheckEndpoint(r.RegistrationClientURI) != nil || !isHeaderSafe(token.Reveal()) || token.IsPlaceholder() {
		r.RegistrationClientURI, r.RegistrationAccessToken = "", ""
	}
	// 0 means that it does not expire; a date beyond the year 5000 is in
	// milliseconds or nonsense, and not one to act on.
	if at, ok := o.number("client_secret_expires_at"); ok && at >= 1 && at < 1e11 {
		r.SecretExpiresAt = time.Unix(int64(at), 0).UTC()
	}
	return r, nil
}
