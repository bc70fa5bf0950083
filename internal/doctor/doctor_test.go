//go:build unix

package doctor_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/doctor"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// examine runs the doctor as a program of its own would, and checks that it changes nothing.
func examine(t *testing.T, w *testenv.Env) *doctor.Report {
	t.Helper()
	before := stateOf(t, w)
	c := session(w)
	r, err := doctor.Examine(t.Context(), c, w.Lab.MCPURL(), doctor.Options{Recorder: doctor.Record(c)})
	if err != nil {
		t.Fatal(err)
	}
	if after := stateOf(t, w); after != before {
		t.Errorf("the doctor changed something:\nbefore %s\nafter  %s", before, after)
	}
	if len(r.Steps) != 11 {
		t.Errorf("%d steps", len(r.Steps))
	}
	for _, s := range r.Steps {
		if s.Finding == "" || s.Result == "" {
			t.Errorf("step %d (%s) says nothing", s.Number, s.Name)
		}
		if said := s.Finding + strings.Join(s.Evidence, "\n"); strings.Contains(said, "set the client's") ||
			strings.Contains(said, "in the client's") {
			t.Errorf("a step names a setting of the library, and whoever reads it may have the command: %s", said)
		}
	}
	text := walked(r)
	for _, secret := range w.Lab.Secrets() {
		if strings.Contains(text, secret) {
			t.Errorf("the report has a secret")
		}
	}
	return r
}

// start starts a server, with TLS where its habits need that.
func start(t *testing.T, h lab.Habits) *testenv.Env {
	t.Helper()
	if h.MTLS == (lab.MTLS{}) {
		return testenv.New(t, h)
	}
	server, err := lab.StartWith(h, lab.Options{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return &testenv.Env{T: t, Lab: server, Store: new(store.Memory)}
}

// session returns a Client that trusts the server.
func session(w *testenv.Env) *handstamp.Client {
	c := w.Session()
	if strings.HasPrefix(w.Lab.MCPURL(), "https:") {
		c.BaseTransport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.Lab.CertPool()}}
	}
	return c
}

// stateOf returns all that the doctor must not change: what the store has, and what the server has
// issued, registered, revoked and been sent.
func stateOf(t *testing.T, w *testenv.Env) string {
	t.Helper()
	keys, err := w.Store.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, key := range keys {
		value, revision, err := w.Store.Get(t.Context(), key)
		fmt.Fprintf(&b, "%s %x %s %v\n", key, value, revision, err)
	}
	audit := w.Lab.Audit()
	audit.Proofs, audit.EndedSecrets = 0, 0 // of requests that changed nothing
	fmt.Fprintf(&b, "%+v %q", audit, w.Lab.Secrets())
	return b.String()
}

func hasPrefix(s, prefix string) bool { return strings.HasPrefix(s, prefix) }

// walked writes a report for people.
func walked(r *doctor.Report) string {
	var b strings.Builder
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "%2d %-8s %s: %s", s.Number, s.Result, s.Name, s.Finding)
		for _, e := range s.Evidence {
			fmt.Fprintf(&b, "\n            %s", e)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%s: %s; %s; %s", r.Cause.Code, r.Cause.Message, r.Cause.Hint, r.Cause.Command)
	return b.String()
}

// wantReport checks the command of a report, and that its steps show the evidence.
func wantReport(t *testing.T, r *doctor.Report, command, evidence string) {
	t.Helper()
	if command == "" && r.Cause.Command != "" || !strings.Contains(r.Cause.Command, command) {
		t.Errorf("the next command is %q, want %q", r.Cause.Command, command)
	}
	if evidence == "" || !strings.Contains(walked(r), evidence) {
		t.Errorf("there is no %q in\n%s", evidence, walked(r))
	}
}
