package lab

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// codeLifetime is how long an authorization code may wait.
const codeLifetime = time.Minute

const scopeOffline = "offline_access"

// consentRequest is an authorization request that waits for the button.
type consentRequest struct {
	code  code
	state string
}

// authorize serves the authorization endpoint (RFC 6749 section 4.1.1). A mistake in the client or
// its redirect URI is shown on a page, without a redirect; others are sent to the redirect URI
// (section 4.1.2.1).
func (s *Server) authorize(x *exchange) response {
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodPost {
		return page(http.StatusMethodNotAllowed, "This page is for browsers.", "")
	}
	if s.habits.Consent == ConsentPage400 {
		return page(http.StatusBadRequest, "This application is not known here.", "")
	}
	if !s.pull(x) {
		a := page(http.StatusBadRequest, "The application's request has expired.", "")
		a.code = "invalid_request_uri"
		return a
	}
	id, redirect := x.form.Get("client_id"), x.form.Get("redirect_uri")
	c, err := s.findClient(x.r.Context(), id)
	if err != nil {
		return s.unknownClient()
	}
	if !s.redirectAllowed(c, redirect) {
		return page(http.StatusBadRequest,
			"The redirect address is not one of the application's.", "")
	}
	state := x.form.Get("state")
	deny := func(code, description string) response {
		a := s.redirect(redirect, state,
			url.Values{"error": {code}, "error_description": {description}})
		a.code = code
		return a
	}
	if s.habits.PAR == PARRequired && !x.pulled {
		return deny("invalid_request", "the request must be pushed")
	}
	if code, description := s.checkAuthorization(x.form); code != "" {
		return deny(code, description)
	}
	granted, offline, rejected := s.grantScope(x.form.Get("scope"))
	if rejected != "" {
		return deny("invalid_scope", rejected)
	}
	pending := code{
		clientID:    id,
		redirectURI: redirect,
		challenge:   x.form.Get("code_challenge"),
		resource:    x.form.Get("resource"),
		scope:       granted,
		offline:     s.offline(x, c, offline),
		details:     x.form.Get("authorization_details"),
		nonce:       x.form.Get("nonce"),
	}
	if s.habits.DPoP.Supported {
		pending.key = x.form.Get("dpop_jkt")
	}
	if x.endpoint != "authorize:preflight" {
		s.mu.Lock()
		pending.by = s.signIn(x)
		s.mu.Unlock()
	}
	switch {
	case x.endpoint == "authorize:preflight":
		return page(http.StatusOK, "Sign in", "")
	case s.habits.Consent == ConsentDeny:
		return deny("access_denied", "the user denied the request")
	case s.habits.Consent == ConsentPage, s.habits.Consent == ConsentPost:
		s.mu.Lock()
		defer s.mu.Unlock()
		handle := newID("")
		s.state.consents[handle] = &consentRequest{code: pending, state: state}
		return page(http.StatusOK, "Let the application use this server?",
			s.endpointURL("/consent")+"?request="+handle)
	}
	return s.approve(pending, state)
}

// checkAuthorization returns the error code and the description of what is wrong with the
// parameters of an authorization request, or nothing.
func (s *Server) checkAuthorization(form url.Values) (code, description string) {
	if name := repeated(form); name != "" {
		return "invalid_request", name + " is given twice"
	}
	if form.Get("response_type") != "code" {
		return "unsupported_response_type", "only code"
	}
	// MCP requires PKCE (RFC 7636) of every client.
	if form.Get("code_challenge") == "" || form.Get("code_challenge_method") != "S256" {
		return "invalid_request", "code_challenge with S256 is required"
	}
	if rejected := s.checkResource(form, s.ResourceURL()); rejected != "" {
		return "invalid_target", rejected
	}
	if why := s.checkDetails(form.Get("authorization_details")); why != "" {
		return "invalid_authorization_details", why
	}
	return "", ""
}

// offline reports whether a refresh token comes with the code. byScope is whether the scope
// requests one.
func (s *Server) offline(x *exchange, c *client, byScope bool) bool {
	switch {
	case s.habits.Offline == OfflineParameter:
		return s.offlineByParameter(x)
	case s.habits.GrantsEnforced && !slices.Contains(c.GrantTypes, "refresh_token"):
		return false
	case s.habits.Offline == OfflineConsent:
		return byScope && prompted(x)
	}
	return byScope
}

