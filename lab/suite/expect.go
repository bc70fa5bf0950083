package suite

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/handstamp/handstamp/lab"
)

// Expectation is what a client must do in a cell, and at most at what cost. It follows from the
// personality, the condition and the number of processes, and is the same for every client.
type Expectation struct {
	// Void reports that the cell cannot be played: there is no login for the condition to change.
	Void bool `json:"void,omitempty"`
	// FirstTabs and FirstTokenRequests are the most that the first session may use. A negative
	// number is no bound.
	FirstTabs          int `json:"first_tabs"`
	FirstTokenRequests int `json:"first_token_requests"`
	// FirstFails reports that the first session must fail.
	FirstFails bool `json:"first_fails,omitempty"`
	// Worked is how many of the later sessions must work, at least; None reports that none may.
	Worked int  `json:"worked"`
	None   bool `json:"none,omitempty"`
	// Tabs, TokenRequests, Registrations and FailedCalls are the most that the later sessions may
	// use together. A negative number is no bound.
	Tabs          int `json:"tabs"`
	TokenRequests int `json:"token_requests"`
	Registrations int `json:"registrations"`
	FailedCalls   int `json:"failed_calls"`
	// Afterwards reports that one more session must work, without a tab, when the faults are over.
	Afterwards bool `json:"afterwards,omitempty"`
	// Again reports that the condition is then applied once more, and that one more process must
	// work, without a tab.
	Again bool `json:"again,omitempty"`
	// Eventually reports that the sessions that meet the server's response may fail, and that one
	// session must work later, at the same cost.
	Eventually bool `json:"eventually,omitempty"`
	// Reuse reports that a used refresh token may be sent again.
	Reuse bool `json:"reuse,omitempty"`
}

// Expect returns what is expected of processes that meet a server with a personality under a
// condition.
func Expect(p lab.Personality, c Condition, processes int) Expectation {
	if p.Setup != nil {
		return expectSetup(p, c, processes)
	}
	e := Expectation{FirstTabs: max(1, p.Tabs), Worked: processes, FailedCalls: -1}
	e.FirstTokenRequests = e.FirstTabs + methodTries(p.Habits) // a code for each tab
	switch p.Login {
	case lab.LoginNotStarted:
		return Expectation{FirstFails: true, None: true, Registrations: -1, FailedCalls: -1, Void: c != Warm}
	case lab.LoginResponseRejected:
		// The next process does not know that its login will fail too.
		return Expectation{
			FirstTabs: 1, FirstFails: true, None: true, Tabs: processes,
			TokenRequests: 0, Registrations: processes, FailedCalls: -1, Void: c != Warm,
		}
	case lab.LoginWithoutAccess:
		// A client that requested the scope once remembers that it was not granted, until it must
		// log in again.
		e.Worked, e.None, e.FirstFails = 0, true, true
		e.FirstTokenRequests, e.TokenRequests, e.Registrations = -1, -1, 1
		if needsLogin(p, c) {
			e.Tabs = p.Tabs
		}
		return e
	}
	switch {
	case c == Warm && !p.Moves:
		e.FailedCalls = 0
		if p.Habits.LazyAuth {
			e.FailedCalls = -1
		}
	case needsLogin(p, c):
		e.login(p, c, processes)
	default:
		e.refresh(p)
	}
	return e
}

// refresh sets what is expected where one refresh is enough for all processes.
func (e *Expectation) refresh(p lab.Personality) {
	e.TokenRequests = 1
	if p.Habits.RefreshScope == lab.RefreshScopeRequired {
		e.TokenRequests = 2 // the first one is rejected, and the client remembers
	}
	switch t := troubleOf(p); {
	case t.lost:
		e.TokenRequests, e.Reuse = 2, true
	case t.passing > 0:
		// A process that meets the fault may report it and end.
		e.Worked, e.TokenRequests, e.Afterwards = 0, t.passing+1, true
	default:
		e.Again = true
	}
}

// login sets what is expected where the user must log in, once for all processes.
func (e *Expectation) login(p lab.Personality, c Condition, processes int) {
	e.Tabs = 1
	if p.Habits.Offline == lab.OfflineForbidden {
		e.Tabs = 2 // a scope that was rejected once is requested again in the next login
	}
	e.TokenRequests = 2 // the refresh that failed, and the code
	t := troubleOf(p)
	if t.lost {
		e.TokenRequests, e.Reuse = 3, true
	}
	if t.passing > 0 {
		e.TokenRequests += t.passing
		e.Worked, e.Afterwards = 0, false
	}
	if namesNothing(p.Habits, c) {
		// Only the second such response ends a grant.
		e.Worked, e.Eventually = 1, true
		e.TokenRequests++
	}
	if t.discovery {
		e.Worked = 0 // without metadata no login can begin
	}
	if c == ClientForgotten || p.Moves || p.PortTaken || secretOver(p, c) {
		e.Registrations = 1
		if p.Tabs > 1 {
			e.Tabs = p.Tabs // nothing is known about the new client
			e.TokenRequests++
		}
		e.TokenRequests += methodTries(p.Habits)
	}
	if p.Moves {
		// The old server still issues tokens, which the MCP server rejects: one to each process.
		e.TokenRequests += processes
	}
}

// needsLogin reports whether the grant is lost, so that the user must log in.
func needsLogin(p lab.Personality, c Condition) bool {
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

// namesNothing reports whether the rejection of a refresh names neither the grant nor the client.
func namesNothing(h lab.Habits, c Condition) bool {
	switch c {
	case GrantRevoked:
		return h.DeadGrantBody == lab.ShapeEmpty
	case ClientForgotten:
		return h.UnknownClientBody != "" &&
			!strings.Contains(strings.ToLower(h.UnknownClientBody), "client")
	}
	return false
}

// secretOver reports whether the registered client secret has expired.
func secretOver(p lab.Personality, c Condition) bool {
	return c == TwoDays && p.Habits.SecretLifetime != 0 && p.Habits.SecretLifetime < twoDays
}

// methodTries returns how many token requests a client may send with a wrong authentication method,
// where only a try can show the right one. Basic comes before post, and again with the client_id
// in the form.
func methodTries(h lab.Habits) int {
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

// trouble is the effect of a personality's faults on the later sessions.
type trouble struct {
	lost      bool // the response to a refresh that was carried out is lost
	passing   int  // how many refreshes fail without being carried out
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
