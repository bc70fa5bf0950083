package oauth

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
)

// ResourceMetadata is a protected resource metadata document (RFC 9728 section
// 2), as far as it is used.
type ResourceMetadata struct {
	// Resource is the resource identifier, byte for byte as published. It is
	// the server's URL or a parent of it.
	Resource string

	// AuthorizationServers are issuer identifiers; nil if the document names
	// none.
	AuthorizationServers []string

	ScopesSupported []string // nil: omitted

	// RFC 9449 section 6.2.
	DPoPBoundAccessTokensRequired bool
	DPoPSigningAlgValuesSupported []string // nil: omitted
}

// OffersDPoP reports whether the server takes access tokens that are bound to a key.
func (m *ResourceMetadata) OffersDPoP() bool {
	return m != nil && (m.DPoPBoundAccessTokensRequired || len(m.DPoPSigningAlgValuesSupported) > 0)
}

// ProofAlgorithms returns the JWS algorithms that the server takes of proofs; nil if it names none.
func (m *ResourceMetadata) ProofAlgorithms() []string {
	if m == nil {
		return nil
	}
	return m.DPoPSigningAlgValuesSupported
}

// otherTimeout is the part of documentTimeout that is reserved for the well-known locations where a
// challenge names another URL.
const otherTimeout = 3 * time.Second

const resourceSpec = "RFC 9728"

// ResourceMetadata finds the metadata of an MCP server: at the URL in the server's challenge
// (challengeURL, "" for none), at the well-known location with the path of the server's URL
// inserted, and at the one of its origin (RFC 9728 section 3). If the challenge names another
// origin, or a URL that cannot be reached, the well-known locations are still tried.
//
// It returns [ErrNoMetadata] if every location responds that there is none, a [*ProtocolError] if a
// document contradicts the server's URL or must not be used, and a [*TransientError] if a location
// may respond otherwise later.
func (f *Fetcher) ResourceMetadata(ctx context.Context,
	serverURL, challengeURL string) (*ResourceMetadata, error) {
	server, err := parseURL("the server's URL", withoutFragment(serverURL))
	if err != nil {
		return nil, err
	}
	places := resourcePlaces(server)
	parse := func(_ string, body []byte) (*ResourceMetadata, error) {
		rm, err := parseResourceMetadata(body, serverURL)
		if err == nil {
			err = f.dropRepeating(rm)
		}
		return rm, err
	}
	var unsure error
	place := challengedPlace(server, challengeURL)
	if i := slices.Index(places, place); i >= 0 {
		places = append([]string{place}, slices.Delete(places, i, i+1)...)
	} else if place != "" {
		// Part of the time is reserved for the other places: only this one may hang.
		first, cancel := context.WithTimeout(ctx, documentTimeout-otherTimeout)
		defer cancel()
		rm, err := search(first, f, PurposeResource, []string{place}, parse)
		if err == nil {
			return rm, nil
		}
		if transient, ok := errtype.As[*TransientError](err); ok && ctx.Err() == nil {
			unsure = err
			if isTimeout(transient.Err) {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, otherTimeout)
				defer cancel()
			}
		} else if !errors.Is(err, ErrNoMetadata) {
			return nil, err
		}
	}
	rm, err := search(ctx, f, PurposeResource, places, parse)
	if errors.Is(err, ErrNoMetadata) && unsure != nil {
		return nil, unsure
	}
	return rm, err
}

// challengedPlace returns the metadata URL in a challenge, "" if it is not on the server's origin.
func challengedPlace(server *url.URL, challengeURL string) string {
	if challengeURL == "" {
		return ""
	}
	// A relative reference is not allowed there, but harmless.
	u, err := server.Parse(challengeURL)
	if err != nil || u.User != nil || !SameOrigin(u, server) {
		return ""
	}
	u.Fragment = ""
	return u.String()
}

// resourcePlaces returns the well-known locations of a server's metadata. A slash at the end of the
// path belongs to the location (RFC 9728 section 3.1), but most servers leave it out.
func resourcePlaces(server *url.URL) []string {
	wellKnown := origin(server) + "/.well-known/oauth-protected-resource"
	query := ""
	if server.RawQuery != "" {
		query = "?" + server.RawQuery // RFC 9728 section 3: inserted before path and query
	}
	var places []string
	path := server.EscapedPath()
	if short := strings.TrimSuffix(path, "/"); short != "" {
		places = append(places, wellKnown+short+query)
		if short != path {
			places = append(places, wellKnown+path+query)
		}
	}
	return append(places, wellKnown)
}

