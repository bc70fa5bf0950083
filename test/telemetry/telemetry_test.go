package telemetry

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	handstampotel "github.com/handstamp/handstamp/otel"
)

// exported has what was reported.
type exported struct {
	t         *testing.T
	reader    *metric.ManualReader
	spans     *tracetest.InMemoryExporter
	telemetry *handstampotel.Telemetry
}

func newExported(t *testing.T, server func(string) string) *exported {
	x := &exported{t: t, reader: metric.NewManualReader(), spans: tracetest.NewInMemoryExporter()}
	var err error
	x.telemetry, err = handstampotel.New(handstampotel.Options{
		MeterProvider:  metric.NewMeterProvider(metric.WithReader(x.reader)),
		TracerProvider: trace.NewTracerProvider(trace.WithSyncer(x.spans)),
		Server:         server,
	})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *exported) metrics() metricdata.ResourceMetrics {
	x.t.Helper()
	var all metricdata.ResourceMetrics
	if err := x.reader.Collect(x.t.Context(), &all); err != nil {
		x.t.Fatal(err)
	}
	return all
}

// counts returns how often each was measured, by name and attributes.
func (x *exported) counts() map[string]uint64 {
	x.t.Helper()
	counts := make(map[string]uint64)
	text := func(name string, set attribute.Set) string {
		for _, a := range set.ToSlice() {
			name += fmt.Sprintf(" %s=%s", a.Key, a.Value.String())
		}
		return name
	}
	for _, s := range x.metrics().ScopeMetrics {
		for _, m := range s.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					counts[text(m.Name, p.Attributes)] += p.Count
				}
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					counts[text(m.Name, p.Attributes)] += uint64(p.Value)
				}
			default:
				x.t.Errorf("%s is of type %T", m.Name, data)
			}
		}
	}
	return counts
}

// wantNoSecrets searches everything that was exported.
func (x *exported) wantNoSecrets(w *testenv.Env) {
	x.t.Helper()
	metrics, err := json.Marshal(x.metrics())
	if err != nil {
		x.t.Fatal(err)
	}
	spans, err := json.Marshal(x.spans.GetSpans())
	if err != nil {
		x.t.Fatal(err)
	}
	all := string(metrics) + string(spans)
	if !strings.Contains(all, "handstamp.token") {
		x.t.Error("nothing was searched")
	}
	for _, secret := range append(w.Lab.Secrets(), w.Lab.MCPURL(), "code_challenge") {
		if strings.Contains(all, secret) {
			x.t.Errorf("what was exported has a secret or the whole of a URL")
		}
	}
}

func TestMetricsAndSpans(t *testing.T) {
	w := testenv.New(t, testenv.Personality(t, "rotates-with-grace"))
	x := newExported(t, nil)
	var refreshed int
	session := func() *handstamp.Client {
		c := w.Session()
		c.Hooks.Refreshed = func(handstamp.RefreshEvent) { refreshed++ }
		c.LockTimeout = time.Minute
		x.telemetry.Instrument(c)
		return c
	}
	w.MustLogin(session())
	w.Expire()
	w.MustCall(session())
	// The response is lost, and the request repeated.
	w.Expire()
	w.Lab.SetFault("token", lab.Fault{Kind: lab.FaultCutAfter, Times: 1})
	w.MustCall(session())
	// The server fails while the token is good.
	w.AboutToExpire()
	w.Lab.SetFault("token", lab.Fault{Kind: lab.FaultStatus, Status: 503, RetryAfter: "60"})
	w.MustCall(session())
	// The login has ended.
	w.Lab.SetFault("token")
	rec := w.Record()
	rec.Retry = nil
	w.Put(rec)
	w.Expire()
	w.Lab.RevokeFamilies()
	c := session()
	c.LoginPolicy = handstamp.LoginNever
	testenv.WantKind(t, w.Call(c), handstamp.ErrLoginRequired)

	want := map[string]uint64{
		"handstamp.login.duration handstamp.outcome=signed_in":                                    1,
		"handstamp.refresh.duration handstamp.outcome=refreshed":                                  2,
		"handstamp.refresh.duration handstamp.outcome=kept":                                       1,
		"handstamp.refresh.duration handstamp.outcome=ended":                                      1,
		"handstamp.recoveries handstamp.recovery=repeated":                                        1,
		"handstamp.token.request.duration http.response.status_code=200":                          3,
		"handstamp.token.request.duration error.type=no_response":                                 1,
		"handstamp.token.request.duration http.response.status_code=503":                          1,
		"handstamp.token.request.duration error.type=invalid_grant http.response.status_code=400": 1,
	}
	if got := x.counts(); !maps.Equal(got, want) {
		t.Errorf("metrics:\n%v\nwant:\n%v", lines(got), lines(want))
	}
	if refreshed != 4 {
		t.Errorf("the application's own hook was called %d times", refreshed)
	}
	x.wantSpans()
	x.wantNoSecrets(w)
}

