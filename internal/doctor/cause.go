package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/shellword"
)

// Code is a cause, for programs.
type Code string

// Values of [Code].
const (
	CauseNone            Code = "none"             // the stored login works
	CauseNoLoginNeeded   Code = "no_login_needed"  // the server responds without a token
	CauseNotSignedIn     Code = "not_signed_in"    // nothing is wrong but that
	CauseRefreshDue      Code = "refresh_due"      // the next use refreshes the token
	CauseExpired         Code = "login_expired"    // the token has expired, and cannot be refreshed
	CauseSecretExpired   Code = "secret_expired"   // the client's secret has ended
	CauseLoginEnded      Code = "login_ended"      // the authorization server ended the grant
	CauseTokenRejected   Code = "token_rejected"   // the MCP server rejects the access token
	CauseScope           Code = "scope_missing"    // the token lacks a scope
	CauseRefreshFails    Code = "refresh_fails"    // the authorization server could not refresh
	CauseDNS             Code = "dns"              // a name has no address
	CauseTLS             Code = "tls"              // a certificate is not trusted
	CauseConnection      Code = "connection"       // nothing listens, or there is no response
	CauseServerTrouble   Code = "server_trouble"   // the MCP server responds with 5xx or 429
	CauseNoServer        Code = "no_mcp_server"    // there is no MCP server at the URL
	CauseRedirect        Code = "redirect"         // the server redirects to another origin
	CauseOtherLogin      Code = "other_login"      // the server wants another kind of login
	CauseResource        Code = "wrong_resource"   // the metadata describes another resource
	CauseIssuer          Code = "wrong_issuer"     // the metadata is that of another issuer
	CauseIssuerMoved     Code = "issuer_moved"     // the server names another authorization server
	CauseNoMetadata      Code = "no_metadata"      // the authorization server has none
	CauseMetadataTrouble Code = "metadata_trouble" // it cannot be read now
	CauseMetadataTooLong Code = "metadata_too_long"
	CausePKCE            Code = "pkce_missing"        // S256 is not listed
	CauseEndpoint        Code = "unsafe_endpoint"     // an endpoint that must not be used
	CauseAddress         Code = "blocked_address"     // an address that no stranger may name
	CauseGrant           Code = "no_code_grant"       // no login with a browser is offered
	CauseByHand          Code = "register_by_hand"    // no client can register itself
	CauseRegistration    Code = "registration_closed" // the registration is rejected
	CauseKey             Code = "key_required"        // clients authenticate with a key only
	CauseForgotten       Code = "client_forgotten"    // the server no longer knows the client
	CauseClient          Code = "client_rejected"     // the configured client is not accepted
	CauseTokenEndpoint   Code = "token_endpoint"      // it cannot be used
	CausePort            Code = "callback_port_taken" // the login cannot listen
	CauseClock           Code = "wrong_clock"         // of this machine
	CauseDenied          Code = "login_denied"        // the last one
	CauseTimeout         Code = "login_not_completed" // the last one
	CauseCallback        Code = "callback_rejected"   // the last login's response was not to be believed
	CauseDamaged         Code = "store_damaged"       // the stored record
	CauseLocked          Code = "store_locked"        // by another process
	CauseStore           Code = "store_unusable"      // for another reason
	CauseConfiguration   Code = "configuration_wrong" // a setting cannot work
	CauseProtocol        Code = "protocol"            // the server breaks another rule
)

