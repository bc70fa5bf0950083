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
			l.examine(doctor.CauseNotSignedIn)
			l.as.reset()
			l.mustCall("first session", handstamp.LoginAuto)
			l.wantTabs("first session", 1)
			l.wantRegistered("first session")

			before := l.record()
			r := l.examine(doctor.CauseNone)
			if method := r.Steps[7].Finding; !strings.HasPrefix(method, l.as.method+",") {
				t.Errorf("the method is %q, want %s", method, l.as.method)
			}
			if after := l.record(); after.Revision != before.Revision {
				t.Error("the doctor wrote into the store")
			}
			l.mustCall("second session", handstamp.LoginNever)

			l.expired()
			l.examine(doctor.CauseRefreshDue)
			l.mustCall("the session after", handstamp.LoginNever)
			l.examine(doctor.CauseNone)
			l.wantTabs("all sessions after the first", 0)
		})
	}
}

// examine walks, as a program of its own, and wants a cause.
func (l *library) examine(want doctor.Code) *doctor.Report {
	l.t.Helper()
	c := l.session(handstamp.LoginNever)
	r, err := doctor.Examine(l.t.Context(), c, l.mcp, doctor.Options{Recorder: doctor.Record(c)})
	if err != nil {
		l.t.Fatal(err)
	}
	if r.Cause.Code != want {
		var walk strings.Builder
		for _, s := range r.Steps {
			walk.WriteString("\n" + string(s.Result) + " " + s.Name + ": " + s.Finding + "\n  " + strings.Join(s.Evidence, "\n  "))
		}
		l.t.Errorf("the cause is %s (%s), want %s; requests: %s%s", r.Cause.Code, r.Cause.Message, want, l.as.all(), walk.String())
	}
	if _, err := r.Bundle(nil); err != nil {
		l.t.Errorf("bundle: %v", err)
	}
	return r
}