// search requests a document from one place after the other and returns the first one. It returns
// [ErrNoMetadata] only if every place responds that there is none, else the first
// [*TransientError].
func search[T any](ctx context.Context, f *Fetcher, what string, places []string,
	parse func(place string, body []byte) (*T, error)) (*T, error) {
	var unsure error
	tried := make(map[string]bool, len(places))
	for _, place := range places {
		if tried[place] {
			continue
		}
		tried[place] = true
		a, err := f.document(ctx, what, place)
		if err == nil {
			err = documentError(a)
		}
		if err == nil {
			var doc *T
			doc, err = parse(place, trimBOM(a.body))
			if err == nil {
				return doc, nil
			}
		}
		transient, isTransient := errtype.As[*TransientError](err)
		switch {
		case errors.Is(err, ErrNoMetadata):
		case isTransient:
			if unsure == nil {
				unsure = err
			}
			if isTimeout(transient.Err) || ctx.Err() != nil {
				return nil, unsure // the other places are on the same host
			}
		default:
			return nil, err
		}
	}
	if unsure != nil {
		return nil, unsure
	}
	return nil, ErrNoMetadata
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// parseResourceMetadata parses a metadata document of serverURL. It returns [ErrNoMetadata] if the
// JSON is no such document, and a [*ProtocolError] if the document must not be used.
func parseResourceMetadata(raw []byte, serverURL string) (*ResourceMetadata, error) {
	o, err := readDocument(raw)
	if errors.Is(err, errNoObject) || err == nil && !o.has("resource") &&
		!o.has("authorization_servers") {
		return nil, ErrNoMetadata
	}
	if err != nil {
		return nil, protocolErrorf(resourceSpec+" section 3.2",
			"the server's metadata cannot be read: %v", err)
	}
	if err := checkLinks(raw, resourceSpec+" section 7"); err != nil {
		return nil, err
	}
	rm := &ResourceMetadata{
		Resource:             o.text("resource"),
		AuthorizationServers: o.list("authorization_servers"),
		ScopesSupported:      scopeList(o, "scopes_supported"),

		DPoPBoundAccessTokensRequired: o.flag("dpop_bound_access_tokens_required"),
		DPoPSigningAlgValuesSupported: o.list("dpop_signing_alg_values_supported"),
	}
	if err := checkResource(rm.Resource, serverURL); err != nil {
		return nil, err
	}
	var wrong error
	rm.AuthorizationServers = slices.DeleteFunc(rm.AuthorizationServers, func(issuer string) bool {
		_, err := parseEndpoint("the authorization server", issuer)
		if err != nil && wrong == nil {
			wrong = err
		}
		return err != nil
	})
	if wrong != nil && len(rm.AuthorizationServers) == 0 {
		return nil, wrong
	}
	return rm, nil
}

// dropRepeating removes the authorization servers that have a secret in their URL: an issuer is stored
// and logged as it is. A piece of a secret is no reason, since tokens and names may begin alike.
func (f *Fetcher) dropRepeating(rm *ResourceMetadata) error {
	if f.Secrets == nil {
		return nil
	}
	named := len(rm.AuthorizationServers)
	rm.AuthorizationServers = slices.DeleteFunc(rm.AuthorizationServers, func(issuer string) bool {
		plain, _ := url.PathUnescape(issuer)
		text := strings.ToLower(issuer + " " + plain)
		return slices.ContainsFunc(f.Secrets(), func(s Secret) bool {
			return len(s) >= leastRepeated && strings.Contains(text, strings.ToLower(s.Reveal()))
		})
	})
	if named > 0 && len(rm.AuthorizationServers) == 0 {
		return protocolErrorf(resourceSpec+" section 2",
			"the server names an authorization server with a secret of this client in its URL")
	}
	return nil
}

// leastRepeated is the length of the shortest secret that is not there by chance.
const leastRepeated = 8

// scopeList reads a list of scopes; a single string with spaces is one too.
func scopeList(o object, name string) []string {
	if v := o.raw(name); len(v) > 0 && v[0] == '"' {
		return strings.Fields(cleanScope(textOf(v)))
	}
	texts := o.list(name)
	if texts == nil {
		return nil
	}
	return validScopes(strings.Fields(strings.Join(texts, " ")))
}

// checkResource returns a [*ProtocolError] unless resource is the server's URL or
// a parent of it on the same origin; a slash at the end and the query make no
// difference (RFC 9728 sections 3.3 and 7.3).
func checkResource(resource, serverURL string) error {
	const spec = resourceSpec + " section 3.3"
	if resource == "" {
		return protocolErrorf(spec, "the server's metadata has no resource")
	}
	r, err := parseURL("the resource", resource)
	if err != nil {
		return err
	}
	s, err := url.Parse(withoutFragment(serverURL))
	if err != nil {
		return protocolErrorf(spec, "the server's URL is not a URL")
	}
	if !SameOrigin(r, s) || !PathWithin(s.EscapedPath(), r.EscapedPath()) {
		err := protocolErrorf(spec, "the metadata of %q describes another resource, %q",
			Sanitize(serverURL), Sanitize(resource))
		err.Resource = resource
		return err
	}
	return nil
}

// ChooseResource returns the resource parameter (RFC 8707 section 2) for a server, and why, in a
// few words. It is the metadata's own string where there is one; rm may be nil. The string is
// never parsed and formatted again as a URL: servers compare bytes.
func ChooseResource(serverURL string, rm *ResourceMetadata) (value, why string) {
	if rm != nil && rm.Resource != "" {
		return rm.Resource, "published by the server"
	}
	value, _, _ = strings.Cut(withoutFragment(serverURL), "?")
	return value, "the server's URL"
}

func withoutFragment(rawURL string) string {
	before, _, _ := strings.Cut(rawURL, "#")
	return before
}