func lines(counts map[string]uint64) string {
	var all []string
	for name, n := range counts {
		all = append(all, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// wantSpans looks at what belongs to what.
func (x *exported) wantSpans() {
	x.t.Helper()
	spans := x.spans.GetSpans()
	names := make(map[string]string)
	for _, s := range spans {
		names[s.SpanContext.SpanID().String()] = s.Name
	}
	children := make(map[string][]string)
	for _, s := range spans {
		if s.EndTime.Before(s.StartTime) {
			x.t.Errorf("%s ends before it begins", s.Name)
		}
		if parent := names[s.Parent.SpanID().String()]; s.Parent.IsValid() && !slices.Contains(children[parent], s.Name) {
			children[parent] = append(children[parent], s.Name)
		}
	}
	for _, list := range children {
		slices.Sort(list)
	}
	want := map[string][]string{
		"handstamp.login":   {"handstamp.discovery", "handstamp.registration", "handstamp.token"},
		"handstamp.refresh": {"handstamp.token"},
	}
	if !maps.EqualFunc(children, want, slices.Equal) {
		x.t.Errorf("spans %v, want %v", children, want)
	}
}

// An application that knows its servers has their names in the metrics.
func TestServersAreNamedByTheApplication(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	x := newExported(t, func(serverURL string) string {
		if serverURL != w.Lab.MCPURL() {
			t.Errorf("the server is %s", serverURL)
		}
		return "files"
	})
	c := w.Session()
	x.telemetry.Instrument(c)
	w.MustLogin(c)
	for name := range x.counts() {
		if !strings.Contains(name, "handstamp.server=files") {
			t.Errorf("%s has no server", name)
		}
	}
}

// A server's error code is no name of a time series.
func TestErrorCodesAreBounded(t *testing.T) {
	testenv.InBubble(t, lab.Habits{}, func(t *testing.T, w *testenv.Env) {
		x := newExported(t, nil)
		w.MustLogin(w.Session())
		w.Expire()
		w.Lab.SetFault("token", lab.Fault{
			Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Body: `{"error":"case_4711"}`,
		})
		c := w.Session()
		c.LoginPolicy = handstamp.LoginNever
		x.telemetry.Instrument(c)
		if err := w.Call(c); err == nil {
			t.Error("the call succeeded")
		}
		if got := lines(x.counts()); strings.Contains(got, "4711") || !strings.Contains(got, "error.type=other") {
			t.Error(got)
		}
	})
}

// TestNamesAreDocumented holds the tables of the docs to the names in the code.
func TestNamesAreDocumented(t *testing.T) {
	var code []string
	for _, file := range []string{"metrics.go", "spans.go"} {
		source, err := os.ReadFile("../../otel/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"((?:handstamp|http|server|error)\.[a-z_.]+)"`).FindAllSubmatch(source, -1) {
			code = append(code, string(m[1]))
		}
	}
	slices.Sort(code)
	code = slices.Compact(code)
	page, err := os.ReadFile("../../docs/observe.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `((?:handstamp|http|server|error)\\.[a-z_.]+)` \\|").FindAllSubmatch(page, -1) {
		documented = append(documented, string(m[1]))
	}
	slices.Sort(documented)
	if !slices.Equal(code, documented) {
		t.Errorf("code:\n%s\ndocs/observe.md:\n%s", strings.Join(code, "\n"), strings.Join(documented, "\n"))
	}
}
