package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/handstamp/handstamp/internal/awake"
	"github.com/handstamp/handstamp/internal/errtype"
)

// RegistrationRequest is the metadata of a client that registers itself (RFC
// 7591 section 2). Empty fields are omitted: some servers reject empty ones.
type RegistrationRequest struct {
	ClientName              string   `json:"client_name,omitempty"`
	ClientURI               string   `json:"client_uri,omitempty"`
	RedirectURIs            []string `json:"redirect_uris,omitempty"`
	GrantTypes              []string `json:"grant_types,omitempty"`
	ResponseTypes           []string `json:"response_types,omitzero"`
	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method,omitempty"`
	ApplicationType         string   `json:"application_type,omitempty"`
	Scope                   string   `json:"scope,omitempty"`

	JWKS              json.RawMessage `json:"jwks,omitempty"`
	TLSSubject        string          `json:"tls_client_auth_subject_dn,omitempty"` // RFC 8705 section 2.1.2
	SoftwareStatement string          `json:"software_statement,omitempty"`         // RFC 7591 section 2.3

	// InitialAccessToken is sent as a bearer token, for servers that require one (RFC 7591
	// section 3).
	InitialAccessToken Secret `json:"-"`
}

// Registration is a registration response (RFC 7591 section 3.2.1).
type Registration struct {
	ClientID        string
	ClientSecret    Secret
	SecretExpiresAt time.Time // zero: it does not expire, or that is not known

	// TokenEndpointAuthMethod is the registered method, "" if the response has none. It may differ
	// from the requested one, and then it is the one to use.
	TokenEndpointAuthMethod string

	// DPoPBoundAccessTokens reports whether the server requires proofs of this client (RFC 9449
	// section 5.2).
	DPoPBoundAccessTokens bool

	RedirectURIs            []string
	RegistrationAccessToken Secret
	RegistrationClientURI   string
	Raw                     Secret // the whole response
}

const registerSpec = "RFC 7591 section 3.2.1"

// Register registers a client (RFC 7591 section 3). It returns a [*RegistrationError], which wraps
// an [*Error], if the server rejects the request, a [*TransientError] if it did not respond or the
// failure may pass, and a [*ProtocolError] if the endpoint or the response must not be used.
// Redirects are followed on the same origin if the request remains a POST.
func (f *Fetcher) Register(ctx context.Context, endpoint string,
	req RegistrationRequest) (*Registration, error) {
	if _, err := parseEndpoint("the registration endpoint", endpoint); err != nil {
		return nil, err
	}
	body, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("oauth: registration request: %w", err)
	}
	return f.register(ctx, endpoint, req.InitialAccessToken, body)
}

// malformedRegistration is JSON that is cut off: no server can make a client of it.
const malformedRegistration = `{"redirect_uris":`

// ProbeRegistration sends a registration request that no server can carry out, as its JSON is cut
// off, and returns the rejection: a [*RegistrationError] that shows whether the endpoint takes
// registrations at all, or another error of [Fetcher.Register].
func (f *Fetcher) ProbeRegistration(ctx context.Context, endpoint string, initialAccessToken Secret) error {
	if _, err := parseEndpoint("the registration endpoint", endpoint); err != nil {
		return err
	}
	_, err := f.register(ctx, endpoint, initialAccessToken, []byte(malformedRegistration))
	return err
}

func (f *Fetcher) register(ctx context.Context, endpoint string, initialAccessToken Secret,
	body []byte) (*Registration, error) {
	a, err := f.managed(ctx, http.MethodPost, endpoint, initialAccessToken, body)
	if err != nil {
		return nil, err
	}
	r := a.reply("registration")
	if a.status/100 != 2 {
		err := r.failure()
		_, transient := errtype.As[*TransientError](err)
		if transient && a.status/100 == 4 && !slices.Contains([]int{408, 425, 429}, a.status) {
			err = r.error("", "") // a plain "Forbidden" rejects a registration: no grant is at stake
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

// registrationError returns err, and an [*Error] as a [*RegistrationError].
func registrationError(err error, r reply, body []byte) error {
	if rejected, ok := errtype.As[*Error](err); ok {
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

// managed sends a request of RFC 7591 or RFC 7592, with token, if it is not "", as the bearer
// token.
func (f *Fetcher) managed(ctx context.Context, method, target string, token Secret,
	body []byte) (*response, error) {
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
	a, err := f.roundTrip(rt, req, maxDocument, Exchange{Purpose: PurposeRegistration})
	if err != nil {
		return nil, &TransientError{Reason: "no response from " + req.URL.Host, Err: carried.redactError(err)}
	}
	a.redactor = carried
	return a, nil
}

// ParseRegistration parses a registration response, received or stored (RFC 7591 section 3.2.1). It
// treats null and empty members as absent, and accepts numbers for strings and a method in an
// array. It returns a [*ProtocolError] if the response must not be used.
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
		DPoPBoundAccessTokens:   o.flag("dpop_bound_access_tokens"),
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
			return nil, protocolErrorf("RFC 6749 appendix A",
				"the registration has a malformed %s", name)
		}
	}
	// These two serve only to manage the registration; a login works without them.
	if token := r.RegistrationAccessToken; CheckEndpoint(r.RegistrationClientURI) != nil ||
		!isHeaderSafe(token.Reveal()) || token.IsPlaceholder() {
		r.RegistrationClientURI, r.RegistrationAccessToken = "", ""
	}
	// 0 means that it does not expire; a date beyond the year 5000 is in milliseconds or wrong, and
	// ignored.
	if at, ok := o.number("client_secret_expires_at"); ok && at >= 1 && at < 1e11 {
		r.SecretExpiresAt = time.Unix(int64(at), 0).UTC()
	}
	return r, nil
}
