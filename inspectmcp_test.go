package handstamp_test

import (
	"net/http"
	"testing"

	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// A server that takes a nonce once, and names the next one only in a rejection, ends the session of
// an inspection like any other.
func TestInspectionWithANonceForEachRequest(t *testing.T) {
	w := testenv.New(t, lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired, ResourceNonce: 1, QuietNonce: true}})
	w.MustLogin(w.Session())
	in, err := w.Session().Inspect(t.Context(), w.Lab.MCPURL())
	if err != nil || in.MCP == nil || in.MCP.Rejected || in.MCP.Version == "" {
		t.Fatalf("%+v, %v", in.MCP, err)
	}
	var ends []int
	for _, r := range w.Lab.Requests() {
		if r.Method == http.MethodDelete {
			ends = append(ends, r.Status)
		}
	}
	if len(ends) != 2 || ends[0] != http.StatusUnauthorized || ends[1] != http.StatusNoContent {
		t.Errorf("the session was ended with %d\n%s", ends, w.Diary())
	}
}
