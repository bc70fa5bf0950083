package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/loopback"
)

// step returns a step with a finding.
func step(v Result, format string, args ...any) Step {
	return Step{Result: v, Finding: fmt.Sprintf(format, args...)}
}

// with returns the step with more evidence.
func (s Step) with(format string, args ...any) Step {
	s.Evidence = append(s.Evidence, fmt.Sprintf(format, args...))
	return s
}

func (s Step) then(command string) Step {
	s.Command = command
	return s
}

const notReached = "not reached: another step failed"

func (x *examination) connection() Step {
	s := step(OK, "the MCP server can be reached")
	if x.Response == nil {
		s = step(Failed, "%s", x.unreachable(x.ResponseError, "the MCP server").Message)
	} else if x.ClockAhead.Abs() > maxClockDifference {
		s = step(Warning, "the MCP server can be reached; the clock of this machine is %s the server's", clockDifference(x.ClockAhead))
	}
	s.Evidence = x.connections.all()
	return s
}

func (x *examination) challenge() Step {
	r := x.Response
	if r == nil {
		return step(Skipped, notReached)
	}
	result := fmt.Sprintf("POST ping without a token → %d %s", r.Status, http.StatusText(r.Status))
	if r.MovedTo != "" {
		result += ", redirected to " + r.MovedTo
	}
	s := Step{}
	switch {
	case inTrouble(r.Status):
		s = step(Failed, "the MCP server is in trouble (%d)", r.Status).then(x.command("doctor"))
	case r.Bearer && r.Metadata != "":
		s = step(OK, "the server wants a token, and names its metadata")
	case r.Bearer:
		s = step(Warning, "the server wants a token, and does not name its metadata: its well-known places are tried")
	case r.Scheme != "":
		s = step(Failed, "the server wants another kind of login (%s)", r.Scheme)
	case r.Status == http.StatusUnauthorized:
		s = step(Warning, "the server responds with 401 and without a challenge (RFC 6750 section 3)")
	case x.open():
		s = step(OK, "the server responds without a token; it may want one for other requests")
	default:
		s = step(Warning, "there is no sign of an MCP server at this URL")
	}
	s = s.with("%s", result)
	if r.Bearer {
		s = s.with("WWW-Authenticate: resource_metadata %q, scope %q, DPoP %t", r.Metadata, r.Scope, r.DPoP)
	}
	return s
}

func (x *examination) resource() Step {
	rm := x.Resource
	switch {
	case x.Response == nil:
		return step(Skipped, notReached)
	case x.ResourceError != nil:
		return step(Failed, "%s", text(x.ResourceError))
	case rm == nil:
		return step(Warning, "the server has no resource metadata (RFC 9728), as servers of before June 2025")
	}
	s := step(OK, "it describes %s", rm.Resource).
		with("authorization_servers: %s", list(rm.AuthorizationServers)).
		with("scopes_supported: %s", list(rm.Scopes))
	if p := x.Plan; p != nil {
		s = s.with("resource parameter: %s (%s)", cmp.Or(p.Resource, "left out"), p.ResourceReason)
	}
	if x.Response.Metadata != "" && len(rm.AuthorizationServers) == 0 {
		s.Result = Warning
	}
	return s
}

