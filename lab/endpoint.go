package lab

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxBody bounds what a client may send.
const maxBody = 4 << 20

// endpoints are the names of Counts, SetFault and Hold.
var endpoints = [...]string{
	"mcp", "resource_metadata", "server_metadata", "register", "registration", "authorize", "authorize:preflight",
	"consent", "token", "token:code", "token:refresh", "token:client_credentials", "token:device", "token:jwt_bearer", "token:exchange",
	"revoke", "par", "device_authorization", "device", "userinfo", "jwks", "other",
}

// An exchange is one request while it is dealt with.
type exchange struct {
	r        *http.Request
	entry    *Request // in the request log, guarded by Server.mu
	endpoint string
	form     url.Values // of the query and the body
	body     []byte
	rpc      string // its JSON-RPC method
	pulled   bool   // the form is one that the client has pushed
	seen     credentials
	client   *client // as lookUp found it
	keys     []jwk   // its keys
	keysErr  error
	// proof is the DPoP proof, not verified, and seenProof its entry in the log; key is the
	// thumbprint of its key once it is verified, nonce what the next request needs.
	proof      *jwt
	seenProof  *Proof
	key, nonce string
}

// response is the response of an endpoint, before it is sent.
type response struct {
	status int
	header http.Header
	body   []byte
	code   string       // the OAuth error code, for the request log
	stream http.Handler // writes the response instead, if not nil
}

// handle processes a request in steps: request log, faults before, the endpoint, faults after, the
// response.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		panic(http.ErrAbortHandler)
	}
	defer s.requests.Done()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	r = r.WithContext(ctx)

	x, endpoint, err := s.parse(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.record(x)
	fault := s.fault(x) // it belongs to the request that came first, not to the one that was held the shortest
	s.reach(x, "received")
	w.Header().Set("Date", s.clock.now().UTC().Format(http.TimeFormat))
	if s.before(w, x, fault) {
		s.reach(x, "responded")
		return
	}
	a := endpoint(x)
	s.reach(x, "committed")
	a = s.after(x, fault, a)
	s.write(w, x, a)
	s.reach(x, "responded")
}

// begin counts a request in, unless the server is closed.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return false
	}
	s.requests.Add(1)
	return true
}

// parse reads a request and finds the endpoint that it is for.
func (s *Server) parse(r *http.Request) (*exchange, func(*exchange) response, error) {
	x := &exchange{r: r, form: make(url.Values)}
	var handler func(*exchange) response
	x.endpoint, handler = s.route(r)
	var err error
	if x.body, err = io.ReadAll(io.LimitReader(r.Body, maxBody)); err != nil {
		return nil, nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(x.body))
	for name, values := range r.URL.Query() {
		x.form[name] = append(x.form[name], values...)
	}
	switch x.endpoint {
	case "mcp":
		var message struct{ Method string }
		if json.Unmarshal(x.body, &message) == nil {
			x.rpc = message.Method
		}
	case "token", "revoke", "par", "device_authorization", "device", "authorize", "consent":
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
			// A parameter that cannot be decoded is missing, and the endpoint rejects the request.
			values, _ := url.ParseQuery(string(x.body))
			for name, values := range values {
				x.form[name] = append(x.form[name], values...)
			}
		}
	}
	x.endpoint = detailed(x)
	switch kind, _, _ := strings.Cut(x.endpoint, ":"); kind {
	case "token", "revoke", "par", "device_authorization":
		x.seen = readCredentials(r, x.form, s.habits.RevokeWantsSecret)
	default:
		x.seen.id = x.form.Get("client_id")
	}
	x.proof, x.seenProof = readProof(r)
	return x, handler, nil
}

// detailed is the name of an endpoint with the grant, or with what a browser wants of it.
func detailed(x *exchange) string {
	switch x.endpoint {
	case "token":
		return cmp.Or(grantNames[x.form.Get("grant_type")], "token")
	case "authorize":
		if prefetch(x.r) {
			return "authorize:preflight"
		}
	}
	return x.endpoint
}

// prefetch reports whether a program, not the user, loads a page
// (https://fetch.spec.whatwg.org/#sec-purpose-header).
func prefetch(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch")
}

