package lab

import (
	"context"
	"net/http"
	"slices"
	"strings"
)

// Caller is who an MCP request comes from, as Options.MCP may want to know.
type Caller struct {
	ClientID string
	Scope    string
}

type callerKey struct{}

// CallerFrom returns who a request that passed the bearer check comes from. It
// is false for a request that needed no token.
func CallerFrom(ctx context.Context) (Caller, bool) {
	caller, ok := ctx.Value(callerKey{}).(Caller)
	return caller, ok
}

// mcp serves the MCP server's one path, behind the bearer check (RFC 6750).
func (s *Server) mcp(x *exchange) response {
	inner := s.options.MCP
	if inner == nil {
		inner = s.builtin
	}
	sent := s.readCredential(x.r)
	if !sent.sent && s.habits.LazyAuth && x.rpc != "tools/call" {
		return response{status: http.StatusOK, stream: inner}
	}
	if !sent.sent {
		// RFC 6750 section 3.1: no error code where no token came.
		return s.unauthorized(x, http.StatusUnauthorized, "", s.habits.ChallengeScope)
	}
	issuer := s.tokenIssuer()
	caller, access, ok := issuer.checkAccess(sent.token)
	if !ok {
		return s.unauthorized(x, http.StatusUnauthorized, "invalid_token", s.habits.ChallengeScope)
	}
	if access.certificate != "" && access.certificate != certificateThumbprint(x.r) {
		return s.unauthorized(x, http.StatusUnauthorized, "invalid_token", "")
	}
	if failed := s.checkPossession(x, sent, access.key); failed != nil {
		return *failed
	}
	if failed := s.checkStepUp(x, access.by); failed != nil {
		return failed.withNonce(x.nonce)
	}
	return s.callMCP(x, caller, inner).withNonce(x.nonce)
}

// callMCP passes an authorized request on if its scope is enough for it.
func (s *Server) callMCP(x *exchange, caller Caller, inner http.Handler) response {
	if entry := s.habits.EntryScope; entry != "" &&
		!slices.Contains(strings.Fields(caller.Scope), entry) {
		return s.unauthorized(x, http.StatusForbidden, "insufficient_scope", entry)
	}
	if required := s.habits.RequiredScope; required != "" && x.rpc == "tools/call" &&
		!slices.Contains(strings.Fields(caller.Scope), required) {
		return s.unauthorized(x, http.StatusForbidden, "insufficient_scope", required)
	}
	x.r = x.r.WithContext(context.WithValue(x.r.Context(), callerKey{}, caller))
	return response{status: http.StatusOK, stream: inner}
}

// tokenIssuer is the authorization server whose tokens the MCP server takes.
func (s *Server) tokenIssuer() *Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.movedTo != nil {
		return s.movedTo
	}
	return s
}

// checkAccess looks an access token up.
func (s *Server) checkAccess(token string) (Caller, accessToken, bool) {
	now := s.clock.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.state.access[token]
	if t == nil || t.revoked || t.family.revoked || !now.Before(t.ends) || now.Before(t.begins) {
		return Caller{}, accessToken{}, false
	}
	return Caller{ClientID: t.family.clientID, Scope: t.scope}, *t, true
}

func (s *Server) unauthorized(x *exchange, status int, code, scope string) response {
	header := contentType("text/plain; charset=utf-8")
	header["Www-Authenticate"] = s.challenges(x, code, scope)
	return response{status: status, header: header, body: []byte(http.StatusText(status) + "\n"), code: code}
}

// bearer is the access token of a request, which is in the header or nowhere.
func bearer(r *http.Request) (string, bool) { return authorization(r, "Bearer") }

// authorization is the token that a request has in the header with a scheme.
func authorization(r *http.Request, want string) (string, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, want) {
		return "", false
	}
	return strings.TrimSpace(token), true
}
