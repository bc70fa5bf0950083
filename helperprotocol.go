package handstamp

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/secret"
)

// What a process and its helper exchange: a job, one JSON value, in one
// direction, and events, a line of JSON each, in the other.

// helperProtocol is the version of what is written to a helper and read from it.
// Both are one program in most cases; where it was replaced meanwhile, a helper
// that does not understand ends, and the work is done here.
const helperProtocol = 5

// helperJob is what a helper is to do. Its secrets are plain: it is only ever
// written to a pipe.
type helperJob struct {
	Protocol    int
	Config      []byte
	Client      json.RawMessage // a helperClient
	LockTimeout time.Duration   // what is left of the Client's
	Server      string
	Events      bool           // it reports each one
	Refresh     *helperRefresh `json:",omitempty"`
	Login       *helperLogin   `json:",omitempty"`
}

// helperRefresh is a tokenNeed.
type helperRefresh struct {
	Rejected, Force string
	MinTTL          time.Duration
	User, Ahead     bool
}

// helperLogin is a loginRequest.
type helperLogin struct {
	Challenge oauth.BearerChallenge
	Scopes    []string
	Needed    []string
	Rejected  string
	Force     bool
	Since     time.Time
}

// helperEvent is a line of a helper's output.
type helperEvent struct {
	Begun     bool                  `json:",omitempty"` // the first: this is a helper
	Event     *Event                `json:",omitempty"`
	Notice    string                `json:",omitempty"`
	Refreshed *RefreshEvent         `json:",omitempty"`
	LoggedIn  *LoginEvent           `json:",omitempty"`
	Cause     string                `json:",omitempty"` // of the event's Err
	Show      *AuthorizationRequest `json:",omitempty"`
	Waiting   *AuthorizationRequest `json:",omitempty"`
	Done      *helperResult         `json:",omitempty"`
}

// helperResult is how the work has ended.
type helperResult struct {
	Token bool         // there is one in the store that serves
	Error *helperError `json:",omitempty"`
}

// helperClient is a Client as JSON. What a helper has of its own stays out, as does what can only
// be called here.
type helperClient struct {
	*Client
	Registration       json.RawMessage // with its secret
	InitialAccessToken string          // in the clear

	Store, ClientStore, BaseTransport, AuthTransport, Key any `json:",omitempty"`
	Certificate, Grant, Prompt, OnRegister, RefreshHelper any `json:",omitempty"`
	Logger, Hooks, Audit                                  any `json:",omitempty"`
}

// describe returns the Client as a helper reads it.
func describe(c *Client) (_ json.RawMessage, err error) {
	d := helperClient{Client: c, InitialAccessToken: c.InitialAccessToken.Reveal()}
	if c.Registration != nil {
		if d.Registration, err = c.Registration.RevealJSON(); err != nil {
			return nil, err
		}
	}
	return json.Marshal(d)
}

// apply makes a helper's Client one like that which is described.
func (j *helperJob) apply(c *Client) error {
	c.Registration, c.AuthorizationServer, c.ExtraAuthParams = nil, nil, nil // or they would be merged
	d := helperClient{Client: c}
	if err := json.Unmarshal(j.Client, &d); err != nil {
		return err
	}
	c.InitialAccessToken = secret.String(d.InitialAccessToken)
	c.RefreshHelper, c.LoginPolicy, c.OnRegister, c.LockTimeout = nil, LoginNever, nil, j.LockTimeout
	if d.Registration == nil {
		return nil
	}
	return json.Unmarshal(d.Registration, &c.Registration)
}

// errorKinds are the kinds of errors by the names that they have between processes.
var errorKinds = map[string]error{
	"auth_required": ErrLoginRequired, "unreachable": ErrUnreachable, "denied": ErrDenied, "timeout": ErrTimeout,
	"protocol": ErrProtocol, "client_rejected": ErrClientRejected, "registration_required": ErrRegistrationRequired,
	"server_unreachable": ErrServerUnreachable, "store": ErrStore, "usage": ErrInvalidConfig, "no_login_needed": ErrNoLoginNeeded,
	"closed": ErrClosed,
}

// kindName returns the name of a kind in errorKinds; "" for an error of no kind.
func kindName(kind error) string {
	for name, k := range errorKinds {
		if k == kind {
			return name
		}
	}
	return ""
}

// kindOf returns the name of an error's kind.
func kindOf(err error) string {
	if e, ok := errtype.As[*Error](err); ok && kindName(e.Kind) != "" {
		return kindName(e.Kind)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return "canceled"
	}
	return "failed"
}

// helperError is an [Error] between processes, or another error's text as its Message.
type helperError struct {
	Error
	Kind, Err           string `json:",omitempty"` // in place of the Error's
	Opened, Unrefreshed bool   `json:",omitempty"`
}

func describeError(err error) *helperError {
	if err == nil {
		return nil
	}
	e, ok := errtype.As[*Error](err)
	if !ok {
		return &helperError{Error: Error{Message: err.Error()}}
	}
	d := &helperError{
		Error: *e, Kind: kindName(e.Kind), Err: errorText(e.Err), Opened: e.opened, Unrefreshed: e.unrefreshed,
	}
	if e.quiet {
		d.Err = ""
	}
	return d
}

func (d *helperError) restore(server string) error {
	e := d.Error
	e.Kind, e.Server, e.opened, e.unrefreshed = errorKinds[d.Kind], server, d.Opened, d.Unrefreshed
	if e.Kind == nil {
		return errors.New(d.Message)
	}
	if d.Err != "" {
		e.Err = errors.New(d.Err)
	}
	return &e
}
