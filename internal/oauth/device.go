package oauth

import (
	"context"
	"net/url"
	"time"
)

// DeviceAuthorization is what the user has to be shown, and what the client polls with (RFC 8628
// section 3.2).
type DeviceAuthorization struct {
	DeviceCode              Secret
	UserCode                string
	VerificationURI         string
	VerificationURIComplete string // with the user code; "" if there is none

	ExpiresIn time.Duration
	Interval  time.Duration // between two polls
}

const deviceSpec = "RFC 8628 section 3.2"

// Bounds of a device authorization.
const (
	defaultInterval = 5 * time.Second
	minInterval     = time.Second
	maxInterval     = 5 * time.Minute
	defaultCodeLife = 10 * time.Minute
	maxCodeLife     = time.Hour
	maxUserCode     = 64 // bytes
)

// AuthorizeDevice requests a user code (RFC 8628 section 3.1). It returns an [*Error], a
// [*TransientError], a [*SendError], or a [*ProtocolError] for an endpoint or a response that must
// not be used.
func (f *Fetcher) AuthorizeDevice(ctx context.Context, endpoint string, client Authenticator,
	params url.Values) (*DeviceAuthorization, error) {
	a, err := f.postForm(ctx, PurposeDevice, endpoint, client, params, maxToken)
	if err != nil {
		return nil, err
	}
	reply := a.reply("token")
	if a.status/100 != 2 {
		return nil, reply.failure()
	}
	if err := reply.errorMember(); err != nil {
		return nil, err
	}
	o := reply.members
	d := &DeviceAuthorization{
		DeviceCode:              Secret(o.text("device_code")),
		UserCode:                Sanitize(o.text("user_code")),
		VerificationURI:         o.text("verification_uri"),
		VerificationURIComplete: optionalEndpoint(o, "verification_uri_complete"),
		ExpiresIn:               seconds(o, "expires_in", defaultCodeLife, maxCodeLife),
		Interval:                max(minInterval, seconds(o, "interval", defaultInterval, maxInterval)),
	}
	if d.VerificationURI == "" {
		d.VerificationURI = o.text("verification_url") // Google's name for it
	}
	if d.DeviceCode == "" || d.UserCode == "" || len(d.UserCode) > maxUserCode {
		return nil, protocolErrorf(deviceSpec, "the device authorization endpoint's response has no code")
	}
	if err := CheckEndpoint(d.VerificationURI); err != nil {
		return nil, err
	}
	return d, nil
}

// seconds returns a number of seconds between zero and most; what is absent or is no such number
// is the default.
func seconds(o object, name string, otherwise, most time.Duration) time.Duration {
	n, ok := o.number(name)
	switch {
	case !ok || n <= 0:
		return otherwise
	case n > most.Seconds():
		return most
	}
	return time.Duration(n * float64(time.Second))
}
