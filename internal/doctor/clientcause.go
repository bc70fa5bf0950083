package doctor

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/loopback"
	"github.com/handstamp/handstamp/internal/oauth"
)

// clientCause is about the client, and what a login with it needs.
func (x *examination) clientCause() *Cause {
	p := x.Plan
	if p == nil {
		return nil
	}
	if e := p.RedirectError; e != nil {
		c := x.failed(CausePort, e, x.command("login")+" --callback-port PORT")
		if _, taken := errtype.As[*loopback.PortTakenError](e); !taken {
			c.Code = CauseConfiguration
		}
		return c
	}
	if x.nothingThere() {
		return &Cause{Code: CauseNoMetadata, Kind: handstamp.ErrRegistrationRequired,
			Message: "the server wants a token and describes no authorization server, and nothing is at the default endpoints at " + p.Issuer,
			Hint:    "it may take tokens of another kind, such as an API key: contact its operator; the bridge sends one with --header"}
	}
	if t := x.TokenEndpoint; t != nil && t.Sent && t.Err != nil && !t.Client {
		c := x.failed(CauseTokenEndpoint, t.Err, x.command("doctor"))
		c.Message = "the token endpoint cannot be used: " + c.Message
		return c
	}
	if x.keyOnly() {
		c := x.login(CauseKey, "%s takes clients that authenticate with a key only (%s), and none is configured",
			p.Issuer, strings.Join(x.server().AuthMethods, ", "))
		c.Command += " --client-id ID --jwt-key FILE"
		c.Kind = handstamp.ErrRegistrationRequired
		return &c
	}
	return x.registrationCause()
}

// nothingThere reports whether a login would use the default endpoints of MCP 2025-03-26, as there is no
// metadata, and no server responds there.
func (x *examination) nothingThere() bool {
	s, absent := x.server(), []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusNotImplemented}
	if s == nil || s.Form != oauth.FormLegacy {
		return false
	}
	for _, t := range []*handstamp.Trial{x.TokenEndpoint, x.Registration} {
		if t != nil && t.Sent && !slices.Contains(absent, t.Status) {
			return false
		}
	}
	return x.TokenEndpoint != nil && x.TokenEndpoint.Sent
}

// forgottenCause is about a client that the server does not accept.
func (x *examination) forgottenCause() *Cause {
	for _, t := range []*handstamp.Trial{x.TokenEndpoint, x.Authorization} {
		switch {
		case t == nil || !t.Client || x.Plan == nil:
		case x.Plan.ClientSource == "dynamic":
			c := x.login(CauseForgotten, "the authorization server no longer knows the client %s, with which this login was made", x.Plan.ClientID)
			if x.TokenEndpoint != t || !t.Forgotten {
				return &c // a login finds out by itself
			}
			c.Hint = "the login registers a new one"
			return &c
		default:
			c := x.failed(CauseClient, t.Err, x.command("login"))
			c.Kind = handstamp.ErrClientRejected
			c.Message = fmt.Sprintf("the authorization server does not accept the client %s with %s (%s)", x.Plan.ClientID, x.Plan.Method,
				cmp.Or(t.Code, fmt.Sprint(t.Status)))
			c.Hint = "check the client id, the secret and the token endpoint auth method"
			return c
		}
	}
	return nil
}

// keyOnly reports whether a client would be registered where none can authenticate without a key.
func (x *examination) keyOnly() bool {
	s := x.server()
	return s != nil && x.Plan.Registers && len(s.AuthMethods) > 0 && !slices.Contains(s.AuthMethods, x.Plan.Method)
}

// openCodes are the error codes with which a server that registers clients rejects a request that
// cannot be read.
var openCodes = []string{"invalid_client_metadata", "invalid_redirect_uri", "invalid_request", "invalid_request_body", "invalid_json", ""}

// registrationOpen reports whether the response to a registration that cannot be read is that of a
// server that registers clients.
func registrationOpen(t *handstamp.Trial) bool {
	return t.Err == nil || (t.Status == 400 || t.Status == 422 || t.Status == 415 || t.Status == 500) &&
		slices.Contains(openCodes, strings.ToLower(t.Code))
}

func (x *examination) registrationCause() *Cause {
	t := x.Registration
	if t == nil || registrationOpen(t) {
		return nil
	}
	if t.Status == 0 || t.Status == 429 || t.Status > 500 {
		return x.failed(CauseTokenEndpoint, t.Err, x.command("doctor"))
	}
	c := x.login(CauseRegistration, "%s rejects the registration of this client (%s)", x.Plan.Issuer, trialResult(t))
	c.Kind, c.Command = handstamp.ErrRegistrationRequired, x.registerCommand()
	c.Hint = x.byHand()
	return &c
}

// byHand returns what to do where a client has to be registered by hand.
func (x *examination) byHand() string {
	if x.Plan == nil || x.Plan.RedirectURI == "" {
		return "register a client there, then sign in with its client id"
	}
	return "register a client there with the redirect URI " + x.Plan.RedirectURI + ", then sign in with its client id"
}

// registerCommand returns the command to run once a client is registered by hand with the redirect
// URI of byHand, whose port the next login has to listen on.
func (x *examination) registerCommand() string {
	command := x.command("login") + " --client-id ID"
	if x.Plan == nil || strings.Contains(command, " --callback-port ") {
		return command
	}
	u, err := url.Parse(x.Plan.RedirectURI)
	if err == nil && u.Scheme == "http" && u.Port() != "" {
		command += " --callback-port " + u.Port()
	}
	return command
}

// pastCause is how the last login failed, where there is no other reason that it would again.
func (x *examination) pastCause() *Cause {
	f := x.LastFailure
	if f == nil || x.Status.Usable() {
		return nil
	}
	c := &Cause{Kind: f.Kind, Message: "the last login failed: " + plain(f.Message), Hint: f.Hint, Command: x.command("login")}
	switch f.Kind {
	case handstamp.ErrDenied:
		c.Code = CauseDenied
	case handstamp.ErrTimeout:
		c.Code = CauseTimeout
		if x.NoCallback {
			c.Hint = "the browser may have shown an error: the next login registers a new client"
		}
	case handstamp.ErrRegistrationRequired:
		c.Code, c.Command, c.Hint = CauseRegistration, x.registerCommand(), x.byHand()
	case handstamp.ErrClientRejected:
		c.Code = CauseClient
	default:
		c.Code, c.Command, c.Hint = CauseCallback, "", cmp.Or(f.Hint, "signing in again would not help: the operator of the server has to fix this")
	}
	return c
}
