package suite

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/handstamp/handstamp/lab"
)

// Expectation is what a cell asks of a client. It follows from the personality
// and the condition alone, and is the same for every client.
type Expectation struct {
	// Void says that the cell cannot come about: there is no login to grow old.
	Void bool `json:"void,omitempty"`
	// FirstTabs and FirstTokenRequests are the most that the first session may
	// cost. A negative number is no bound.
	FirstTabs          int `json:"first_tabs"`
	FirstTokenRequests int `json:"first_token_requests"`
	// FirstFails says that the first session must not get through.
	FirstFails bool `json:"first_fails,omitempty"`
	// Worked is how many of the later sessions must get through, at least; None
	// says that none may.
	Worked int  `json:"worked"`
	None   bool `json:"none,omitempty"`
	// Tabs, TokenRequests, Registrations and FailedCalls are the most that the
	// later sessions may cost together. A negative number is no bound.
	Tabs          int `json:"tabs"`
	TokenRequests int `json:"token_requests"`
	Registrations int `json:"registrations"`
	FailedCalls   int `json:"failed_calls"`
	// Afterwards says that one more session must get through, with no tab, when
	// the trouble is over.
	Afterwards bool `json:"afterwards,omitempty"`
	// Again says that the condition then comes about once more, and that one more
	// process must get through, with no tab.
	Again bool `json:"again,omitempty"`
	// Eventually says that whoever meets the server's response may give up, and that
	// one session must get through, sooner or later, at the same cost.
	Eventually bool `json:"eventually,omitempty"`
	// Reuse says that a spent refresh token may come again.
	Reuse bool `json:"reuse,omitempty"`
}

// Expect returns what is expected of processes that come under a condition to a
// server with a personality.
func Expect(p lab.Personality, c Condition, processes int) Expectation {
	e := Expectation{FirstTabs: max(1, p.Tabs), Worked: processes, FailedCalls: -1}
	e.FirstTokenRequests = e.FirstTabs // a code for each
	e.FirstTokenRequests += guesses(p.Habits)
	switch p.Login {
	case lab.LoginNotStarted:
		return Expectation{FirstFails: true, None: true, Registrations: -1, FailedCalls: -1, Void: c != Warm}
	case lab.LoginResponseRejected:
		// Nothing tells the next process that it will be the same again.
		return Expectation{
			FirstTabs: 1, FirstFails: true, None: true, Tabs: processes,
			TokenRequests: 0, Registrations: processes, FailedCalls: -1, Void: c != Warm,
		}
	case lab.LoginWithoutAccess:
		// Whoever has asked in vain remembers it, until the login itself is over.
		e.Worked, e.None, e.FirstFails = 0, true, true
		e.FirstTokenRequests, e.TokenRequests, e.Registrations = -1, -1, 1
		if mustLogIn(p, c) {
			e.Tabs = p.Tabs
		}
		return e
	}
	t := troubleOf(p)
	switch {
	case c == Warm && !p.Moves:
		e.FailedCalls = 0
		if p.Habits.LazyAuth {
			e.FailedCalls = -1
		}
		return e
	case !mustLogIn(p, c):
		e.TokenRequests = 1
		if p.Habits.RefreshScope == lab.RefreshScopeRequired {
			e.TokenRequests = 2 // it is found out once
		}
		switch {
		case t.lost:
			e.TokenRequests, e.Reuse = 2, true
		case t.passing > 0:
			// Whoever meets the trouble may say so and give up.
			e.Worked, e.TokenRequests, e.Afterwards = 0, t.passing+1, true
		default:
			e.Again = true
		}
		return e
	}

	// A user is needed: once, for all processes.
	e.Tabs = 1
	if p.Habits.Offline == lab.OfflineForbidden {
		e.Tabs = 2 // no record says that a scope refused once is refused for ever
	}
	e.TokenRequests = 2 // the refresh that failed, and the code
	if t.lost {
		e.TokenRequests, e.Reuse = 3, true
	}
	if t.passing > 0 {
		e.TokenRequests += t.passing
		e.Worked, e.Afterwards = 0, false
	}
	if nameless(p.Habits, c) {
		// It ends a grant when it has come twice.
		e.Worked, e.Eventually = 1, true
		e.TokenRequests++
	}
	if t.discovery {
		// Without metadata nobody can be asked to begin a login.
		e.Worked = 0
	}
	if c == ClientForgotten || p.Moves || p.PortTaken || secretOver(p, c) {
		e.Registrations = 1
		if p.Tabs > 1 {
			e.Tabs = p.Tabs // the new client begins from nothing
			e.TokenRequests++
		}
		e.TokenRequests += guesses(p.Habits) // nor does it know the method
	}
	if p.Moves {
		// The old server still gives out what is not taken any more, to each process
		// once.
		e.TokenRequests += processes
	}
	return e
}

// mustLogIn reports whether the server has refused for good, so that only a
// person helps.
func mustLogIn(p lab.Personality, c Condition) bool {
	switch {
	case p.Moves, c == GrantRevoked, c == ClientForgotten:
		return true
	case c == Warm:
		return false
	case p.Habits.Offline == lab.OfflineForbidden: // there is no refresh token
		return true
	case troubleOf(p).lost && p.Habits.Rotation != lab.RotateGrace:
		return true
	}
	return secretOver(p, c)
}

// nameless reports whether the rejection of a refresh names neither the grant nor
// the client.
func nameless(h lab.Habits, c Condition) bool {
	switch c {
	case GrantRevoked:
		return h.DeadGrantBody == lab.ShapeEmpty
	case ClientForgotten:
		return h.UnknownClientBody != "" && !strings.Contains(strings.ToLower(h.UnknownClientBody), "client")
	}
	return false
}

// secretOver reports whether the registered secret has ended.
func secretOver(p lab.Personality, c Condition) bool {
	return c == TwoDays && p.Habits.SecretLifetime != 0 && p.Habits.SecretLifetime < twoDays
}

// guesses returns how often a client may be wrong about how the token endpoint
// wants it to authenticate, where only a try can tell. Basic comes before post,
// and again with the client_id in the form.
func guesses(h lab.Habits) int {
	switch method := cmp.Or(h.EnforceMethod, h.RegisterMethod); {
	case h.FormClientID && method == lab.MethodBasic:
		return 1
	case !h.RegisterSilent && (h.EnforceMethod == "" || h.EnforceMethod == h.RegisterMethod):
		return 0
	case method == lab.MethodPost:
		return 2
	}
	return 1
}

// trouble is what faults mean for the later sessions.
type trouble struct {
	lost      bool // the answer to a refresh is lost after it was done
	passing   int  // so many refreshes fail, and nothing is done
	discovery bool // metadata is down
}

func troubleOf(p lab.Personality) trouble {
	var t trouble
	for endpoint, faults := range p.Trouble {
		for _, fault := range faults {
			switch {
			case endpoint != "token:refresh":
				t.discovery = t.discovery || fault.Status >= http.StatusInternalServerError
			case fault.Kind == lab.FaultCutAfter || fault.Kind == lab.FaultCutBody:
				t.lost = true
			default:
				t.passing += max(1, fault.Times)
			}
		}
	}
	return t
}