// list writes words for evidence.
func list(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

func (x *examination) serverMetadata() Step {
	var s Step
	chosen := x.server()
	switch {
	case len(x.Servers) == 0:
		return step(Skipped, notReached)
	case chosen == nil:
		s = step(Failed, "no authorization server can be used: %s", text(x.Servers[len(x.Servers)-1].Err))
	case len(x.Servers) > 1:
		s = step(Warning, "%s is used; %d others were looked at", chosen.Issuer, len(x.Servers)-1)
	case chosen.Form == "legacy":
		s = step(Warning, "there is no metadata: the default endpoints of MCP 2025-03-26 are used")
	default:
		s = step(OK, "issuer %s (%s)", chosen.Issuer, chosen.Form)
	}
	for _, as := range x.Servers {
		if as.Err != nil {
			s = s.with("%s: %s", cmp.Or(as.Issuer, "an issuer"), text(as.Err))
		}
		if as.AuthorizationEndpoint == "" {
			continue
		}
		s = s.with("authorization_endpoint: %s", as.AuthorizationEndpoint).with("token_endpoint: %s", as.TokenEndpoint).
			with("grant_types_supported: %s", list(as.Grants)).with("scopes_supported: %s", list(as.Scopes))
		if as.PAR {
			s = s.with("authorization requests are pushed (RFC 9126)")
		}
	}
	return s
}

// described returns the authorization server whose metadata was read, whether it can be used or
// not.
func (x *examination) described() *handstamp.InspectedServer {
	if s := x.server(); s != nil {
		return s
	}
	for i := range x.Servers {
		if x.Servers[i].AuthorizationEndpoint != "" {
			return &x.Servers[i]
		}
	}
	return nil
}

func (x *examination) pkce() Step {
	as := x.described()
	switch {
	case as == nil:
		return step(Skipped, notReached)
	case as.PKCE == nil:
		return step(OK, "S256 is supported")
	case as.PKCEAccepted:
		return step(Warning, "S256 is not listed, which the configuration accepts").with("%s", text(as.PKCE))
	}
	return step(Failed, "code_challenge_methods_supported does not have S256").with("%s", text(as.PKCE))
}

func (x *examination) iss() Step {
	as := x.described()
	f := x.LastFailure
	switch {
	case as == nil:
		return step(Skipped, notReached)
	case f != nil && errors.Is(f.Kind, handstamp.ErrProtocol) && !x.Status.Usable():
		return step(Failed, "the last authorization response failed validation: %s", plain(f.Message))
	case as.Iss:
		return step(OK, "the authorization response has to have iss, and it is compared byte by byte (RFC 9207)")
	}
	return step(OK, "the server does not announce iss (RFC 9207); one that comes anyway is compared")
}

func (x *examination) registration() Step {
	p, as := x.Plan, x.server()
	if p == nil || as == nil {
		return step(Skipped, notReached)
	}
	s := x.registrationStep(p)
	s = s.with("registration_endpoint: %s", cmp.Or(as.RegistrationEndpoint, "none")).
		with("client_id_metadata_document_supported: %t", as.Documents)
	if t := x.Registration; t != nil {
		s = s.with("POST registration that cannot be read → %s; nothing was registered", trialResult(t))
	}
	if t := x.Authorization; t != nil && t.Sent {
		s = s.with("GET authorization request without a user → %s", cmp.Or(authorizationResult(t), "the client is known"))
	}
	return x.withCallback(s)
}

func authorizationResult(t *handstamp.Trial) string {
	if t.Err == nil {
		return ""
	}
	return trialResult(t)
}

func (x *examination) registrationStep(p *handstamp.LoginPlan) Step {
	switch {
	case x.forgottenCause() != nil:
		return step(Failed, "%s", x.forgottenCause().Message).then(x.forgottenCause().Command)
	case p.Registers && x.keyOnly():
		return step(Failed, "clients authenticate with a key only, and none is configured")
	case p.Registers && x.registrationCause() != nil:
		c := x.registrationCause()
		return step(Failed, "%s", c.Message).then(c.Command)
	case p.Registers:
		return step(OK, "a login registers a new client (RFC 7591); whether the server takes it shows only then")
	case p.ClientSource == "":
		return step(Failed, "the authorization server does not support dynamic client registration, and no client is configured").then(x.registerCommand())
	case x.NoCallback:
		return step(Warning, "the last login with client %s brought no callback, so that the next one registers a new client", p.ClientID)
	}
	return step(OK, "client %s (%s)", p.ClientID, strings.ReplaceAll(p.ClientSource, "_", " "))
}

// withCallback adds where a login would listen.
func (x *examination) withCallback(s Step) Step {
	p := x.Plan
	taken := &loopback.PortTakenError{}
	switch {
	case p.RedirectError != nil:
		s.Result, s.Finding = Failed, text(p.RedirectError)
		if errors.As(p.RedirectError, &taken) {
			s.Command = x.command("login") + " --callback-port PORT"
		}
	case p.RedirectMoved:
		if s.Result == OK {
			s.Result = Warning
		}
		s.Finding += "; another program has the port of its redirect URI, so that a login registers once more"
	}
	return s.with("redirect URI: %s", cmp.Or(p.RedirectURI, "none"))
}

func (x *examination) method() Step {
	p, as := x.Plan, x.server()
	if p == nil || as == nil || p.Method == "" {
		return step(Skipped, "there is no client yet")
	}
	listed := "token_endpoint_auth_methods_supported: " + list(as.AuthMethods)
	if as.AuthMethods == nil {
		listed += " (which means client_secret_basic, RFC 8414 section 2)"
	}
	s := step(OK, "%s, %s", p.Method, p.MethodReason).with("%s", listed)
	if len(as.AuthMethods) > 0 && as.AuthMethods[0] != p.Method {
		s = s.with("the list begins with %s; the method is part of the client's registration, so the list does not decide", as.AuthMethods[0])
	}
	if len(p.NextMethods) > 0 {
		s = s.with("if the server rejects the client: %s", strings.Join(p.NextMethods, ", "))
	}
	return s
}

func (x *examination) stored() Step {
	st := x.Status
	var s Step
	switch {
	case st.Problem != "":
		return step(Failed, "%s", st.Problem)
	case st.State == handstamp.StateNone:
		s = step(Skipped, "there is none").then(x.command("login"))
	case st.GrantError != nil && !st.Usable():
		s = step(Failed, "the authorization server ended it (%s)", st.GrantError.Code).then(x.command("login"))
	case st.RetryAt.After(x.now):
		s = step(Warning, "it is kept; the authorization server could not refresh it (%s)", st.RetryReason)
	case !st.Usable():
		s = step(Failed, "it has expired, and cannot be refreshed").then(x.command("login"))
	case st.State == handstamp.StateRefreshable:
		s = step(OK, "the access token does not work any more; the next use refreshes it")
	case !st.Refreshable:
		s = step(Warning, "it works until the access token expires (%s): it cannot be refreshed", life(st, x.now))
	default:
		s = step(OK, "the access token has not expired (%s), and is refreshed when it has", life(st, x.now))
	}
	if x.Locked != nil {
		s.Result, s.Finding = Failed, text(x.Locked)
	}
	return x.withHistory(s)
}

// life writes how long a token is valid.
func life(st *handstamp.Status, now time.Time) string {
	if st.ExpiresAt.IsZero() {
		return "no known expiry"
	}
	return st.ExpiresAt.Sub(now).Round(time.Second).String() + " left"
}

// withHistory adds what is stored of the login.
func (x *examination) withHistory(s Step) Step {
	st := x.Status
	if st.ClientID != "" {
		s = s.with("client %s (%s), %s (%s), issuer %s", st.ClientID, st.ClientSource, st.Method, st.MethodReason, st.Issuer)
	}
	if e := st.GrantError; e != nil {
		s = s.with("the last rejection: %s %s at %s", e.Code, e.Description, e.At.Format(time.RFC3339))
	}
	if f := x.LastFailure; f != nil {
		s = s.with("the last login that failed: %s %s", f.Code, plain(f.Message))
	}
	if x.RefreshInterrupted {
		s = s.with("a refresh was begun, and its end was not stored")
	}
	if len(x.NotGranted) > 0 {
		s = s.with("requested and not granted: %s", strings.Join(x.NotGranted, " "))
	}
	return s
}

func (x *examination) dryRun() Step {
	t := x.TokenEndpoint
	switch {
	case t == nil:
		return step(Skipped, notReached)
	case !t.Sent:
		return step(Skipped, "nothing was sent: %s", t.Reason)
	}
	s := step(OK, "the token endpoint accepts the client, and rejects the made-up code as it should")
	switch {
	case t.Client:
		s = step(Failed, "the token endpoint does not accept the client")
	case t.Err != nil:
		s = step(Failed, "the token endpoint cannot be used: %s", text(t.Err))
	case t.Reason != "":
		s = step(OK, "the token endpoint is there; %s", t.Reason)
	}
	return s.with("POST code exchange with a made-up code → %s", trialResult(t))
}

// trialResult writes the response of a trial.
func trialResult(t *handstamp.Trial) string {
	if t.Status == 0 {
		return cmp.Or(text(t.Err), "no response")
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", t.Status, t.Code))
}

func (x *examination) mcp() Step {
	m := x.MCP
	if m == nil {
		return step(Skipped, "there is no access token to try")
	}
	with := "without a token"
	if m.Token {
		with = "with the stored access token"
	}
	s := x.mcpStep(m)
	if m.Token && s.Result == OK && x.open() {
		s = s.with("the server responds without a token too, so that this does not prove the token")
	}
	if m.SSE {
		return s.with("GET %s → %d text/event-stream", with, m.Status)
	}
	return s.with("POST initialize %s → %d %s", with, m.Status, m.Error)
}

func (x *examination) mcpStep(m *handstamp.MCPTrial) Step {
	switch {
	case m.Err != nil:
		return step(Failed, "%s", text(m.Err))
	case m.Rejected:
		return step(Failed, "the server rejects the access token").then(x.command("login"))
	case inTrouble(m.Status):
		return step(Failed, "the MCP server is in trouble (%d)", m.Status)
	case m.Status == http.StatusForbidden:
		return step(Failed, "the server accepts the token, and denies access").
			with("the scope it wants: %s", cmp.Or(m.Scope, "none named"))
	case m.Version != "":
		return step(OK, "%s speaks MCP %s (%s)", cmp.Or(m.Name, "the server"), m.Version, era(m))
	}
	return step(Warning, "the response is not that of an MCP server of the Streamable HTTP transport")
}

// era writes how a server keeps what belongs together.
func era(m *handstamp.MCPTrial) string {
	switch {
	case m.Modern:
		return "without sessions"
	case m.SSE:
		return "the HTTP+SSE transport"
	}
	return "with sessions"
}

// open reports whether the server has responded without a token, as MCP servers do that want none.
func (x *examination) open() bool {
	r := x.Response
	return r != nil && r.MCP && r.Status/100 == 2
}
