package handstamp

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"time"

	"github.com/handstamp/handstamp/internal/oauth"
	"github.com/handstamp/handstamp/secret"
)

// narrator makes and delivers the events of one credential. The methods of a nil narrator do
// nothing: no application listens. They may be called concurrently, and not with a mutex held,
// since they call the application.
type narrator struct {
	server, profile string
	hook            func(Event)
	log             *slog.Logger // nil: there is none
	secrets         *knownSecrets
}

// newNarrator returns the narrator of a credential, or nil.
func newNarrator(cfg *configuration, server, profile string, secrets *knownSecrets) *narrator {
	if cfg.Hooks.Event == nil && cfg.Logger == nil {
		return nil
	}
	return &narrator{
		server: server, profile: profile, hook: cfg.Hooks.Event, log: cfg.Logger, secrets: secrets,
	}
}

// listens reports whether an application wants every event. Whoever has to work for an event
// calls it before.
func (n *narrator) listens() bool {
	return n != nil && (n.hook != nil || n.log.Enabled(context.Background(), slog.LevelDebug))
}

// deliver completes an event and hands it to those who listen.
func (n *narrator) deliver(e Event) {
	if n == nil {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.Round(0).UTC()
	e.Server, e.Profile = n.server, n.profile
	n.clean(&e)
	n.hand(e)
}

// hand hands over an event that is complete: one of a helper is.
func (n *narrator) hand(e Event) {
	if n == nil {
		return
	}
	if n.hook != nil {
		n.guarded(func() { n.hook(e) })
	}
	if n.log != nil {
		n.guarded(func() { e.log(n.log) })
	}
}

// guarded calls the application. A panic there goes to the log only: it would lose the login where it
// comes between the response to a refresh and its entry in the store.
func (n *narrator) guarded(call func()) {
	defer func() {
		if p := recover(); p != nil && n != nil && n.log != nil {
			defer func() { _ = recover() }() // if it is the log that panics
			n.log.Error("the hook panics", "server", addressOf(n.server), "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
		}
	}()
	call()
}

// clean removes from an event what it must not contain, as the last of several hurdles: errors and
// exchanges are free of it before.
func (n *narrator) clean(e *Event) {
	texts := []*string{&e.Message, &e.Error}
	fields := [][]EventField{e.Details}
	if d := e.Decision; d != nil {
		texts = append(texts, &d.Choice, &d.Reason)
	}
	if r := e.Request; r != nil {
		texts = append(texts, &r.URL, &r.Code)
		fields = append(fields, r.Params, r.Header, r.Response)
	}
	for _, list := range fields {
		for i := range list {
			texts = append(texts, &list[i].Name, &list[i].Value)
		}
	}
	for _, text := range texts {
		*text = n.secrets.shown(*text)
	}
}

// report reports what happens, in a sentence.
func (n *narrator) report(step EventStep, format string, args ...any) {
	if n.listens() {
		n.deliver(Event{Step: step, Message: fmt.Sprintf(format, args...)})
	}
}

// fail is report for what did not succeed; err may be nil.
func (n *narrator) fail(step EventStep, err error, format string, args ...any) {
	if n != nil {
		n.deliver(Event{Step: step, Message: fmt.Sprintf(format, args...), Error: errorText(err)})
	}
}

// decide reports a choice.
func (n *narrator) decide(step EventStep, about, choice, reason string) {
	if !n.listens() {
		return
	}
	message := about + ": " + choice
	if reason != "" {
		message += " (" + reason + ")"
	}
	n.deliver(Event{
		Step: step, Message: message,
		Decision: &EventDecision{About: about, Choice: choice, Reason: reason},
	})
}

// detail reports what was found out. Fields without a value are left out.
func (n *narrator) detail(step EventStep, message string, fields ...EventField) {
	if !n.listens() {
		return
	}
	var details []EventField
	for _, f := range fields {
		if f.Value != "" {
			details = append(details, f)
		}
	}
	n.deliver(Event{Step: step, Message: message, Details: details})
}

// stepOf has the step that each request of the protocol belongs to.
var stepOf = map[string]EventStep{
	oauth.PurposeResource:     StepResourceMetadata,
	oauth.PurposeServer:       StepServerMetadata,
	oauth.PurposeKeys:         StepIdentity,
	oauth.PurposeRegistration: StepRegistration,
	oauth.PurposePush:         StepAuthorization,
	oauth.PurposeDevice:       StepDevice,
	oauth.PurposeToken:        StepToken,
	oauth.PurposeRevocation:   StepRevocation,
	oauth.PurposeUser:         StepUser,
	purposeServer:             StepServer,
	purposeClient:             StepAuthorization,
	purposeIdentity:           StepIdentity,
}

const (
	purposeServer   = "the MCP server"
	purposeClient   = "the authorization endpoint"
	purposeIdentity = "the identity service"
)

// exchange reports a request and its response.
func (n *narrator) exchange(x oauth.Exchange) {
	if !n.listens() {
		return
	}
	e := Event{Time: x.Sent, Step: stepOf[x.Purpose], Error: errorText(x.Err), Request: &EventRequest{
		Method: x.Method, URL: x.URL, AuthMethod: x.AuthMethod, Status: x.Status, Code: x.Code,
		Duration: x.Duration, Params: eventFields(x.Params), Header: eventFields(x.Header),
		Response: eventFields(x.Response),
	}}
	switch {
	case x.Status == 0:
		e.Message = "no response from " + x.Purpose
	case x.Code != "":
		e.Message = fmt.Sprintf("%s responds with %d %s", x.Purpose, x.Status, x.Code)
	default:
		e.Message = fmt.Sprintf("%s responds with %d", x.Purpose, x.Status)
	}
	n.deliver(e)
}

func eventFields(fields []oauth.Field) (all []EventField) {
	for _, f := range fields {
		all = append(all, EventField(f))
	}
	return all
}

// sent begins an exchange that does not go through an [oauth.Fetcher]. The function that it returns
// reports it. The token is that of the request, or nil.
func (n *narrator) sent(
	purpose string, req *http.Request, token *cachedToken,
) func(*http.Response, error) {
	if !n.listens() {
		return func(*http.Response, error) {}
	}
	at := time.Now()
	return func(resp *http.Response, err error) {
		if resp != nil && resp.Request != nil {
			req = resp.Request // after redirects
		}
		x := oauth.Exchange{Purpose: purpose, Sent: at, Err: err}
		n.exchange(oauth.Observed(x, req, resp, n.secretsBeside(token)))
	}
}

// secretsBeside returns the secrets of the credential, and those of a token that may be another's.
func (n *narrator) secretsBeside(token *cachedToken) []secret.String {
	known := slices.Clip(n.secrets.all())
	if token != nil {
		known = append(known, token.token)
	}
	return known
}

// authorizationURL reports the URL that the user's browser opens.
func (n *narrator) authorizationURL(rawURL string) {
	u, err := url.Parse(rawURL)
	if err != nil || !n.listens() {
		return
	}
	n.deliver(Event{
		Step: StepAuthorization, Message: "the user signs in at " + oauth.Origin(u),
		Request: &EventRequest{
			Method: http.MethodGet, URL: addressOf(rawURL),
			Params: eventFields(oauth.ShownParams(u.Query())),
		},
	})
}

// callback reports the parameters with which the user came back.
func (n *narrator) callback(params url.Values, err error) {
	if !n.listens() || params == nil {
		return
	}
	e := Event{Step: StepCallback, Message: "the user is back", Error: errorText(err)}
	for _, f := range oauth.ShownParams(params) {
		switch f.Name {
		case "iss":
			f.Value = params.Get(f.Name)
		case "error":
			known := slices.Clip(n.secrets.all())
			for _, name := range []string{"state", "code"} {
				known = append(known, secret.String(params.Get(name)))
			}
			f.Value = errorCodeOf(params, known)
		}
		e.Details = append(e.Details, EventField(f))
	}
	n.deliver(e)
}

// addressOf returns a URL without its query and fragment.
func addressOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return oauth.Origin(u) + u.EscapedPath()
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
