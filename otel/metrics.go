package otel

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/handstamp/handstamp"
)

// The names of the metrics.
const (
	metricRefresh  = "handstamp.refresh.duration"
	metricLogin    = "handstamp.login.duration"
	metricRequest  = "handstamp.token.request.duration"
	metricLockWait = "handstamp.lock.wait.duration"
	metricRecovery = "handstamp.recoveries"
)

// The names of the attributes.
const (
	attrOutcome  = attribute.Key("handstamp.outcome")
	attrRecovery = attribute.Key("handstamp.recovery")
	attrServer   = attribute.Key("handstamp.server")
	attrAddress  = attribute.Key("server.address")
	attrMethod   = attribute.Key("http.request.method")
	attrStatus   = attribute.Key("http.response.status_code")
	attrError    = attribute.Key("error.type")
)

func (t *Telemetry) newInstruments(m metric.Meter) error {
	var errs []error
	seconds := func(name, description string, bounds ...float64) metric.Float64Histogram {
		h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
			metric.WithExplicitBucketBoundaries(bounds...))
		errs = append(errs, err)
		return h
	}
	network := []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	t.refreshes = seconds(metricRefresh, "Refreshes of access tokens, with what storing them took.", network...)
	t.logins = seconds(metricLogin, "Logins, with what the user took.", 1, 2.5, 5, 10, 30, 60, 120, 300)
	t.requests = seconds(metricRequest, "Requests to token endpoints.", network...)
	t.lockWaits = seconds(metricLockWait, "Waits of more than a moment for a login or refresh elsewhere.", network...)
	var err error
	t.recoveries, err = m.Int64Counter(metricRecovery, metric.WithUnit("{refresh}"),
		metric.WithDescription("Refreshes that repaired one whose response was lost."))
	return errors.Join(append(errs, err)...)
}

// attributes are those of the server and more, without the ones that are empty.
func (t *Telemetry) attributes(serverURL string, more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(t.named(serverURL, more)...))
}

func (t *Telemetry) named(serverURL string, more []attribute.KeyValue) (all []attribute.KeyValue) {
	for _, a := range append(more, attrServer.String(t.server(serverURL))) {
		if a.Value.Type() != attribute.STRING || a.Value.AsString() != "" {
			all = append(all, a)
		}
	}
	return all
}

// measureRefresh counts a refresh.
func (t *Telemetry) measureRefresh(e *handstamp.RefreshEvent) {
	ctx := context.Background()
	t.refreshes.Record(ctx, e.Duration.Seconds(), t.attributes(e.Server, attrOutcome.String(e.Outcome)))
	if e.Outcome != handstamp.OutcomeRefreshed {
		return
	}
	if e.Replayed {
		t.recoveries.Add(ctx, 1, t.attributes(e.Server, attrRecovery.String("repeated")))
	}
	if e.Resumed {
		t.recoveries.Add(ctx, 1, t.attributes(e.Server, attrRecovery.String("resumed")))
	}
}

// measureLogin counts a login.
func (t *Telemetry) measureLogin(e *handstamp.LoginEvent) {
	t.logins.Record(context.Background(), e.Duration.Seconds(),
		t.attributes(e.Server, attrOutcome.String(e.Outcome)))
}

// measureEvent counts what an event is about.
func (t *Telemetry) measureEvent(e *handstamp.Event) {
	switch {
	case e.Step == handstamp.StepToken && e.Request != nil:
		t.requests.Record(context.Background(), e.Request.Duration.Seconds(),
			t.attributes(e.Server, requestAttributes(e.Request)...))
	case e.Step == handstamp.StepLock:
		ms, err := strconv.ParseInt(e.Detail("waited_ms"), 10, 64)
		if err == nil {
			t.lockWaits.Record(context.Background(), (time.Duration(ms) * time.Millisecond).Seconds(),
				t.attributes(e.Server))
		}
	}
}

// requestAttributes describe how a request ended.
func requestAttributes(r *handstamp.EventRequest) []attribute.KeyValue {
	if r.Status == 0 {
		return []attribute.KeyValue{attrError.String("no_response")}
	}
	return []attribute.KeyValue{attrStatus.Int(knownStatus(r.Status)), attrError.String(errorCode(r.Code))}
}

// errorCodes are those of RFC 6749, RFC 8628, RFC 8707 and RFC 9449. A server may respond with any
// text, and each would be a time series.
var errorCodes = map[string]bool{
	"invalid_request": true, "invalid_client": true, "invalid_grant": true, "unauthorized_client": true,
	"unsupported_grant_type": true, "invalid_scope": true, "authorization_pending": true,
	"slow_down": true, "access_denied": true, "expired_token": true, "invalid_target": true,
	"invalid_dpop_proof": true, "use_dpop_nonce": true, "server_error": true,
	"temporarily_unavailable": true,
}

func errorCode(code string) string {
	if code == "" || errorCodes[code] {
		return code
	}
	return "other"
}

// knownStatus returns a status, and in place of one that is not registered the one that it means (RFC
// 9110, section 15): a server may respond with any of 900, and each would be a time series.
func knownStatus(status int) int {
	class := status / 100
	switch {
	case http.StatusText(status) != "":
		return status
	case class < 1 || class > 5:
		return http.StatusInternalServerError
	}
	return class * 100
}
