package handstamp

import (
	"errors"
	"net/url"
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
const helperProtocol = 2

// helperJob is what a helper is to do. Its secrets are plain: it is only ever
// written to a pipe.
type helperJob struct {
	Protocol int
	Config   []byte
	Client   helperClient
	Server   string
	Debug    bool
	Refresh  *helperRefresh `json:",omitempty"`
	Login    *helperLogin   `json:",omitempty"`
}

// helperRefresh is a tokenNeed.
type helperRefresh struct {
	Rejected, Force string
	MinTTL          time.Duration
	User            bool
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
	Log       string                `json:",omitempty"`
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

// helperClient is what a Client is beside its store and its transports.
type helperClient struct {
	Profile                       string
	LoginTimeout                  time.Duration
	LockTimeout                   time.Duration
	Registration                  *Registration
	AuthorizationServer           *AuthorizationServer
	ClientSecret                  string // of Registration, which cannot be encoded with it
	ClientMetadataURL             string
	ClientName, ClientURI         string
	Scopes                        []string
	Resource                      string
	OmitResource                  bool
	ExtraAuthParams               url.Values
	RedirectURI                   string
	CallbackPort                  int
	InsecureAllowMissingPKCE      bool
	InsecureAllowHTTP             bool
	InsecureAllowPrivateAddresses bool
}

func describe(c *Client) helperClient {
	d := helperClient{
		Profile: c.Profile, LoginTimeout: c.LoginTimeout, LockTimeout: c.LockTimeout, ClientMetadataURL: c.ClientMetadataURL,
		ClientName: c.ClientName, ClientURI: c.ClientURI, Scopes: c.Scopes, Resource: c.Resource, OmitResource: c.OmitResource,
		ExtraAuthParams: c.ExtraAuthParams, RedirectURI: c.RedirectURI, CallbackPort: c.CallbackPort,
		InsecureAllowMissingPKCE: c.InsecureAllowMissingPKCE, InsecureAllowHTTP: c.InsecureAllowHTTP,
		InsecureAllowPrivateAddresses: c.InsecureAllowPrivateAddresses, AuthorizationServer: c.AuthorizationServer,
	}
	if c.Registration != nil {
		r := *c.Registration
		d.ClientSecret = r.ClientSecret.Reveal()
		r.ClientSecret, r.Response = "", ""
		d.Registration = &r
	}
	return d
}

func (d helperClient) apply(c *Client) {
	c.RefreshHelper, c.LoginPolicy, c.OnRegister = nil, LoginNever, nil
	c.Profile, c.LoginTimeout, c.LockTimeout, c.ClientMetadataURL = d.Profile, d.LoginTimeout, d.LockTimeout, d.ClientMetadataURL
	c.ClientName, c.ClientURI, c.Scopes, c.Resource, c.OmitResource = d.ClientName, d.ClientURI, d.Scopes, d.Resource, d.OmitResource
	c.ExtraAuthParams, c.RedirectURI, c.CallbackPort = d.ExtraAuthParams, d.RedirectURI, d.CallbackPort
	c.InsecureAllowMissingPKCE, c.InsecureAllowHTTP = d.InsecureAllowMissingPKCE, d.InsecureAllowHTTP
	c.InsecureAllowPrivateAddresses, c.AuthorizationServer = d.InsecureAllowPrivateAddresses, d.AuthorizationServer
	if c.Registration = d.Registration; c.Registration != nil {
		c.Registration.ClientSecret = secret.String(d.ClientSecret)
	}
}

// errorKinds are the kinds of errors by the names that they have between processes.
var errorKinds = map[string]error{
	"auth_required": ErrLoginRequired, "unreachable": ErrUnreachable, "denied": ErrDenied, "timeout": ErrTimeout,
	"protocol": ErrProtocol, "client_rejected": ErrClientRejected, "registration_required": ErrRegistrationRequired,
	"server_unreachable": ErrServerUnreachable, "store": ErrStore, "usage": ErrInvalidConfig, "no_login_needed": ErrNoLoginNeeded,
}

// kindName returns the name of a kind in errorKinds; "" for an error that is none.
func kindName(kind error) string {
	for name, k := range errorKinds {
		if k == kind {
			return name
		}
	}
	return ""
}

// helperError is an *Error between processes, or another error's text.
type helperError struct {
	Kind        string    `json:",omitempty"`
	Message     string    `json:",omitempty"`
	Hint        string    `json:",omitempty"`
	Setting     string    `json:",omitempty"`
	Code        string    `json:",omitempty"`
	Cause       string    `json:",omitempty"`
	RetryAt     time.Time `json:",omitzero"`
	Opened      bool      `json:",omitempty"`
	Unrefreshed bool      `json:",omitempty"`
}

func describeError(err error) *helperError {
	if err == nil {
		return nil
	}
	e, ok := errtype.As[*Error](err)
	if !ok {
		return &helperError{Message: err.Error()}
	}
	d := &helperError{Kind: kindName(e.Kind), Message: e.Message, Hint: e.Hint, Setting: e.Setting, Code: e.Code, RetryAt: e.RetryAt, Opened: e.opened, Unrefreshed: e.unrefreshed}
	if e.Err != nil {
		d.Cause = e.Err.Error()
	}
	return d
}

func (d *helperError) restore(server string) error {
	kind := errorKinds[d.Kind]
	if kind == nil {
		return errors.New(d.Message)
	}
	e := &Error{Kind: kind, Server: server, Message: d.Message, Hint: d.Hint, Setting: d.Setting, Code: d.Code, RetryAt: d.RetryAt, opened: d.Opened, unrefreshed: d.Unrefreshed}
	if d.Cause != "" {
		e.Err = errors.New(d.Cause)
	}
	return e
}
