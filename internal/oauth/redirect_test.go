package oauth

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp/internal/errtype"
)

// Each endpoint follows a redirect on its own origin with the same method and body, where the
// status demands it or only a slash is added, and follows no other redirect.
func TestRedirectAtEveryEndpoint(t *testing.T) {
	other := newCanary(t)
	for _, tc := range []struct {
		status   int
		location string // BASE and OTHER are replaced
		followed bool
	}{
		{301, "/endpoint/", true}, {302, "/endpoint/", true}, {307, "/endpoint/", true}, {308, "/endpoint/", true},
		{308, "BASE/endpoint/", true}, {301, "endpoint/", true}, {307, "/moved", true}, {308, "/moved?x=1", true}, {301, "/endpoint/?x=1", true},
		{303, "/endpoint/", false}, {301, "/moved", false}, {302, "/moved", false}, {304, "/endpoint/", false},
		{307, "OTHER/endpoint/", false}, {308, "OTHER/endpoint/", false}, {301, "OTHER/endpoint/", false},
		{307, "http://u:p@HOST/endpoint/", false}, {308, "https://HOST/endpoint/", false}, {307, "", false}, {307, "http://[::1", false},
		{307, "/endpoint", false}, // to itself, for ever
	} {
		var mu sync.Mutex
		var got []string
		var base string
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			body, _ := io.ReadAll(r.Body)
			got = append(got, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type")+" "+r.Header.Get("Authorization")+" "+string(body))
			w.Header().Set("Content-Type", "application/json")
			if r.URL.Path == "/endpoint" {
				w.Header()["Location"] = []string{strings.NewReplacer("BASE", base, "OTHER", other.URL, "HOST", strings.TrimPrefix(base, "http://")).Replace(tc.location)}
				w.WriteHeader(tc.status)
				return
			}
			io.WriteString(w, `{"client_id":"app","access_token":"a","token_type":"Bearer"}`)
		})
		base = s.URL
		f := fetcher(t)
		client := ClientCredentials{ID: "app", Secret: "a-secret", Method: MethodBasic}
		for name, request := range map[string]func() error{
			"token": func() error {
				a, err := f.PostToken(t.Context(), TokenRequest{Endpoint: base + "/endpoint", Client: client, RefreshToken: "r"})
				if err != nil {
					return err
				}
				_, err = ParseTokenResponse(a)
				return err
			},
			"registration": func() error {
				_, err := f.Register(t.Context(), base+"/endpoint", RegistrationRequest{ClientName: "x", InitialAccessToken: "i"})
				return err
			},
			"revocation": func() error { return f.Revoke(t.Context(), base+"/endpoint", client, nil, "r", "refresh_token") },
		} {
			got = nil
			err := request()
			if (err == nil) != tc.followed {
				t.Errorf("%s, %d to %q: error %v, want it followed: %t", name, tc.status, tc.location, err, tc.followed)
			}
			if tc.followed && (len(got) != 2 || strings.Replace(got[0], "/endpoint ", " ", 1) != strings.NewReplacer("/endpoint/ ", " ", "/moved ", " ").Replace(got[1])) {
				t.Errorf("%s, %d to %q: sent %q", name, tc.status, tc.location, got)
			}
			if len(got) > maxRedirects+1 {
				t.Errorf("%s: %d requests", name, len(got))
			}
		}
	}
}

// A metadata document is found behind any redirect on its origin.
func TestRedirectOfADocument(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/moved/" {
				http.Redirect(w, r, "/moved/", status)
				return
			}
			io.WriteString(w, `{}`)
		})
		if a, err := fetcher(t).document(t.Context(), PurposeServer, s.URL+"/x"); err != nil || a.status != 200 {
			t.Errorf("%d: %v", status, err)
		}
	}
	loop := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path+"/", http.StatusPermanentRedirect)
	})
	_, err := fetcher(t).document(t.Context(), PurposeServer, loop.URL+"/x")
	if _, ok := errtype.As[*TransientError](err); !ok {
		t.Errorf("error %v, want a *TransientError", err)
	}
}