// unknownClient returns the page for a client that is not registered, or no longer, without a
// redirect.
func (s *Server) unknownClient() response {
	switch status := s.habits.UnknownClientStatus; status {
	case 0:
		return page(http.StatusBadRequest, "This application is not known here.", "")
	case http.StatusUnprocessableEntity:
		return jsonResponse(status, map[string]string{"message": "Unrecognized client_id"})
	default:
		return page(status, "Internal Server Error", "")
	}
}

// offlineByParameter decides whether a refresh token comes with the code, where
// a parameter asks for it.
func (s *Server) offlineByParameter(x *exchange) bool {
	id := x.form.Get("client_id")
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !s.state.consented[id]
	if x.endpoint != "authorize:preflight" {
		s.state.consented[id] = true
	}
	return x.form.Get("access_type") == "offline" && (first || prompted(x))
}

// prompted reports whether the request wants a prompt for consent.
func prompted(x *exchange) bool {
	return slices.Contains(strings.Fields(x.form.Get("prompt")), "consent")
}

// consent serves the button of the page.
func (s *Server) consent(x *exchange) response {
	handle := x.form.Get("request")
	s.mu.Lock()
	request := s.state.consents[handle]
	if x.r.Method == http.MethodPost {
		delete(s.state.consents, handle)
	}
	s.mu.Unlock()
	if request == nil || x.r.Method != http.MethodPost {
		return page(http.StatusBadRequest, "This page has expired.", "")
	}
	a := s.approve(request.code, request.state)
	if s.habits.Consent == ConsentPost && a.status == http.StatusFound {
		a.status = http.StatusTemporaryRedirect // which keeps the method (RFC 9110, section 15.4.8)
	}
	return a
}

// approve issues a code and sends it to the client.
func (s *Server) approve(c code, state string) response {
	c.ends = s.clock.now().Add(codeLifetime)
	s.mu.Lock()
	value := s.secret("code-", "")
	s.state.codes[value] = &c
	s.mu.Unlock()
	return s.redirect(c.redirectURI, state, url.Values{"code": {value}})
}

// redirect is an authorization response, with iss as the habits want it (RFC
// 9207 section 2), in error responses too.
func (s *Server) redirect(target, state string, params url.Values) response {
	if state != "" {
		params.Set("state", state)
	}
	switch s.habits.Iss {
	case "", IssOn, IssUnexpected:
		params.Set("iss", s.Issuer())
	case IssWrong, IssStray:
		params.Set("iss", "https://issuer.elsewhere.test")
	}
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	header := http.Header{"Location": {target + separator + params.Encode()}, "Cache-Control": {"no-store"}}
	return response{status: http.StatusFound, header: header}
}

// findClient looks a client_id up, fetching its document if it is a URL.
func (s *Server) findClient(ctx context.Context, id string) (*client, error) {
	s.mu.Lock()
	c := s.state.clients[id]
	s.mu.Unlock()
	if c != nil {
		return c, nil
	}
	if !s.habits.ClientIDMetadata || !isMetadataURL(id) {
		return nil, errors.New("no such client")
	}
	raw, err := s.fetch(ctx, id)
	if err != nil {
		return nil, err
	}
	var document struct {
		ClientID     string   `json:"client_id"`
		RedirectURIs []string `json:"redirect_uris"`
		GrantTypes   []string `json:"grant_types"`
		Method       string   `json:"token_endpoint_auth_method"`
		clientDocument
	}
	if err := json.Unmarshal(raw, &document); err != nil {
		return nil, err
	}
	if document.ClientID != id || len(document.RedirectURIs) == 0 {
		return nil, errors.New("the document is not this client's")
	}
	c = &client{ConfiguredClient: ConfiguredClient{
		ID: id, Method: cmp.Or(document.Method, MethodNone), RedirectURIs: document.RedirectURIs,
		GrantTypes: document.GrantTypes,
	}}
	document.describe(&c.ConfiguredClient)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.documents[id] = c
	return c, nil
}

// fetch gets a document of a client.
func (s *Server) fetch(ctx context.Context, url string) ([]byte, error) {
	if s.options.Fetch != nil {
		return s.options.Fetch(ctx, url)
	}
	return fetchDocument(ctx, url)
}

func fetchDocument(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", response.StatusCode)
	}
	return io.ReadAll(io.LimitReader(response.Body, 1<<20))
}

