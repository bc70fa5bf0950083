package mutant

import (
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
)

// resourceMetadata is RFC 9728's, as far as it is needed.
type resourceMetadata struct {
	Resource string   `json:"resource"`
	Servers  []string `json:"authorization_servers"`
	Scopes   []string `json:"scopes_supported"`

	DPoP         []string `json:"dpop_signing_alg_values_supported"`
	DPoPRequired bool     `json:"dpop_bound_access_tokens_required"`
}

// serverMetadata is RFC 8414's.
type serverMetadata struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Registration  string   `json:"registration_endpoint"`
	Methods       []string `json:"token_endpoint_auth_methods_supported"`
	PKCE          []string `json:"code_challenge_methods_supported"`
	Scopes        []string `json:"scopes_supported"`
	Grants        []string `json:"grant_types_supported"`
	IssSent       bool     `json:"authorization_response_iss_parameter_supported"`
	DPoP          []string `json:"dpop_signing_alg_values_supported"`
	Push          string   `json:"pushed_authorization_request_endpoint"`
	PushRequired  bool     `json:"require_pushed_authorization_requests"`
	Device        string   `json:"device_authorization_endpoint"`
	Aliases       struct {
		Token string `json:"token_endpoint"`
	} `json:"mtls_endpoint_aliases"`
}

// discover finds the authorization server and its endpoints.
func (c *Client) discover(ctx context.Context,
	metadata string) (*resourceMetadata, *serverMetadata, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, nil, err
	}
	origin := u.Scheme + "://" + u.Host
	const known = "/.well-known/oauth-protected-resource"
	var rm resourceMetadata
	found := false
	if !strings.HasPrefix(metadata, origin+"/") && c.Defect != ChallengeTrusted {
		metadata = "" // another origin's word is not the server's
	}
	for _, at := range []string{metadata, origin + known + u.Path, origin + known} {
		if at == "" || found {
			continue
		}
		if found, err = c.get(ctx, at, &rm); err != nil {
			return nil, nil, err
		}
	}
	if !found || len(rm.Servers) == 0 {
		rm.Resource = c.URL
		sm, err := c.legacy(ctx, origin)
		return &rm, sm, err
	}
	if rm.Resource != origin && rm.Resource != origin+"/" &&
		!strings.HasPrefix(rm.Resource, c.URL) {
		return nil, nil, errors.New("the metadata is another resource's")
	}
	for i, issuer := range rm.Servers {
		sm, err := c.server(ctx, issuer)
		if !errors.Is(err, errNoMetadata) || i == len(rm.Servers)-1 || c.Defect == FirstServerOnly {
			return &rm, sm, err
		}
	}
	return nil, nil, errNoMetadata
}

var errNoMetadata = errors.New("the authorization server has no metadata")

// server finds the metadata of an issuer.
func (c *Client) server(ctx context.Context, issuer string) (*serverMetadata, error) {
	u, err := url.Parse(strings.TrimSuffix(issuer, "/"))
	if err != nil {
		return nil, err
	}
	origin := u.Scheme + "://" + u.Host
	var first *serverMetadata
	for _, at := range []string{
		origin + "/.well-known/oauth-authorization-server" + u.Path,
		origin + "/.well-known/openid-configuration" + u.Path,
		origin + u.Path + "/.well-known/openid-configuration",
	} {
		var sm serverMetadata
		found, err := c.get(ctx, at, &sm)
		if err != nil {
			return nil, err
		}
		switch {
		case !found:
		case first == nil:
			first = &sm
		case first.Issuer == sm.Issuer:
			first.complete(&sm)
		}
		if first != nil && (first.Registration != "" && first.PKCE != nil ||
			c.Defect == FirstDocumentOnly) {
			break
		}
	}
	if first == nil {
		return nil, errNoMetadata
	}
	return first, c.check(first, issuer)
}

// complete takes what is missing from another document.
func (sm *serverMetadata) complete(other *serverMetadata) {
	if sm.Registration == "" {
		sm.Registration = other.Registration
	}
	if sm.PKCE == nil {
		sm.PKCE = other.PKCE
	}
}

// legacy is what MCP said in 2025-03-26: the server is its own authorization
// server, and without metadata its endpoints are at the root.
func (c *Client) legacy(ctx context.Context, origin string) (*serverMetadata, error) {
	var sm serverMetadata
	found, err := c.get(ctx, origin+"/.well-known/oauth-authorization-server", &sm)
	if err != nil {
		return nil, err
	}
	if found {
		return &sm, c.check(&sm, origin)
	}
	return &serverMetadata{
		Issuer: origin, Authorization: origin + "/authorize", Token: origin + "/token", Registration: origin + "/register",
		Methods: []string{"none"},
	}, nil
}

// check rejects metadata that no honest server has.
func (c *Client) check(sm *serverMetadata, issuer string) error {
	if strings.TrimSuffix(sm.Issuer, "/") != strings.TrimSuffix(issuer, "/") {
		return errors.New("the metadata is another issuer's")
	}
	if !slices.Contains(sm.PKCE, "S256") {
		return errors.New("the authorization server does not list PKCE")
	}
	if c.Defect == OpensAnything {
		return nil
	}
	for _, endpoint := range []string{sm.Authorization, sm.Token, sm.Registration} {
		u, err := url.Parse(endpoint)
		if endpoint == "" {
			continue
		}
		ip := net.ParseIP(u.Hostname())
		switch {
		case err != nil, strings.ContainsAny(endpoint, "`$;|<>\"' \\"):
			return errors.New("an endpoint is no plain URL")
		case ip != nil && ip.IsLinkLocalUnicast():
			return errors.New("an endpoint is where no server is")
		case u.Scheme != "https" && (u.Scheme != "http" || ip == nil || !ip.IsLoopback()):
			return errors.New("an endpoint is reached in the clear, or not at all")
		}
	}
	return nil
}
