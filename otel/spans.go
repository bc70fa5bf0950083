package otel

import (
	"context"
	"net/url"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/handstamp/handstamp"
)

// The names of the spans.
const (
	spanRefresh = "handstamp.refresh"
	spanLogin   = "handstamp.login"
)

// requestSpans are the names of the spans of requests, by the step of their events. Requests of
// other steps have none.
var requestSpans = map[handstamp.EventStep]string{
	handstamp.StepServer:           "handstamp.discovery",
	handstamp.StepResourceMetadata: "handstamp.discovery",
	handstamp.StepServerMetadata:   "handstamp.discovery",
	handstamp.StepRegistration:     "handstamp.registration",
	handstamp.StepAuthorization:    "handstamp.authorization",
	handstamp.StepDevice:           "handstamp.device",
	handstamp.StepIdentity:         "handstamp.identity",
	handstamp.StepToken:            "handstamp.token",
	handstamp.StepUser:             "handstamp.user",
	handstamp.StepRevocation:       "handstamp.revocation",
}

// maxRequests bounds the requests that are kept until it is known what they belong to. A login
// that polls has many.
const maxRequests = 100

// observer receives what one Client does. A span is made when its refresh or login has ended, with
// the times at which it began and ended: hooks report results.
type observer struct {
	telemetry *Telemetry

	mu       sync.Mutex
	requests []request // guarded by mu; those that belong to no span yet
}

// request is a request that has ended.
type request struct {
	server, name string
	began        time.Time
	handstamp.EventRequest
}

func (o *observer) event(e *handstamp.Event) {
	o.telemetry.measureEvent(e)
	name := requestSpans[e.Step]
	// What was not timed was not sent by the library, but by the application or a browser.
	if e.Request == nil || e.Request.Duration == 0 || name == "" {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.requests) >= maxRequests {
		o.requests = o.requests[1:]
	}
	r := request{server: e.Server, name: name, began: e.Time}
	r.Method, r.URL, r.Status, r.Code, r.Duration = e.Request.Method, e.Request.URL, e.Request.Status,
		e.Request.Code, e.Request.Duration
	o.requests = append(o.requests, r)
}

func (o *observer) refreshed(e *handstamp.RefreshEvent) {
	o.telemetry.measureRefresh(e)
	o.span(spanRefresh, e.Server, e.Issuer, e.Began, e.Duration, e.Outcome)
}

func (o *observer) loggedIn(e *handstamp.LoginEvent) {
	o.telemetry.measureLogin(e)
	o.span(spanLogin, e.Server, e.Issuer, e.Began, e.Duration, e.Outcome)
}

// span makes the span of what has just ended, and those of its requests.
func (o *observer) span(name, server, issuer string, began time.Time, took time.Duration, outcome string) {
	t := o.telemetry
	requests := o.take(server, began)
	ctx, span := t.tracer.Start(context.Background(), name, trace.WithTimestamp(began),
		trace.WithAttributes(t.named(server, []attribute.KeyValue{
			attrOutcome.String(outcome), attrAddress.String(host(issuer)),
		})...))
	for _, r := range requests {
		_, child := t.tracer.Start(ctx, r.name, trace.WithTimestamp(r.began),
			trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(t.named(server,
				append(requestAttributes(&r.EventRequest),
					attrMethod.String(r.Method), attrAddress.String(host(r.URL))))...))
		if r.Status == 0 || r.Status >= 400 {
			child.SetStatus(codes.Error, "")
		}
		child.End(trace.WithTimestamp(r.began.Add(r.Duration)))
	}
	switch outcome {
	case handstamp.OutcomeRefreshed, handstamp.OutcomeKept, handstamp.OutcomeSignedIn:
	default:
		span.SetStatus(codes.Error, outcome)
	}
	span.End(trace.WithTimestamp(began.Add(took)))
}

// take removes the requests to a server's authorization server that were sent since, and forgets
// those from before.
func (o *observer) take(server string, since time.Time) (taken []request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var others []request
	for _, r := range o.requests {
		switch {
		case r.server != server:
			others = append(others, r)
		case !r.began.Before(since):
			taken = append(taken, r)
		}
	}
	o.requests = others
	return taken
}

// host returns the host of a URL.
func host(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
