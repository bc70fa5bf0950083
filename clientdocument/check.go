package clientdocument

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Finding is what is wrong with a document, in one sentence.
type Finding struct {
	// Error: servers must reject the document for it. Otherwise some do, or it is likely to be a
	// mistake.
	Error bool
	Text  string
}

// maxBytes is what a server reads of a document at most, as the draft recommends (section 8.7).
const maxBytes = 5 << 10

// findings collects what is found.
type findings []Finding

func (f *findings) fail(format string, args ...any) {
	*f = append(*f, Finding{Error: true, Text: fmt.Sprintf(format, args...)})
}

func (f *findings) warn(format string, args ...any) {
	*f = append(*f, Finding{Text: fmt.Sprintf(format, args...)})
}

// Check checks a document that is or will be served at the URL location, which may be empty if the
// document has none. Findings are in the order of the document's members; there are none if all is
// well.
func Check(location string, data []byte) []Finding {
	var f findings
	if location != "" {
		f.location(location)
	}
	if len(data) > maxBytes {
		f.warn("the document has %d bytes: servers may read %d at most", len(data), maxBytes)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil || members == nil {
		f.fail("the document is not a JSON object")
		return f
	}
	d, wrong := f.decode(members)
	switch {
	case wrong["client_id"]:
	case d.ClientID == "":
		f.fail("client_id is missing: it is the URL of the document")
	case d.ClientID == location:
	default:
		f.fail("client_id is %q, and the document is at %q: "+
			"they must be the same, character by character", d.ClientID, location)
	}
	if strings.TrimSpace(d.ClientName) == "" && !wrong["client_name"] {
		f.fail("client_name is missing: servers show it to the user")
	}
	f.webPage("client_uri", d.ClientURI)
	f.webPage("logo_uri", d.LogoURI)
	if !wrong["redirect_uris"] {
		f.redirects(d)
	}
	f.grants(d)
	f.authentication(d, members)
	return f
}

// CheckResponse checks how a server serves a document, or the JWK set at its jwks_uri (section 5).
func CheckResponse(status int, header http.Header) []Finding {
	var f findings
	switch {
	case status/100 == 3:
		f.fail("the response is a redirect (%d), which servers do not follow: use the final URL", status)
	case status != http.StatusOK:
		f.fail("the response has status %d instead of 200", status)
	}
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || media != "application/json" &&
		!(strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")) {
		f.fail("the Content-Type is %q instead of application/json", header.Get("Content-Type"))
	}
	if strings.Contains(strings.ToLower(header.Get("Cache-Control")), "no-store") {
		f.warn("Cache-Control forbids to store the response: servers fetch it for each login")
	}
	return f
}

// decode reads each member by itself, so that one of the wrong type does not hide the others. It
// returns which are of the wrong type.
func (f *findings) decode(members map[string]json.RawMessage) (d Document, wrong map[string]bool) {
	wrong = make(map[string]bool)
	for _, m := range []struct {
		name, kind string
		to         any
	}{
		{"client_id", "a string", &d.ClientID},
		{"client_name", "a string", &d.ClientName},
		{"client_uri", "a string", &d.ClientURI},
		{"logo_uri", "a string", &d.LogoURI},
		{"application_type", "a string", &d.ApplicationType},
		{"redirect_uris", "a list of strings", &d.RedirectURIs},
		{"grant_types", "a list of strings", &d.GrantTypes},
		{"response_types", "a list of strings", &d.ResponseTypes},
		{"scope", "a string with spaces between the scopes", &d.Scope},
		{"token_endpoint_auth_method", "a string", &d.TokenEndpointAuthMethod},
		{"token_endpoint_auth_signing_alg", "a string", &d.TokenEndpointAuthAlg},
		{"jwks_uri", "a string", &d.JWKSURI},
		{"jwks", "a JWK set", &d.JWKS},
	} {
		if raw, ok := members[m.name]; ok && json.Unmarshal(raw, m.to) != nil {
			f.fail("%s is not %s", m.name, m.kind)
			wrong[m.name] = true
		}
	}
	return d, wrong
}

// location checks the URL of the document (section 3).
func (f *findings) location(location string) {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" {
		f.fail("the client ID %q is not a URL", location)
		return
	}
	if u.Scheme != "https" {
		f.fail("the URL of the document must start with https")
	}
	if u.Path == "" || u.Path == "/" {
		f.fail("the URL of the document has no path: write one, such as https://%s/client.json", u.Host)
	}
	if slices.ContainsFunc(strings.Split(u.Path, "/"), isDotSegment) {
		f.fail(`the path of the document's URL has a segment "." or ".."`)
	}
	if strings.Contains(location, "#") {
		f.fail("the URL of the document has a fragment (#)")
	}
	if u.User != nil {
		f.fail("the URL of the document has a user name or a password")
	}
	if strings.Contains(location, "?") {
		f.warn("the URL of the document has a query, which it should not have")
	}
	if host := u.Hostname(); host != strings.ToLower(host) || u.Port() == "443" ||
		!strings.HasPrefix(location, u.Scheme+":") {
		f.warn("the URL of the document is not normalized, and servers compare it character by " +
			"character: write scheme and host in lower case, without port 443")
	}
	if !isPublic(u.Hostname()) {
		f.warn("servers fetch no document from %s, which is not a public address", u.Hostname())
	}
}

func isDotSegment(segment string) bool { return segment == "." || segment == ".." }

// isPublic reports whether a server may fetch from the host, as far as its name tells (section
// 8.6).
func isPublic(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsGlobalUnicast() && !ip.IsPrivate()
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return strings.Contains(host, ".") && !strings.HasSuffix(host, ".localhost") &&
		!strings.HasSuffix(host, ".local") && !strings.HasSuffix(host, ".internal")
}

// webPage checks a URL that a server shows to the user.
func (f *findings) webPage(name, page string) {
	u, err := url.Parse(page)
	switch {
	case page == "":
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		f.fail("%s is not the URL of a web page", name)
	case u.Scheme == "http":
		f.warn("%s does not start with https", name)
	}
}
