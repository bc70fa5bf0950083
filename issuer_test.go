package handstamp_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// Many sessions come to a server that names another authorization server while
// the old one still refreshes: one signs in, and all get through.
func TestManySessionsAtAServerThatMoved(t *testing.T) {
	t.Parallel()
	w := testenv.New(t, testenv.Personality(t, "issuer-moved"))
	w.MustCall(w.Session())
	other, err := lab.Start(testenv.Personality(t, "issuer-moved"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	testenv.Processes.Watch(t, other)
	w.Lab.ExpireAccessTokens()
	w.Lab.MoveTo(other)
	w.CallAtOnce(20, w.Session)
	w.WantTabs(2)
}

// An authorization server without metadata is a mistake, and not a passing trouble.
func TestIssuerWithoutMetadata(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.Lab.SetFault("server_metadata", lab.Fault{Kind: lab.FaultStatus, Status: 404})
	err := w.Call(w.Session())
	if errors.Is(err, handstamp.ErrUnreachable) || !errors.Is(err, handstamp.ErrProtocol) {
		t.Errorf("error %v, want ErrProtocol", err)
	}
}

// Of several authorization servers that a resource names, the next login is at
// the one that the last was at.
func TestLoginStaysAtItsServer(t *testing.T) {
	w := testenv.New(t, lab.NoneFirst())
	w.MustCall(w.Session())
	other := testenv.New(t, lab.NoneFirst())
	c := w.Session()
	c.AuthTransport = testenv.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil || !strings.Contains(req.URL.Path, "oauth-protected-resource") {
			return resp, err
		}
		defer resp.Body.Close()
		var document map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&document); err != nil {
			return nil, err
		}
		document["authorization_servers"] = []string{other.Lab.Issuer(), w.Lab.Issuer()}
		raw, err := json.Marshal(document)
		resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(string(raw))), int64(len(raw))
		return resp, err
	})
	if _, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	w.WantTabs(2)
	if asked := len(other.Lab.Requests()); asked != 0 {
		t.Errorf("the other server got %d requests", asked)
	}
}
