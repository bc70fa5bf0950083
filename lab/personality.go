package lab

import "slices"

// NoneFirst lists none before the methods that it enforces, and registers
// client_secret_post whatever was asked. A client that takes the first listed
// method in its second session never sends its secret, and is refused (seen at
// WorkOS AuthKit: modelcontextprotocol/csharp-sdk#1611).
func NoneFirst() Habits {
	return Habits{
		Name:           "none-first",
		Methods:        []string{MethodNone, MethodPost, MethodBasic},
		RegisterMethod: MethodPost,
		Rotation:       RotateStrict,
	}
}

func (h Habits) clone() Habits {
	h.Methods = slices.Clone(h.Methods)
	h.ScopesSupported = slices.Clone(h.ScopesSupported)
	h.NeverGrant = slices.Clone(h.NeverGrant)
	if h.RegisterSecret != nil {
		secret := *h.RegisterSecret
		h.RegisterSecret = &secret
	}
	return h
}
