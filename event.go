package handstamp

import (
	"slices"
	"time"
)

// Event is one step of what a [Client] does for a server: a request with its response, a choice
// with its reason, a wait, an entry in the store. [Hooks.Event] receives them in the order in which
// they happen, so that the events of a login tell how it went: a log ([Event.String] is a line for
// a user), a diagram and a diagnosis are made from them.
//
// An event never contains a token, code, verifier, secret, assertion, proof, state or the body of a
// response; where one would be, it has "[redacted]". It is plain data: it may be kept, compared,
// encoded as JSON and read back. Requests of the application that need nothing but the stored token
// cause no event.
type Event struct {
	Time    time.Time `json:"time"`   // for a request, when it was sent
	Server  string    `json:"server"` // the URL as the user gave it
	Profile string    `json:"profile"`
	Step    EventStep `json:"step"`

	// Message is one sentence, without the full stop.
	Message string `json:"message"`

	// Request is set for a request to a server, after its response.
	Request *EventRequest `json:"request,omitempty"`

	// Decision is set for a choice.
	Decision *EventDecision `json:"decision,omitempty"`

	// Details are what else is known, such as the members of a metadata document that matter.
	Details []EventField `json:"details,omitempty"`

	// Error is why the step failed; "" if it did not.
	Error string `json:"error,omitempty"`
}

// EventStep is the part of the work that an [Event] belongs to.
type EventStep string

const (
	StepServer           EventStep = "mcp_server"        // requests there, challenges
	StepResourceMetadata EventStep = "resource_metadata" // RFC 9728
	StepServerMetadata   EventStep = "server_metadata"   // RFC 8414, OpenID Connect Discovery
	StepRegistration     EventStep = "registration"      // which client; RFC 7591, RFC 7592
	StepAuthMethod       EventStep = "auth_method"       // how the client authenticates
	StepAuthorization    EventStep = "authorization"     // RFC 6749, 7636, 9126
	StepCallback         EventStep = "callback"          // RFC 9207
	StepDevice           EventStep = "device"            // RFC 8628
	StepIdentity         EventStep = "identity"          // a token that a grant presents
	StepToken            EventStep = "token"             // the token endpoint
	StepUser             EventStep = "user"              // who has signed in
	StepRevocation       EventStep = "revocation"        // RFC 7009
	StepStore            EventStep = "store"             // it is read or written
	StepLock             EventStep = "lock"              // a wait for another process
	StepCooldown         EventStep = "cooldown"          // nothing is sent for a while
	StepReauthorization  EventStep = "reauthorization"   // what follows a 401 or a 403
	StepRefresh          EventStep = "refresh"           // a refresh begins or ends
	StepLogin            EventStep = "login"             // a login begins or ends
	StepHelper           EventStep = "helper"            // work of a [RefreshHelper]
	StepNotice           EventStep = "notice"            // as in [Hooks.Notice]
)

// EventRequest is a request and what came back.
type EventRequest struct {
	Method string `json:"method"`
	URL    string `json:"url"` // without query and fragment

	// Params are the parameters of the query or the form, sorted by name. Those that may be secret
	// are "[redacted]".
	Params []EventField `json:"params,omitempty"`

	// Header are the headers of the request that matter, likewise: Authorization has only its
	// scheme.
	Header []EventField `json:"header,omitempty"`

	// AuthMethod is how the client authenticated: "none", "client_secret_post", …; "" where no
	// client does.
	AuthMethod string `json:"auth_method,omitempty"`

	Status   int           `json:"status,omitempty"` // 0: there was no response
	Duration time.Duration `json:"duration_ns"`      // 0: not measured

	// Code is the OAuth error code of the response, Response the headers of it that matter.
	Code     string       `json:"code,omitempty"`
	Response []EventField `json:"response,omitempty"`
}

// EventDecision is a choice: of what, what was chosen, and why.
type EventDecision struct {
	About  string `json:"about"`  // such as "token endpoint auth method"
	Choice string `json:"choice"` // such as "client_secret_post"
	Reason string `json:"reason"` // such as "from the registration"
}

// EventField is a name and a value.
type EventField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Detail returns the value of the named detail, or "".
func (e *Event) Detail(name string) string { return fieldValue(e.Details, name) }

// Param returns the value of the named parameter, or "".
func (r *EventRequest) Param(name string) string { return fieldValue(r.Params, name) }

func fieldValue(fields []EventField, name string) string {
	if i := slices.IndexFunc(fields, func(f EventField) bool { return f.Name == name }); i >= 0 {
		return fields[i].Value
	}
	return ""
}
