package handstamp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/internal/record"
)

const grantDeviceCode = "urn:ietf:params:oauth:grant-type:device_code"

// DeviceCode has the user sign in on another device, with a code that [Prompt.ShowCode] shows (RFC
// 8628): where no browser can reach this machine. Later sessions refresh the login like any other.
type DeviceCode struct{}

func (DeviceCode) grantType() string { return grantDeviceCode }

func (DeviceCode) params(context.Context, *loginFlow, GrantTarget) (url.Values, error) {
	return nil, errors.New("handstamp: a device code is obtained from the authorization server")
}

// DeviceAuthorization is a login that waits for the user on another device.
type DeviceAuthorization struct {
	ServerURL string // as the user gave it
	Issuer    string // the authorization server
	UserCode  string // to be entered at VerificationURI
	ExpiresAt time.Time

	VerificationURI         string
	VerificationURIComplete string // has the code in it, for a QR code; may be empty
}

// slowDown is what a server that responds slow_down adds to the interval (RFC 8628, section 3.5).
const slowDown = 5 * time.Second

// deviceLogin is a login on another device.
type deviceLogin struct{ *loginFlow }

// attempt shows the user a code and polls until it was entered.
func (l deviceLogin) attempt(ctx context.Context) error {
	as := l.plan.server
	switch {
	case as.DeviceAuthorizationEndpoint == "":
		return &Error{Kind: ErrInvalidConfig, Server: l.serverURL, Hint: "sign in with a browser",
			Message: oauth.Sanitize(as.Issuer) + " has no device authorization endpoint"}
	case l.config.Prompt.ShowCode == nil:
		return &Error{Kind: ErrInvalidConfig, Server: l.serverURL, Hint: "set Prompt.ShowCode",
			Message: "a login on another device needs a way to show the user its code"}
	}
	if err := l.clients.choose(ctx); err != nil {
		return err
	}
	if err := l.countTab(ctx); err != nil {
		return err
	}
	params := url.Values{}
	for name, value := range map[string]string{"scope": l.scope, "resource": l.plan.resource.Param()} {
		if value != "" {
			params.Set(name, value)
		}
	}
	requested := time.Now()
	var device *oauth.DeviceAuthorization
	err := l.clients.authenticate(as.DeviceAuthorizationEndpoint, func(client oauth.Authenticator) (err error) {
		device, err = l.fetcher.AuthorizeDevice(ctx, as.DeviceAuthorizationEndpoint, client, params)
		return err
	})
	if err != nil {
		return l.authorizationError(ctx, err)
	}
	if err := l.server.checkReach("the verification_uri", device.VerificationURI); err != nil {
		return l.errs.from(err)
	}
	if !l.server.mayName(device.VerificationURIComplete) {
		device.VerificationURIComplete = ""
	}
	l.browserOpened = true
	l.events.detail(StepDevice, "the user is shown a code to enter on another device",
		EventField{"verification_uri", addressOf(device.VerificationURI)},
		EventField{"expires_in", device.ExpiresIn.String()}, EventField{"interval", device.Interval.String()})
	expires := requested.Add(device.ExpiresIn)
	l.rememberDevice(ctx, device)
	l.config.Prompt.ShowCode(ctx, DeviceAuthorization{
		ServerURL: l.serverURL, Issuer: as.Issuer, UserCode: device.UserCode,
		ExpiresAt:       requested.Add(min(device.ExpiresIn, l.config.LoginTimeout)),
		VerificationURI: device.VerificationURI, VerificationURIComplete: device.VerificationURIComplete,
	})
	return l.poll(ctx, device, expires)
}

// rememberDevice stores what the user is shown, for processes that wait for the login.
func (l deviceLogin) rememberDevice(ctx context.Context, d *oauth.DeviceAuthorization) {
	l.remember(ctx, "the pending login", func(rec *record.Record) {
		rec.PendingLogin = &record.PendingLogin{
			At: time.Now().UTC(), URL: oauth.Secret(cmp.Or(d.VerificationURIComplete, d.VerificationURI)),
			Issuer: l.plan.server.Issuer, Scope: l.scope,
		}
	})
}

// poll requests the token until the user has decided or the code has expired, and once more then.
func (l deviceLogin) poll(ctx context.Context, device *oauth.DeviceAuthorization, expires time.Time) error {
	t := l.clients.tokenRequest(oauth.TokenRequest{
		GrantType: grantDeviceCode, Params: url.Values{"device_code": {device.DeviceCode.Reveal()}},
	}, sendOnce)
	t.final = decidesDevice
	for interval := device.Interval; ; {
		left := time.Until(expires)
		last := interval >= left
		if err := sleep(ctx, min(interval, left)); err != nil {
			return l.errs.from(err)
		}
		token, at, err := t.run(ctx)
		if token != nil && err == nil {
			l.requests += t.sent
			return l.storeGrant(ctx, t, token, at)
		}
		rejected, ok := errtype.As[*oauth.Error](err)
		switch {
		case ok && rejected.Code == "authorization_pending":
		case ok && rejected.Code == "slow_down":
			interval += slowDown
			l.events.report(StepDevice, "the server wants fewer requests: one in %v from now on", interval)
		case ok && rejected.Code == "expired_token":
			return l.codeExpired(rejected)
		case ok && rejected.Class() != oauth.ClassTransient:
			return l.deviceError(ctx, t, rejected)
		case !retryable(err):
			return l.errs.from(err)
		default:
			interval = max(interval, min(2*interval, time.Minute)) // RFC 8628, section 3.5
		}
		if last {
			return l.codeExpired(nil)
		}
	}
}

// retryable reports whether a request that failed may succeed later, with nothing said about what
// it was for.
func retryable(err error) bool {
	if _, blocked := errtype.As[*oauth.BlockedError](err); blocked {
		return false
	}
	_, failed := errtype.As[*oauth.TransientError](err)
	_, lost := errtype.As[*oauth.SendError](err)
	rejected, ok := errtype.As[*oauth.Error](err)
	return failed || lost || ok && rejected.Class() == oauth.ClassTransient
}

// decidesDevice reports whether a response to a poll is about the code, and not about the client.
func decidesDevice(rejected *oauth.Error) bool {
	codes := []string{"authorization_pending", "slow_down", "expired_token", "access_denied"}
	return slices.Contains(codes, rejected.Code)
}

func (l deviceLogin) codeExpired(cause *oauth.Error) error {
	e := &Error{Kind: ErrTimeout, Server: l.serverURL, Message: "the code expired before it was entered", Hint: "start the login again"}
	if cause != nil {
		e.Code, e.Err = cause.Code, cause
	}
	return e
}

// deviceError decides what a rejected poll means for the login.
func (l deviceLogin) deviceError(ctx context.Context, t *tokenRequest, rejected *oauth.Error) error {
	if rejected.Code == "access_denied" {
		return &Error{Kind: ErrDenied, Server: l.serverURL, Code: rejected.Code, Message: "access was denied", Err: rejected}
	}
	if rejected.Class() == oauth.ClassGrant {
		return &Error{Kind: ErrDenied, Server: l.serverURL, Code: rejected.Code, Hint: "start the login again", Err: rejected,
			Message: fmt.Sprintf("the authorization server does not accept the code any more (%s)", rejected.Code)}
	}
	return l.onCodeRejected(ctx, t, rejected)
}
