package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strings"
)

// ConfiguredServer is the user's configuration of an authorization server whose metadata is missing
// or breaks a rule.
type ConfiguredServer struct {
	Issuer string // "": made from the authorization endpoint

	AuthorizationEndpoint string
	TokenEndpoint         string
	RegistrationEndpoint  string
	RevocationEndpoint    string
}

// ConfiguredServerMetadata returns the metadata of an authorization server that the user
// configured. With both an authorization and a token endpoint no document is fetched. Otherwise
// it is the document at the locations of the issuer, whatever issuer it names, with the
// configured endpoints in place of its own. The errors are those of [Fetcher.ServerMetadata].
func (f *Fetcher) ConfiguredServerMetadata(ctx context.Context,
	s ConfiguredServer) (*ServerMetadata, error) {
	if s.AuthorizationEndpoint != "" && s.TokenEndpoint != "" {
		return s.metadata()
	}
	places, err := serverPlaces(s.Issuer)
	if err != nil {
		return nil, err
	}
	return search(ctx, f, PurposeServer, places, func(place string, body []byte) (*ServerMetadata, error) {
		return s.parse(body, formOf(place))
	})
}

// metadata returns metadata without a document.
func (s ConfiguredServer) metadata() (*ServerMetadata, error) {
	u, err := parseEndpoint("the configured authorization endpoint", s.AuthorizationEndpoint)
	if err != nil {
		return nil, err
	}
	m := &ServerMetadata{Form: FormConfigured, Issuer: s.Issuer}
	if m.Issuer == "" {
		m.Issuer = origin(u)
	}
	for what, endpoint := range map[string]string{
		"issuer": m.Issuer, "token endpoint": s.TokenEndpoint,
		"registration endpoint": s.RegistrationEndpoint, "revocation endpoint": s.RevocationEndpoint,
	} {
		if endpoint == "" {
			continue
		}
		if _, err := parseEndpoint("the configured "+what, endpoint); err != nil {
			return nil, err
		}
	}
	m.AuthorizationEndpoint, m.TokenEndpoint = s.AuthorizationEndpoint, s.TokenEndpoint
	m.RegistrationEndpoint, m.RevocationEndpoint = s.RegistrationEndpoint, s.RevocationEndpoint
	return m, nil
}

// parse parses a document in which the configured values replace its own.
func (s ConfiguredServer) parse(body []byte, form string) (*ServerMetadata, error) {
	o, err := readDocument(body)
	if errors.Is(err, errNoObject) {
		return nil, ErrNoMetadata
	}
	if err != nil {
		return nil, protocolErrorf(serverSpec+" section 3.2",
			"the authorization server's metadata cannot be read: %v", err)
	}
	if !o.has("authorization_endpoint") && !o.has("token_endpoint") {
		return nil, ErrNoMetadata
	}
	members := o.asMap()
	configured := map[string]string{
		"issuer": s.Issuer, "authorization_endpoint": s.AuthorizationEndpoint, "token_endpoint": s.TokenEndpoint,
		"registration_endpoint": s.RegistrationEndpoint, "revocation_endpoint": s.RevocationEndpoint,
	}
	for name, value := range configured {
		if value != "" {
			members[name], _ = json.Marshal(value) // a string can always be written
		}
	}
	if aliases, err := readObject(members["mtls_endpoint_aliases"]); err == nil {
		others := aliases.asMap()
		maps.DeleteFunc(others, func(name string, _ json.RawMessage) bool { return configured[name] != "" })
		members["mtls_endpoint_aliases"], _ = writeObject(others)
	}
	raw, err := writeObject(members)
	if err != nil {
		return nil, protocolErrorf(serverSpec+" section 3.2",
			"the authorization server's metadata cannot be read: %v", err)
	}
	m, err := ParseServerMetadata(raw, s.Issuer, form)
	if err != nil {
		return nil, err
	}
	m.CallbackIssuer = o.text("issuer")
	return m, nil
}

// template returns the parts around the placeholder of an issuer that stands for several tenants,
// such as Microsoft's {tenantid}.
func template(issuer string) (before, after string, found bool) {
	before, rest, found := strings.Cut(issuer, "{")
	if !found {
		return "", "", false
	}
	_, after, found = strings.Cut(rest, "}")
	return before, after, found
}

// matchesIssuer compares iss with an issuer byte by byte. A placeholder in the issuer stands for
// one segment of the path.
func matchesIssuer(iss, issuer string) bool {
	before, after, found := template(issuer)
	if !found {
		return iss == issuer
	}
	rest, ok := strings.CutPrefix(iss, before)
	if !ok || !strings.HasSuffix(rest, after) || !strings.HasSuffix(before, "/") ||
		strings.Count(before, "/") < 3 {
		return false
	}
	name := strings.TrimSuffix(rest, after)
	return name != "" &&
		strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
