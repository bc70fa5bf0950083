//go:build unix

package doctor_test

import (
	"net/http"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/doctor"
)

// A server that accepts connections and gives no response does not hold the doctor up for long, and
// is named.
func TestDoctorNamesAServerWithoutAResponse(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes as long as a request may")
	}
	done := make(chan struct{})
	url := serve(t, func(http.ResponseWriter, *http.Request) { <-done })
	t.Cleanup(func() { close(done) })
	r, err := doctor.Examine(t.Context(), &handstamp.Client{}, url, doctor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantCause(t, r, doctor.CauseConnection)
	if r.Cause.Message != "the MCP server gives no response in time" || r.Cause.Kind != handstamp.ErrServerUnreachable {
		t.Errorf("the cause is %+v", r.Cause)
	}
}
