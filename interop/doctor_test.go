package interop

import (
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/doctor"
)

// TestDoctorAtServers has the doctor walk before a login, after it and when its token has expired,
// and checks that each time everything goes on as if it had not: the login, the sessions without a
// user, and the refresh, whose token no walk has used up.
func TestDoctorAtServers(t *testing.T) {
	for _, c := range contenders() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLibrary(newScene(t, c.start))
			works := "POST initialize with the stored access token → 200"
			if l.as.sse {
				works = "GET with the stored access token → 200 text/event-stream"
			}
			madeUp := " invalid_grant"
			if c.name == "TypeScript SDK" { // whose example throws an error of no kind
				madeUp = "500 server_error"
			}
			l.examine(doctor.CauseNotSignedIn, "login", "POST ping without a token → 401 Unauthorized",
				"token_endpoint: "+l.as.issuer)
			l.as.reset()
			l.mustCall("first session", handstamp.LoginAuto)
			l.wantTabs("first session", 1)
			l.wantRegistered("first session")

			before := l.record()
			r := l.examine(doctor.CauseNone, "tools",
				"POST code exchange with a made-up code → ", madeUp, works)
			if method := r.Steps[7].Finding; !strings.HasPrefix(method, l.as.method+",") {
				t.Errorf("the method is %q, want %s", method, l.as.method)
			}
			if after := l.record(); after.Revision != before.Revision {
				t.Error("the doctor wrote into the store")
			}
			l.mustCall("second session", handstamp.LoginNever)

			l.expired()
			l.examine(doctor.CauseRefreshDue, "token", "client "+l.record().GrantClient().ID+" (")
			l.mustCall("the session after", handstamp.LoginNever)
			l.examine(doctor.CauseNone, "tools", works)
			l.wantTabs("all sessions after the first", 0)
		})
	}
}

// examine walks, as a program of its own, and wants a cause, the command that is next and evidence.
func (l *library) examine(want doctor.Code, verb string, evidence ...string) *doctor.Report {
	l.t.Helper()
	c := l.session(handstamp.LoginNever)
	r, err := doctor.Examine(l.t.Context(), c, l.mcp, doctor.Options{Recorder: doctor.Record(c)})
	if err != nil {
		l.t.Fatal(err)
	}
	var walk strings.Builder
	var shown []string
	for _, s := range r.Steps {
		walk.WriteString("\n" + string(s.Result) + " " + s.Name + ": " + s.Finding + "\n  " +
			strings.Join(s.Evidence, "\n  "))
		shown = append(shown, s.Evidence...)
	}
	if r.Cause.Code != want {
		l.t.Errorf("the cause is %s (%s), want %s; requests: %s%s", r.Cause.Code, r.Cause.Message, want, l.as.all(), walk.String())
	}
	if command := "handstamp " + verb + " " + l.mcp; r.Cause.Command != command {
		l.t.Errorf("the next command is %q, want %q", r.Cause.Command, command)
	}
	for _, part := range evidence {
		if !strings.Contains(strings.Join(shown, "\n"), part) {
			l.t.Errorf("no evidence has %q:%s", part, walk.String())
		}
	}
	if _, err := r.Bundle(nil); err != nil {
		l.t.Errorf("bundle: %v", err)
	}
	return r
}
