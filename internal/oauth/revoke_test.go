package oauth

import (
	"io"
	"net/http"
	"net/url"
	"reflect"
	"testing"

	"github.com/handstamp/handstamp/internal/errtype"
	"github.com/handstamp/handstamp/internal/proctest"
)

// errorKind names what an endpoint returned: the code and class of an *Error, the kind
// of another error, or "ok".
func errorKind(hasResult bool, err error) string {
	if hasResult && err != nil {
		return "a result and an error"
	}
	if e, ok := errtype.As[*Error](err); ok {
		return e.Code + " " + e.Class().String()
	}
	if e, ok := errtype.As[*SendError](err); ok {
		return map[bool]string{true: "in doubt", false: "not sent"}[e.Sent]
	}
	if _, ok := errtype.As[*TransientError](err); ok {
		return "transient"
	}
	if _, ok := errtype.As[*ProtocolError](err); ok {
		return "protocol"
	}
	if err != nil {
		return "another error"
	}
	return "ok"
}

func TestRevoke(t *testing.T) {
	client := ClientCredentials{ID: "c", Secret: "s", Method: MethodPost}
	for _, tc := range []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"done", 200, "", "ok"},
		{"done with JSON", 200, "{}", "ok"},
		{"no content", 204, "", "ok"},
		{"error with 200", 200, `{"error":"invalid_client"}`, "invalid_client client"},
		{"not this kind", 400, `{"error":"unsupported_token_type"}`, "unsupported_token_type other"},
		{"later", 503, "", "transient"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var form url.Values
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				r.ParseForm()
				form = r.PostForm
				w.WriteHeader(tc.status)
				io.WriteString(w, tc.body)
			})
			err := fetcher(t).Revoke(t.Context(), s.URL, client, nil, "R", "refresh_token")
			if got := errorKind(false, err); got != tc.want {
				t.Errorf("got %q (%v), want %q", got, err, tc.want)
			}
			want := url.Values{"token": {"R"}, "token_type_hint": {"refresh_token"}, "client_id": {"c"}, "client_secret": {"s"}}
			if !reflect.DeepEqual(form, want) {
				t.Errorf("sent %v, want %v", form, want)
			}
		})
	}
	gone := "http://" + proctest.UnreachableAddress(t)
	for name, tc := range map[string]struct {
		endpoint string
		client   Authenticator
		token    Secret
		want     string
	}{
		"not listening":  {gone, client, "R", "not sent"},
		"http":           {"http://as.example/revoke", client, "R", "protocol"},
		"no token":       {gone, client, "", "another error"},
		"no client":      {gone, nil, "R", "another error"},
		"useless client": {gone, ClientCredentials{ID: "c", Method: MethodPost}, "R", "another error"},
	} {
		if got := errorKind(false, fetcher(t).Revoke(t.Context(), tc.endpoint, tc.client, nil, tc.token, "")); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

func TestDeleteRegistration(t *testing.T) {
	for status, want := range map[int]string{
		204: "ok", 200: "ok", 404: "ok", 410: "ok", 401: " other", 405: "transient", 500: "transient",
	} {
		var method, authorization string
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			method, authorization = r.Method, r.Header.Get("Authorization")
			w.WriteHeader(status)
		})
		err := fetcher(t).DeleteRegistration(t.Context(), s.URL, "T")
		if got := errorKind(false, err); got != want {
			t.Errorf("status %d: got %q (%v), want %q", status, got, err, want)
		}
		if method != "DELETE" || authorization != "Bearer T" {
			t.Errorf("sent %s with %q", method, authorization)
		}
	}
	for uri, token := range map[string]Secret{"http://as.example/c": "T", "https://as.example/c": "T\r\nX: 1", "https://as.example/d": ""} {
		if err := fetcher(t).DeleteRegistration(t.Context(), uri, token); err == nil {
			t.Errorf("%q with %q: no error", uri, token.Reveal())
		}
	}
}
