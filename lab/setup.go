package lab

import (
	"fmt"
	"slices"
)

// Setup is what an administrator has to arrange before a client can log in to a server with a
// personality. [Server.Arrange] does it. It is nil for a personality that a client without
// configuration can use.
type Setup struct {
	// Way is how the client obtains its tokens: one of the Way constants.
	Way string `json:"way"`
	// Method is how the client authenticates: one of the Method constants. Empty means
	// [MethodNone], or no client at all with [WayWorkload].
	Method string `json:"method,omitempty"`
}

// The ways to obtain a token.
const (
	WayCode              = "authorization_code" // the user signs in with a browser
	WayDevice            = "device_code"        // the user signs in on another device (RFC 8628)
	WayClientCredentials = "client_credentials" // the client has access of its own
	WayWorkload          = "workload"           // the platform's token is a JWT bearer grant (RFC 7523)
	WayTokenExchange     = "token_exchange"     // the caller's token is exchanged (RFC 8693)
	WayEnterprise        = "enterprise"         // the company's identity provider issues ID-JAGs
)

// Ways returns the Way constants, those with a user first.
func Ways() []string {
	return []string{
		WayCode, WayDevice, WayEnterprise, WayClientCredentials, WayWorkload, WayTokenExchange,
	}
}

// User reports whether the user takes part in each login at the authorization server.
func (s *Setup) User() bool {
	return s == nil || s.Way == WayCode || s.Way == WayDevice
}

// check reports the first value that no setup could have.
func (s *Setup) check() error {
	if s == nil {
		return nil
	}
	methods := []string{
		"", MethodNone, MethodBasic, MethodPost, MethodSecretJWT, MethodPrivateKeyJWT, MethodTLS,
	}
	for _, field := range []struct {
		name, value string
		allowed     []string
	}{{"way", s.Way, Ways()}, {"method", s.Method, methods}} {
		if !slices.Contains(field.allowed, field.value) {
			return fmt.Errorf("lab: setup.%s cannot be %q", field.name, field.value)
		}
	}
	return nil
}