// Cause is why a login fails, or what is left to do.
type Cause struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`           // one sentence without a period
	Hint    string `json:"hint,omitempty"`    // what to do where no command does it
	Command string `json:"command,omitempty"` // what to run next

	// Kind is the kind of the error that a login or a request ends with, such as
	// [handstamp.ErrLoginRequired]; nil where none does.
	Kind error `json:"-"`

	// Err is the library's error, where there is one.
	Err error `json:"-"`
}

// cause finds the true cause: of all that is wrong, what has to be fixed first.
func (x *examination) cause() Cause {
	for _, look := range []func(*examination) *Cause{
		(*examination).storeCause, (*examination).connectionCause, (*examination).workingCause,
		(*examination).clockCause, (*examination).issuerMovedCause, (*examination).forgottenCause, (*examination).refreshCause,
		(*examination).loginCause, (*examination).clientCause, (*examination).pastCause, (*examination).grantCause,
	} {
		if c := look(x); c != nil {
			return *c
		}
	}
	return x.login(CauseNotSignedIn, "you are not signed in, and nothing stands in the way of a login")
}

// login returns a cause that a login fixes.
func (x *examination) login(code Code, format string, args ...any) Cause {
	return Cause{Code: code, Message: fmt.Sprintf(format, args...), Command: x.command("login"), Kind: handstamp.ErrLoginRequired}
}

// failed returns a cause of an error of the library's. The command is empty where none helps.
func (x *examination) failed(code Code, err error, command string) *Cause {
	c := &Cause{Code: code, Message: text(err), Command: command, Err: err, Kind: handstamp.ErrProtocol}
	if e, ok := errtype.As[*handstamp.Error](err); ok {
		c.Hint, c.Kind = e.Hint, e.Kind
	}
	return c
}

// text returns the text of an error, without the prefixes that name packages and without the
// library's hint, which is for Go code.
func text(err error) string {
	if err == nil {
		return ""
	}
	message := plain(err.Error())
	if e, ok := errtype.As[*handstamp.Error](err); ok {
		message = strings.TrimSuffix(message, "; "+e.Hint)
	}
	return message
}

func plain(text string) string {
	return strings.TrimPrefix(strings.TrimPrefix(text, "oauth: "), "handstamp: ")
}

func (x *examination) storeCause() *Cause {
	switch {
	case x.Locked != nil && x.Status.State != handstamp.StateValid:
		c := x.failed(CauseLocked, x.Locked, x.command("doctor"))
		c.Message = "another process keeps the login locked, so that no other can refresh it: " + c.Message
		return c
	case x.Status.Problem == "":
		return nil
	case x.Status.State == handstamp.StateCorrupt:
		return &Cause{Code: CauseDamaged, Kind: handstamp.ErrStore, Command: x.command("doctor") + " --fix",
			Message: "the stored login is damaged: " + x.Status.Problem}
	}
	return &Cause{Code: CauseStore, Kind: handstamp.ErrStore, Message: "the store cannot be used: " + x.Status.Problem,
		Hint: "nothing is lost: see that the store is there, that its key is at hand, and that its folder, if it has one, is yours"}
}

// connectionCause is about an MCP server that gives no response, or none of its own.
func (x *examination) connectionCause() *Cause {
	switch r := x.Response; {
	case r == nil:
		return x.unreachable(x.ResponseError, "the MCP server")
	case inTrouble(r.Status):
		return x.serverTrouble(r.Status)
	case x.MCP != nil && inTrouble(x.MCP.Status):
		return x.serverTrouble(x.MCP.Status)
	case x.MCP != nil && x.MCP.Err != nil:
		return x.unreachable(x.MCP.Err, "the MCP server")
	}
	return nil
}

// inTrouble reports whether a status has nothing to do with a login.
func inTrouble(status int) bool {
	return status == http.StatusTooManyRequests || status >= 500 && status != http.StatusNotImplemented
}

func (x *examination) serverTrouble(status int) *Cause {
	return &Cause{Code: CauseServerTrouble, Kind: handstamp.ErrServerUnreachable, Command: x.command("doctor"),
		Message: fmt.Sprintf("the MCP server responds with %d; the stored login is kept, and a login would not help", status)}
}

// unreachable names why there is no response.
func (x *examination) unreachable(err error, who string) *Cause {
	c := x.failed(CauseConnection, err, x.command("doctor"))
	var dns *net.DNSError
	var network *net.OpError
	switch {
	case c.Kind == handstamp.ErrInvalidConfig:
		c.Code = CauseConfiguration
	case c.Kind == handstamp.ErrProtocol && strings.Contains(c.Message, "redirect"):
		c.Code, c.Command = CauseRedirect, ""
	case c.Kind == handstamp.ErrProtocol:
		c.Code, c.Command = CauseProtocol, ""
	case errors.As(err, &dns):
		c.Code, c.Message = CauseDNS, fmt.Sprintf("%s cannot be found: the name %s has no address", who, oauth.Sanitize(dns.Name))
		c.Hint = "check the URL, the network and the VPN"
	case tlsReason(err) != "":
		c.Code, c.Message, c.Command = CauseTLS, fmt.Sprintf("%s is not trusted: %s", who, tlsReason(err)), ""
		c.Hint = "if the certification authority is your company's, name it with --ca-file or SSL_CERT_FILE"
		if x.certificateTime(err) {
			c.Hint = "check the clock of this machine, and that the certificate of the server is still valid"
		}
	case errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err):
		c.Message, c.Hint = who+" gives no response in time", "check that it works, and that no firewall is in between"
	case errors.As(err, &network) && network.Op == "dial":
		c.Message, c.Hint = fmt.Sprintf("%s does not accept connections: %s", who, text(network.Err)), "check that it runs, and the port in its URL"
	}
	return c
}

// tlsReason returns why a certificate is not trusted, in a few words; "" if that is not the trouble.
func tlsReason(err error) string {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return "its certificate is signed by an authority that this machine does not know"
	case errors.As(err, &host):
		return "its certificate is for another host"
	case errors.As(err, &invalid):
		return oauth.Sanitize(invalid.Error())
	case errors.As(err, &verify):
		return oauth.Sanitize(verify.Err.Error())
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "it does not speak TLS at this port"
	case strings.Contains(text(err), "tls: "):
		return "the TLS handshake fails"
	}
	return ""
}

// certificateTime reports whether a certificate is not valid at this time.
func (x *examination) certificateTime(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
}

// workingCause is about a server that lets requests in as things are.
func (x *examination) workingCause() *Cause {
	m := x.MCP
	switch {
	case m == nil || m.Rejected:
		return nil
	case m.Status == http.StatusForbidden:
		return x.scopeCause()
	case !m.Token && x.Servers == nil && x.Resource == nil:
		return &Cause{Code: CauseNoLoginNeeded, Command: x.command("tools"), Message: "the server needs no login: it responds without a token"}
	case !m.Token:
		return nil // it wants one for more than this
	case len(x.deniedScopes()) > 0:
		c := x.login(CauseScope, "the stored login works, but the authorization server did not grant %s, which a request needed",
			strings.Join(x.deniedScopes(), " "))
		c.Command, c.Kind = "", handstamp.ErrDenied
		c.Hint = "the account may lack the right: contact the operator of the server"
		return &c
	}
	c := &Cause{Code: CauseNone, Message: "the stored login works", Command: x.command("tools")}
	switch {
	case x.forgottenCause() != nil:
		c.Hint = "it works until its access token expires: the authorization server no longer accepts the client"
	case !x.Refreshable:
		c.Hint = "it works until its access token expires: it cannot be refreshed"
	}
	return c
}

// deniedScopes returns the scopes that were requested for a request that the server had rejected,
// and not granted: others are requested because the server lists them, and often not all granted.
func (x *examination) deniedScopes() []string {
	usual := []string{oauth.OfflineAccess}
	if x.Response != nil {
		usual = append(usual, strings.Fields(x.Response.Scope)...)
	}
	if x.Resource != nil {
		usual = append(usual, x.Resource.Scopes...)
	}
	return oauth.Without(x.NotGranted, usual)
}

// scopeCause is about a token that the MCP server accepts for less than this.
func (x *examination) scopeCause() *Cause {
	m := x.MCP
	if m.Scope == "" {
		return &Cause{Code: CauseScope, Kind: handstamp.ErrDenied, Hint: "contact the operator of the server",
			Message: "the MCP server accepts the token, and denies access (403)"}
	}
	c := x.login(CauseScope, "the token lacks the scope %s, which the MCP server wants", m.Scope)
	c.Command += " --force"
	for _, scope := range strings.Fields(m.Scope) {
		c.Command += " --scope " + shellword.Quote(scope)
	}
	return &c
}

// maxClockDifference is how far clocks may differ without a word.
const maxClockDifference = time.Minute

// clockCause is about a login that would work if this machine's clock were right.
func (x *examination) clockCause() *Cause {
	off := x.ClockAhead
	if off.Abs() <= maxClockDifference {
		return nil
	}
	expires, serverNow := x.Status.ExpiresAt, x.now.Add(off)
	misjudged := !expires.IsZero() && expires.After(serverNow) != expires.After(x.now)
	signed := x.Plan != nil && (oauth.UsesAssertion(x.Plan.Method) || x.Plan.DPoP)
	rejected := x.MCP != nil && x.MCP.Rejected || x.TokenEndpoint != nil && x.TokenEndpoint.Client
	if !misjudged && !(signed && rejected) {
		return nil
	}
	return &Cause{Code: CauseClock, Kind: handstamp.ErrLoginRequired, Command: x.command("doctor"), Hint: "set the clock of this machine, then try again",
		Message: fmt.Sprintf("the clock of this machine is %s the server's, so that tokens expire at the wrong time", clockDifference(off))}
}

func clockDifference(serverAhead time.Duration) string {
	direction := "behind"
	if serverAhead < 0 {
		direction = "ahead of"
	}
	return fmt.Sprintf("%v %s", serverAhead.Abs().Round(time.Second), direction)
}

// issuerMovedCause is about a stored login at an authorization server that the server no longer
// names.
func (x *examination) issuerMovedCause() *Cause {
	if x.Plan == nil || x.Status.Issuer == "" || x.Status.State == handstamp.StateNone ||
		oauth.SameButSlash(x.Plan.Issuer, x.Status.Issuer) {
		return nil
	}
	c := x.login(CauseIssuerMoved, "the server now names %s as its authorization server, and the stored login is of %s",
		x.Plan.Issuer, oauth.Sanitize(x.Status.Issuer))
	return &c
}

// loginCause is about why no login can begin.
func (x *examination) loginCause() *Cause {
	err := x.LoginError
	if err == nil {
		return nil
	}
	var blocked *oauth.BlockedError
	var broken *oauth.ProtocolError
	var passing *oauth.TransientError
	c := x.failed(CauseProtocol, err, "")
	switch {
	case errors.Is(err, handstamp.ErrNoLoginNeeded):
		c.Code, c.Kind, c.Command = CauseNoLoginNeeded, nil, x.command("tools")
	case errors.Is(err, handstamp.ErrRegistrationRequired):
		c.Code, c.Command, c.Hint = CauseByHand, x.registerCommand(), x.byHand()
	case errors.As(err, &blocked):
		c.Code = CauseAddress
	case oauth.TooLong(err):
		c.Code = CauseMetadataTooLong
		c.Message = "a metadata document is longer than any client should read: " + c.Message
	case errors.Is(err, oauth.ErrNoMetadata):
		c.Code = CauseNoMetadata
	case errors.As(err, &passing), errors.Is(err, handstamp.ErrUnreachable):
		c.Command = x.command("doctor")
		if c.Code = CauseMetadataTrouble; passing != nil && passing.Status == 0 {
			return x.unreachable(err, "the authorization server")
		}
	case errors.As(err, &broken):
		c.Code = brokenCode(broken)
	default:
		x.configured(c)
	}
	return c
}

// brokenCode tells the rules apart that metadata can break.
func brokenCode(broken *oauth.ProtocolError) Code {
	switch {
	case broken.Setting == oauth.SettingPKCE:
		return CausePKCE
	case broken.Resource != "":
		return CauseResource
	case broken.Setting == oauth.SettingServer:
		return CauseIssuer
	case broken.Unsafe:
		return CauseEndpoint
	}
	return CauseProtocol
}

// configured names the cause of an error that says what a user can do.
func (x *examination) configured(c *Cause) {
	e, ok := errtype.As[*handstamp.Error](c.Err)
	switch r := x.Response; {
	case !ok:
	case e.Setting == "Grant":
		c.Code = CauseGrant
	case e.Kind == handstamp.ErrInvalidConfig && x.Plan == nil && strings.HasPrefix(e.Message, "there is no MCP server"):
		c.Code = CauseNoServer
	case r != nil && r.Scheme != "":
		c.Code = CauseOtherLogin
	case e.Kind == handstamp.ErrInvalidConfig || e.Kind == handstamp.ErrClientRejected:
		c.Code = CauseConfiguration
	}
}

// refreshCause is about a stored login that a refresh makes work, or will when the server lets it.
func (x *examination) refreshCause() *Cause {
	s := x.Status
	rejected := x.MCP != nil && x.MCP.Rejected
	if !x.Refreshable || s.GrantError != nil {
		return nil
	}
	if s.RetryAt.After(x.now) && !rejected {
		return &Cause{Code: CauseRefreshFails, Kind: handstamp.ErrUnreachable, Command: x.command("token"),
			Message: fmt.Sprintf("the authorization server cannot refresh the login now (%s); it is kept, and tried again in %v",
				s.RetryReason, s.RetryAt.Sub(x.now).Round(time.Second))}
	}
	if rejected {
		c := x.login(CauseTokenRejected, "the MCP server rejects the stored access token (%d), though it has not expired", x.MCP.Status)
		c.Command, c.Hint = x.command("token")+" --refresh", "if the refresh does not help, sign in again"
		return &c
	}
	due := &Cause{Code: CauseRefreshDue, Command: x.command("token"),
		Message: "the access token does not work any more, and the next use refreshes it"}
	if x.RefreshFailed != "" {
		due.Message += "; the last attempt failed (" + x.RefreshFailed + ")"
	}
	return due
}

// grantCause is about a stored login that only another one can replace.
func (x *examination) grantCause() *Cause {
	s := x.Status
	var c Cause
	switch {
	case s.State == handstamp.StateNone:
		return nil
	case s.GrantError != nil:
		c = x.login(CauseLoginEnded, "the authorization server ended the login (%s)", s.GrantError.Code)
		if s.GrantError.Interrupted {
			c.Message += " after a refresh had been interrupted before its result could be stored"
		}
	case x.MCP != nil && x.MCP.Rejected:
		c = x.login(CauseTokenRejected, "the MCP server rejects the stored access token (%d), and it cannot be refreshed", x.MCP.Status)
	case x.SecretExpired:
		c = x.login(CauseSecretExpired, "the login cannot be refreshed: the client secret has expired")
	default:
		c = x.login(CauseExpired, "the login has expired, and cannot be refreshed")
	}
	return &c
}

// server returns the authorization server that a login uses, nil if there is none.
func (x *examination) server() *handstamp.InspectedServer {
	for i := range slices.Backward(x.Servers) {
		if x.Servers[i].Err == nil {
			return &x.Servers[i]
		}
	}
	return nil
}
