package lab

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// RegistrationRule rejects the registrations that have something in them.
type RegistrationRule struct {
	// Has is what they have: "scope" (any), "scope:NAME", "grant:NAME",
	// "method:NAME", "application_type" (any), "application_type:NAME" or
	// "redirect_host:NAME".
	Has string `json:"has"`
	// Status of the response. Zero means 400.
	Status int `json:"status,omitempty"`
	// Error and Description are its error response (RFC 7591 section 3.2.2).
	Error       string `json:"error,omitempty"`
	Description string `json:"description,omitempty"`
	// Body is the response in place of them; it is JSON if it begins like that.
	Body string `json:"body,omitempty"`
}

// registrationMembers are what a rule can look for.
var registrationMembers = []string{"scope", "grant", "method", "application_type", "redirect_host"}

func (r RegistrationRule) check() error {
	member, _, _ := strings.Cut(r.Has, ":")
	if !slices.Contains(registrationMembers, member) {
		return fmt.Errorf("lab: a registration cannot have %q", r.Has)
	}
	if r.Error == "" && r.Body == "" {
		return fmt.Errorf("lab: the rule for %q has neither an error nor a body", r.Has)
	}
	return nil
}

// registrationRequest is the metadata with which a client registers (RFC 7591 section 2).
type registrationRequest struct {
	ClientName      string   `json:"client_name"`
	RedirectURIs    []string `json:"redirect_uris"`
	GrantTypes      []string `json:"grant_types"`
	Method          string   `json:"token_endpoint_auth_method"`
	ResponseTypes   []string `json:"response_types"`
	ApplicationType string   `json:"application_type"`
	Scope           string   `json:"scope"`
	Statement       string   `json:"software_statement"`
	clientDocument
}

// redirects reports whether the client has authorization responses redirected to it.
func (r registrationRequest) redirects() bool {
	return len(r.GrantTypes) == 0 || slices.Contains(r.GrantTypes, "authorization_code")
}

// consistent reports whether the response types fit the grants: code, which they are where there
// are none, belongs to authorization_code (RFC 7591 section 2.1).
func (r registrationRequest) consistent() bool {
	return r.redirects() || r.ResponseTypes != nil && len(r.ResponseTypes) == 0
}

// authenticates reports whether there is what the method needs.
func (r registrationRequest) authenticates() bool {
	switch r.Method {
	case MethodPrivateKeyJWT, MethodSelfSignedTLS:
		return r.JWKS != nil || r.JWKSURI != ""
	case MethodTLS:
		return r.SubjectDN != ""
	}
	return true
}

// rejects reports whether a registration has what the rule looks for.
func (r RegistrationRule) rejects(asked registrationRequest) bool {
	member, name, named := strings.Cut(r.Has, ":")
	var values []string
	switch member {
	case "scope":
		values = strings.Fields(asked.Scope)
	case "grant":
		values = asked.GrantTypes
	case "method":
		values = []string{asked.Method}
	case "application_type":
		values = strings.Fields(asked.ApplicationType)
	case "redirect_host":
		for _, uri := range asked.RedirectURIs {
			if u, err := url.Parse(uri); err == nil {
				values = append(values, u.Hostname())
			}
		}
	}
	if named {
		return slices.Contains(values, name)
	}
	return len(values) > 0
}

func (r RegistrationRule) response() response {
	status := r.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	if r.Body == "" {
		return oauthError(status, r.Error, r.Description)
	}
	kind := "text/plain; charset=utf-8"
	if strings.HasPrefix(r.Body, "{") || strings.HasPrefix(r.Body, "[") {
		kind = "application/json"
	}
	return response{status: status, header: contentType(kind), body: []byte(r.Body)}
}
