// Package otel reports what Handstamp does to OpenTelemetry: metrics and traces of refreshes, logins
// and their requests.
//
//	import handstampotel "github.com/handstamp/handstamp/otel"
//
//	telemetry, err := handstampotel.New(handstampotel.Options{})
//	client := &handstamp.Client{…}
//	telemetry.Instrument(client)
//
// Nothing that is reported has a secret, a user, or more of a URL than its host. docs/observe.md has
// the names, which stay.
//
// The application's own requests are none of this package's: otelhttp reports them, around
// [handstamp.Client.Transport] or within it as its BaseTransport.
package otel

import (
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/handstamp/handstamp"
)

const scope = "github.com/handstamp/handstamp/otel"

// Options are the options of [New]. The zero value takes the global providers.
type Options struct {
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider

	// Server names an MCP server, given by its URL, in the attribute handstamp.server of metrics and
	// spans. It should know few names, as each is a time series of its own; "" adds none. Nil: no
	// server is named.
	Server func(serverURL string) string
}

// Telemetry reports what any number of Clients do.
type Telemetry struct {
	server func(string) string
	tracer trace.Tracer

	refreshes  metric.Float64Histogram
	logins     metric.Float64Histogram
	requests   metric.Float64Histogram
	lockWaits  metric.Float64Histogram
	recoveries metric.Int64Counter
}

// New returns a Telemetry, to which Clients are added.
func New(o Options) (*Telemetry, error) {
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.Server == nil {
		o.Server = func(string) string { return "" }
	}
	t := &Telemetry{server: o.Server, tracer: o.TracerProvider.Tracer(scope)}
	if err := t.newInstruments(o.MeterProvider.Meter(scope)); err != nil {
		return nil, fmt.Errorf("otel: %w", err)
	}
	return t, nil
}

// Instrument has a Client report, that has not been used yet. The hooks that it has are called, too,
// and those set later take the place of these: instrument last. In a hosted application call it in
// App.Configure.
func (t *Telemetry) Instrument(c *handstamp.Client) {
	o := &observer{telemetry: t}
	event, refreshed, loggedIn := c.Hooks.Event, c.Hooks.Refreshed, c.Hooks.LoggedIn
	c.Hooks.Event = func(e handstamp.Event) {
		o.event(&e)
		if event != nil {
			event(e)
		}
	}
	c.Hooks.Refreshed = func(e handstamp.RefreshEvent) {
		o.refreshed(&e)
		if refreshed != nil {
			refreshed(e)
		}
	}
	c.Hooks.LoggedIn = func(e handstamp.LoginEvent) {
		o.loggedIn(&e)
		if loggedIn != nil {
			loggedIn(e)
		}
	}
}
