package clientdocument

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// grantTypes returns those of the document, or what they are if it has none (RFC 7591, section 2).
func (d Document) grantTypes() []string {
	if d.GrantTypes == nil {
		return []string{"authorization_code"}
	}
	return d.GrantTypes
}

// usesRedirect reports whether one of the grants needs redirect URIs.
func usesRedirect(grants []string) bool {
	return slices.Contains(grants, "authorization_code") || slices.Contains(grants, "implicit")
}

func (f *findings) grants(d Document) {
	grants := d.grantTypes()
	code := slices.Contains(grants, "authorization_code")
	for _, old := range []string{"implicit", "password"} {
		if slices.Contains(grants, old) {
			f.warn("grant_types has %q, which OAuth 2.1 does not have", old)
		}
	}
	if code && !slices.Contains(grants, "refresh_token") {
		f.warn("grant_types does not have refresh_token: servers may issue none, " +
			"and the user has to log in each time that an access token expires")
	}
	if code && d.ResponseTypes != nil && !slices.Contains(d.ResponseTypes, "code") {
		f.fail("response_types does not have code, which the grant authorization_code needs")
	}
	if !code && slices.Contains(d.ResponseTypes, "code") {
		f.fail("response_types has code, and grant_types does not have authorization_code")
	}
	if d.TokenEndpointAuthMethod == "none" && slices.Contains(grants, "client_credentials") {
		f.fail("grant_types has client_credentials, which needs a client that authenticates itself: " +
			"use private_key_jwt")
	}
}

// redirects checks the redirect URIs, and that the application type suits them (OpenID Connect
// Dynamic Client Registration, section 2).
func (f *findings) redirects(d Document) {
	if len(d.RedirectURIs) == 0 {
		if usesRedirect(d.grantTypes()) {
			f.fail("redirect_uris is missing")
		} else {
			f.warn("redirect_uris is missing, which the MCP specification requires of every document")
		}
	}
	for _, redirect := range d.RedirectURIs {
		f.redirect(redirect)
	}
	switch d.ApplicationType {
	case "":
		if anyNative(d.RedirectURIs) {
			f.warn("application_type is missing and means web, for which OpenID providers " +
				"reject redirect URIs on this machine: write native")
		}
	case "web":
		if anyNative(d.RedirectURIs) {
			f.fail("application_type is web, and a redirect URI is on the user's machine: write native")
		}
	case "native":
	default:
		f.fail("application_type is %q instead of native or web", d.ApplicationType)
	}
}

// unsafeSchemes are those that a browser may run or show instead of calling an application.
var unsafeSchemes = []string{
	"javascript", "data", "vbscript", "file", "blob", "about", "ftp", "ws", "wss",
}

func (f *findings) redirect(redirect string) {
	u, err := url.Parse(redirect)
	switch {
	case err != nil || u.Scheme == "":
		f.fail("the redirect URI %q is not an absolute URI", redirect)
	case u.User != nil:
		f.fail("a redirect URI has a user name or a password")
	case slices.Contains(unsafeSchemes, u.Scheme):
		f.fail("the redirect URI %q has the scheme %s", redirect, u.Scheme)
	case strings.Contains(redirect, "#"):
		f.fail("the redirect URI %q has a fragment", redirect)
	case strings.Contains(redirect, "*"):
		f.fail("the redirect URI %q has a wildcard: servers compare it character by character", redirect)
	case u.Scheme == "https" || u.Scheme == "http":
		f.webRedirect(redirect, u)
	case !strings.Contains(u.Scheme, "."):
		f.warn("the redirect URI %q has a scheme without a dot: "+
			"use one made of a domain of yours, such as com.example.app", redirect)
	}
}

func (f *findings) webRedirect(redirect string, u *url.URL) {
	if u.Host == "" {
		f.fail("the redirect URI %q has no host", redirect)
	} else if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		f.fail("the redirect URI %q must start with https: http is for the user's machine only", redirect)
	}
}

// anyNative reports whether a redirect URI leads to an application on the user's machine (RFC
// 8252, section 7).
func anyNative(redirects []string) bool {
	return slices.ContainsFunc(redirects, func(redirect string) bool {
		u, err := url.Parse(redirect)
		return err == nil && u.Scheme != "" && (u.Scheme != "https" || isLoopback(u.Hostname()))
	})
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}
