//go:build unix

package handstamp_test

import (
	"net/http"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store/filestore"
)

// What a helper process does is reported as if it had happened here.
func TestEventsOfAHelper(t *testing.T) {
	w, l := testenv.NewOnDisk(t, lab.NoneFirst()), new(listener)
	w.Expire()
	c := l.on(w.Session())
	c.Store, c.RefreshHelper = w.Open(filestore.Options{}), testenv.HelperOf(testenv.Job{Dir: w.Dir})
	w.MustCall(c)
	events := l.take()
	if find(events, func(e handstamp.Event) bool { return e.Step == handstamp.StepHelper }) == nil {
		t.Error("no event tells of the helper")
	}
	if r := wantRequest(t, events, handstamp.StepToken, http.StatusOK); r.Param("grant_type") != "refresh_token" {
		t.Errorf("the helper's request is %+v", r)
	}
}
