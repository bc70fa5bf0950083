package lab

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// A Personality is the habit of a real authorization server, by name. What it
// says of servers is what somebody has reported of them, where Seen says; it
// promises nothing about today.
//
// A personality can be written as JSON, in which one of one's own can be given to
// the command.
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
	// Moves says that the MCP server names another authorization server once the
	// first login is over; see Server.MoveTo.
	Moves bool `json:"moves,omitempty"`
	// Forged says that somebody else calls the client's redirect URI, with a code
	// and a state of his own, before the person has consented.
	Forged bool `json:"forged,omitempty"`
	// PortTaken says that another program has the port of the client's redirect
	// URI once the first login is over.
	PortTaken bool `json:"port_taken,omitempty"`
	// Login is what comes of a login by a client that makes no mistake and has
	// been told nothing: one of the Login constants.
	Login string `json:"login,omitempty"`
	// Tabs is how often such a client opens a browser in its first session. Zero
	// means once if the login works.
	Tabs int `json:"tabs,omitempty"`
}

// Values of Personality.Login.
const (
	// LoginWorks, the zero value: the client walks in.
	LoginWorks = ""
	// LoginRefused: it must give up before a browser opens.
	LoginNotStarted = "not-started"
	// LoginDisbelieved: a browser opens, and what comes back from it must not be
	// believed.
	LoginResponseRejected = "response-rejected"
	// LoginFutile: it gets tokens, and the tool is refused nevertheless.
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
	return nil
}

// Personalities returns all of them, those about the same thing together.
func Personalities() []Personality {
	return slices.Concat(
		methodPersonalities(), registrationPersonalities(), negotiationPersonalities(), rotationPersonalities(), expiryPersonalities(),
		resourcePersonalities(), discoveryPersonalities(), responsePersonalities(), scopePersonalities(),
		issPersonalities(), consentPersonalities(), fieldPersonalities(), hostilePersonalities(), originPersonalities(),
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
