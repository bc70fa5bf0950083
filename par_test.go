package handstamp_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// The browser sees nothing of a request that was pushed.
func TestPushedAuthorizationRequest(t *testing.T) {
	for name, habits := range map[string]lab.Habits{
		"offered":           {PAR: lab.PAROffered},
		"required":          {PAR: lab.PARRequired},
		"of a key":          {PAR: lab.PARRequired, DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired, ServerNonce: 1}},
		"by a client known": {PAR: lab.PARRequired, Methods: []string{lab.MethodBasic}, RejectRepeatedID: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, habits)
			c := w.Session()
			w.MustLogin(c)
			w.MustCall(w.Session())
			w.WantCounts(map[string]int{"par": pushes(habits), "authorize:preflight": 0})
			w.WantTabs(1)
			for _, r := range w.Lab.Requests() {
				if r.Endpoint != "authorize" {
					continue
				}
				if len(r.Params) != 2 || r.Params.Get("request_uri") == "" || r.Params.Get("client_id") == "" {
					t.Errorf("the browser was sent %v", r.Params)
				}
			}
		})
	}
}

// pushes is one more where the first is rejected for want of a nonce.
func pushes(h lab.Habits) int {
	if h.DPoP.ServerNonce > 0 {
		return 2
	}
	return 1
}

// A server that offers the endpoint and fails there gets the request through the browser; one that
// requires it does not.
func TestPushedAuthorizationRequestFails(t *testing.T) {
	for _, fault := range []string{lab.FaultStatus, lab.FaultHTML, lab.FaultCutBefore} {
		t.Run(fault, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{PAR: lab.PAROffered})
			w.Lab.SetFault("par", slices.Repeat([]lab.Fault{{Kind: fault}}, 9)...)
			w.MustLogin(w.Session())
			required := testenv.New(t, lab.Habits{PAR: lab.PARRequired})
			required.Lab.SetFault("par", slices.Repeat([]lab.Fault{{Kind: fault}}, 9)...)
			if err := required.Login(required.Session()); err == nil {
				t.Error("the login went on")
			}
			required.WantTabs(0)
		})
	}
}

// An error of the endpoint names it: it is not the one that the browser opens.
func TestPushedAuthorizationRequestErrorNamesItsEndpoint(t *testing.T) {
	w := testenv.New(t, lab.Habits{PAR: lab.PARRequired})
	w.Lab.SetFault("par", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusBadRequest,
		ContentType: "application/json", Body: `{"error":"invalid_request"}`})
	err := w.Login(w.Session())
	if err == nil || !strings.Contains(err.Error(), "the pushed authorization request endpoint returned invalid_request") {
		t.Errorf("%v, want the endpoint", err)
	}
}
