package handstamp_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/lab"
)

// relocated is an authorization server whose token endpoint has moved to another
// path, as seen by a client that sends its requests through it.
type relocated struct {
	status int    // of the old path
	to     string // the token endpoint in the metadata: a path, or another origin's URL
}

// RoundTrip implements [http.RoundTripper].
func (r *relocated) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path == "/token" {
		return &http.Response{StatusCode: r.status, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
	}
	if req.URL.Path == "/v2/token" {
		req = req.Clone(req.Context())
		req.URL.Path = "/token"
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil || !strings.Contains(req.URL.Path, "/.well-known/oauth-authorization-server") {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	origin := "http://" + req.URL.Host
	to := r.to
	if strings.HasPrefix(to, "/") {
		to = origin + to
	}
	body = bytes.Replace(body, []byte(origin+"/token"), []byte(to), 1)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, nil
}

// TestTokenEndpointThatHasMoved: where the token endpoint is not there any more, the
// metadata is read again, and one on the same origin is used from then on. Nothing
// is sent to another origin, and nothing is given up.
func TestTokenEndpointThatHasMoved(t *testing.T) {
	for _, tc := range []struct {
		status int
		to     string
		found  bool
	}{
		{404, "/v2/token", true},
		{405, "/v2/token", true},
		{410, "/v2/token", true},
		{404, "/token", false},
		{404, "http://127.0.0.1:1/v2/token", false},
		{415, "/v2/token", false}, // of another kind: the endpoint is there
	} {
		w := newWorld(t, lab.NoneFirst())
		w.mustCall(w.session())
		w.expire()
		moved := &relocated{status: tc.status, to: tc.to}
		c := w.session()
		c.BaseTransport, c.AuthTransport = moved, moved
		err := w.call(c)
		if (err == nil) != tc.found {
			t.Errorf("%d, moved to %s: error %v, want success %v", tc.status, tc.to, err, tc.found)
		}
		if !tc.found {
			wantKind(t, err, handstamp.ErrUnreachable)
		}
		if r := w.record(); r.Grant.RefreshToken == "" || strings.HasSuffix(r.Grant.TokenEndpoint, "/v2/token") != tc.found {
			t.Errorf("%d, moved to %s: the record has the token endpoint %s", tc.status, tc.to, r.Grant.TokenEndpoint)
		}
		w.wantTabs(1)
	}
}
