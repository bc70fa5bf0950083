package lab

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Personality is the behavior of a real authorization server, with a name. What it states about
// servers was reported at the places in Seen; it may have changed since.
//
// A personality can be written as JSON, and the command accepts the user's own in that form.
type Personality struct {
	// Name is what it is found by.
	Name string `json:"name"`
	// Habit is what the server does, in a sentence.
	Habit string `json:"habit"`
	// Seen is the servers known for it, and where that was reported.
	Seen string `json:"seen"`
	// Client is what a client must do.
	Client string `json:"client"`

	// Habits are what the server is started with.
	Habits Habits `json:"habits"`
	// Trouble is what requests meet once the first login is over, by endpoint,
	// for SetFault; from the beginning where no login comes about.
	Trouble map[string][]Fault `json:"trouble,omitempty"`
	// Moves makes the MCP server name another authorization server once the first login is over;
	// see [Server.MoveTo].
	Moves bool `json:"moves,omitempty"`
	// Forged makes an attacker call the client's redirect URI, with another code and state, before
	// the user has consented.
	Forged bool `json:"forged,omitempty"`
	// PortTaken makes another program listen on the port of the client's redirect URI once the
	// first login is over.
	PortTaken bool `json:"port_taken,omitempty"`
	// Login is the result of a login by a correct client without configuration: one of the Login
	// constants.
	Login string `json:"login,omitempty"`
	// Setup is what the client needs that an administrator arranges; nil if it needs nothing.
	Setup *Setup `json:"setup,omitempty"`
	// Tabs is how often such a client opens a browser in its first session. Zero
	// means once if the login works.
	Tabs int `json:"tabs,omitempty"`
}

// Values of Personality.Login.
const (
	// LoginWorks, the zero value: the login succeeds.
	LoginWorks = ""
	// LoginNotStarted: the client must stop before a browser opens.
	LoginNotStarted = "not-started"
	// LoginResponseRejected: a browser opens, and the client must reject the authorization
	// response.
	LoginResponseRejected = "response-rejected"
	// LoginWithoutAccess: the client gets tokens, and the MCP server still rejects the tool call.
	LoginWithoutAccess = "no-access"
)

// check reports the first value that no personality could have.
func (p Personality) check() error {
	switch p.Login {
	case LoginWorks, LoginNotStarted, LoginResponseRejected, LoginWithoutAccess:
	default:
		return fmt.Errorf("lab: login cannot be %q", p.Login)
	}
	if p.Tabs < 0 {
		return fmt.Errorf("lab: tabs cannot be %d", p.Tabs)
	}
	for endpoint := range p.Trouble {
		if !isEndpoint(endpoint) {
			return fmt.Errorf("lab: no endpoint is called %q", endpoint)
		}
	}
	return p.Setup.check()
}

// Personalities returns all of them, those about the same thing together.
func Personalities() []Personality {
	return slices.Concat(
		methodPersonalities(), registrationPersonalities(), negotiationPersonalities(), rotationPersonalities(), expiryPersonalities(),
		resourcePersonalities(), discoveryPersonalities(), responsePersonalities(), scopePersonalities(),
		issPersonalities(), consentPersonalities(), fieldPersonalities(), hostilePersonalities(), originPersonalities(),
		proofPersonalities(), setupPersonalities(),
	)
}

// FindPersonality returns the one with this name.
func FindPersonality(name string) (Personality, bool) {
	for _, p := range Personalities() {
		if p.Name == name {
			return p, true
		}
	}
	return Personality{}, false
}

// named gives the habits the names of their personalities.
func named(all ...Personality) []Personality {
	for i := range all {
		all[i].Habits.Name = all[i].Name
	}
	return all
}

// NoneFirst lists none before the methods that it enforces, and registers client_secret_post
// whatever was requested. A client that uses the first listed method in its second session never
// sends its secret, and is rejected (seen at WorkOS AuthKit:
// modelcontextprotocol/csharp-sdk#1611).
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
	h.DPoP.Algorithms = slices.Clone(h.DPoP.Algorithms)
	h.DetailTypes = slices.Clone(h.DetailTypes)
	h.StepUp.ACR = slices.Clone(h.StepUp.ACR)
	h.Grants = slices.Clone(h.Grants)
	h.Assertions.Algorithms = slices.Clone(h.Assertions.Algorithms)
	h.ListedBefore = slices.Clone(h.ListedBefore)
	h.Endpoints = maps.Clone(h.Endpoints)
	h.RejectRegistrations = slices.Clone(h.RejectRegistrations)
	if h.RegisterSecret != nil {
		secret := *h.RegisterSecret
		h.RegisterSecret = &secret
	}
	return h
}

// day is a day of the servers' clock.
const day = 24 * time.Hour