// route returns the name of a request's endpoint and its handler.
func (s *Server) route(r *http.Request) (string, func(*exchange) response) {
	at := func(origin string) bool {
		_, host, _ := strings.Cut(origin, "://")
		return r.Host == host
	}
	path, atMCP := r.URL.Path, at(s.mcpOrigin)
	atServer := at(s.origin) || s.aliasOrigin != "" && at(s.aliasOrigin)
	if s.habits.SlashRedirect != 0 {
		unslashed := strings.TrimSuffix(path, "/")
		moved := []string{s.mcpPath(), s.prefix() + "/token", s.prefix() + "/register"}
		if slices.Contains(moved, path) {
			return "other", s.slashRedirect
		}
		if slices.Contains(moved, unslashed) {
			path = unslashed
		}
	}
	switch {
	case strings.Contains(path, serverWellKnown), strings.Contains(path, openIDWellKnown):
		return "server_metadata", onlyIf(atServer, s.serverMetadata)
	case strings.Contains(path, resourceWellKnown), path == headerOnlyPath:
		return "resource_metadata", onlyIf(atMCP, s.resourceMetadata)
	case atMCP && path == s.mcpPath():
		return "mcp", s.mcp
	}
	if endpoint, under := strings.CutPrefix(path, s.prefix()); atServer && under {
		return s.routeServer(endpoint)
	}
	return "other", notFound
}

// onlyIf returns the handler, or notFound if the request was sent to the other origin.
func onlyIf(here bool, handler func(*exchange) response) func(*exchange) response {
	if !here {
		return notFound
	}
	return handler
}

// routeServer returns the name and the handler of an endpoint of the authorization server.
func (s *Server) routeServer(endpoint string) (string, func(*exchange) response) {
	h := s.habits
	for _, route := range []struct {
		path    string
		there   bool
		handler func(*exchange) response
	}{
		{"/authorize", true, s.authorize},
		{"/consent", true, s.consent},
		{"/token", true, s.token},
		{"/revoke", true, s.revoke},
		{"/register", !h.NoRegistration, s.register},
		{"/par", h.PAR != "", s.push},
		{"/device_authorization", s.grants(GrantDeviceCode), s.deviceAuthorization},
		{"/device", s.grants(GrantDeviceCode), s.devicePage},
		{"/userinfo", h.OpenID, s.userinfo},
		{"/jwks", s.signs(), s.jwks},
	} {
		if route.path == endpoint && route.there {
			return endpoint[1:], route.handler
		}
	}
	if strings.HasPrefix(endpoint, "/register/") && h.ManageClients {
		return "registration", s.manage
	}
	return "other", notFound
}

// slashRedirect sends a client to the same path with a slash at its end.
func (s *Server) slashRedirect(x *exchange) response {
	to := *x.r.URL
	to.Path += "/"
	header := contentType("text/plain; charset=utf-8")
	header.Set("Location", to.RequestURI())
	return response{status: s.habits.SlashRedirect, header: header}
}

func notFound(*exchange) response {
	return response{status: http.StatusNotFound, header: contentType("text/plain; charset=utf-8"), body: []byte("not found\n")}
}

func contentType(value string) http.Header {
	return http.Header{"Content-Type": {value}}
}

// jsonResponse returns a response with a JSON body, which no cache keeps (RFC 6749
// section 5.1).
func jsonResponse(status int, value any) response {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err) // every value here is one of ours
	}
	header := contentType("application/json")
	header.Set("Cache-Control", "no-store")
	return response{status: status, header: header, body: body}
}

// oauthError returns an error response (RFC 6749 section 5.2).
func oauthError(status int, code, description string) response {
	a := jsonResponse(status, map[string]string{"error": code, "error_description": description})
	a.code = code
	return a
}

// write sends a response. Its status is in the request log before the client has it.
func (s *Server) write(w http.ResponseWriter, x *exchange, a response) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	if a.stream != nil {
		a.stream.ServeHTTP(&statusRecorder{ResponseWriter: w, record: func(status int) { s.recordStatus(x, status, a.code) }}, x.r)
		return
	}
	s.recordStatus(x, a.status, a.code)
	w.WriteHeader(a.status)
	// The client may have disconnected.
	_, _ = w.Write(a.body)
}

// statusRecorder records the status of a response that a handler writes.
type statusRecorder struct {
	http.ResponseWriter
	record   func(status int)
	recorded bool
}

func (w *statusRecorder) WriteHeader(status int) {
	if !w.recorded {
		w.recorded = true
		w.record(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusRecorder) Write(p []byte) (int, error) {
	if !w.recorded {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Flush is there for handlers that look for it.
func (w *statusRecorder) Flush() {
	if !w.recorded {
		w.WriteHeader(http.StatusOK)
	}
	// What cannot be flushed arrives later.
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