// redirectAllowed compares a redirect URI with the client's.
func (s *Server) redirectAllowed(c *client, redirect string) bool {
	if !acceptableRedirect(redirect) {
		return false
	}
	if len(c.RedirectURIs) == 0 {
		u, err := url.Parse(redirect)
		return err == nil && isLoopback(u.Hostname())
	}
	return slices.ContainsFunc(c.RedirectURIs, func(known string) bool {
		return known == redirect || !s.habits.RedirectExact &&
			withoutPort(known) == withoutPort(redirect)
	})
}

// withoutPort is a loopback redirect URI without its port (RFC 8252 section
// 7.3), and any other one as it is.
func withoutPort(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" || !isLoopback(u.Hostname()) {
		return raw
	}
	u.Host = u.Hostname()
	return u.String()
}

func acceptableRedirect(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Fragment != "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname())
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// repeated names a parameter that is there twice, which RFC 6749 sections 3.1
// and 3.2 forbid (resource may be, by RFC 8707).
func repeated(form url.Values) string {
	for name, values := range form {
		if len(values) > 1 && name != "resource" {
			return name
		}
	}
	return ""
}

// checkResource returns what is wrong with the resource parameter of a leg (RFC
// 8707 section 2), or nothing. bound is what the parameter was on the first leg.
func (s *Server) checkResource(form url.Values, bound string) string {
	values := form["resource"]
	switch s.habits.Resource {
	case ResourceRejected:
		if len(values) > 0 {
			return "AADSTS9010010: the resource parameter does not match the requested scopes"
		}
	case ResourceRequired:
		if len(values) != 1 || values[0] != s.ResourceURL() {
			return "resource must be the one in the metadata"
		}
	default:
		for _, value := range values {
			if strings.TrimSuffix(value, "/") != strings.TrimSuffix(bound, "/") {
				return "that resource is not served here"
			}
		}
	}
	return ""
}

// grantScope returns which of the requested scopes are granted, and whether a refresh token comes
// with them; or why the request is rejected.
func (s *Server) grantScope(requested string) (granted string, offline bool, rejected string) {
	habit := s.habits.Offline
	offline = habit == OfflineIgnored || habit == OfflineNotAllowed
	var scopes []string
	for _, scope := range strings.Fields(requested) {
		switch {
		case scope == scopeOffline && habit == OfflineForbidden:
			return "", false, "offline_access is not for this client"
		case scope == scopeOffline && (habit == OfflineListed || habit == OfflineConsent):
			offline = true
		case scope == scopeOffline && habit == OfflineNotAllowed:
		case !s.knowsScope(scope):
			return "", false, "no such scope"
		}
		if !slices.Contains(s.habits.NeverGrant, scope) && !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	return strings.Join(scopes, " "), offline, ""
}

// openIDScopes are those of OpenID Connect that may be requested where it is known.
var openIDScopes = []string{"openid", "email", "profile"}

// knowsScope reports whether a scope may be requested.
func (s *Server) knowsScope(scope string) bool {
	supported := s.scopesSupported()
	return supported == nil || s.habits.OpenID && slices.Contains(openIDScopes, scope) || slices.Contains(supported, scope) ||
		scope == s.habits.RequiredScope ||
		scope == s.habits.EntryScope || slices.Contains(strings.Fields(s.habits.ChallengeScope),
		scope)
}

// pageContent is what a page shows: a sentence, and a button or a field for a code if there is
// somewhere to go.
type pageContent struct {
	Sentence string
	Button   string // where it goes
	Entry    string // where the code goes
}

// pageTemplate is every page.
var pageTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Handstamp lab</title>
<style>
body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 28rem; margin: 20vh auto; padding: 0 1rem; color-scheme: light dark }
button, input { font: inherit; padding: .5rem 1rem }
</style>
<h1>Handstamp lab</h1>
<p>{{.Sentence}}</p>
{{with .Button}}<form method="post" action="{{.}}"><button autofocus>Allow</button></form>
{{end}}{{with .Entry}}<form action="{{.}}"><label for="code">Code</label>
<input id="code" name="user_code" autocomplete="off" autocapitalize="characters" spellcheck="false" required autofocus>
<button>Continue</button></form>
{{end}}</html>
`))
})

func page(status int, sentence, button string) response {
	return showPage(status, pageContent{Sentence: sentence, Button: button})
}

func showPage(status int, content pageContent) response {
	var b strings.Builder
	if err := pageTemplate().Execute(&b, content); err != nil {
		panic(err) // the template and its data are ours
	}
	header := contentType("text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	return response{status: status, header: header, body: []byte(b.String())}
}
