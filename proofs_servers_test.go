package handstamp_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

var bound = lab.DPoP{Supported: true, Resource: lab.DPoPRequired}

// Each request of a chain of redirects has a proof of its own: for its URL, used once.
func TestDPoPAfterRedirects(t *testing.T) {
	for _, status := range []int{http.StatusTemporaryRedirect, http.StatusPermanentRedirect, http.StatusFound} {
		for name, habits := range map[string]lab.DPoP{
			"without nonces": bound,
			"with nonces":    {Supported: true, Resource: lab.DPoPRequired, ServerNonce: 1, ResourceNonce: 1},
		} {
			t.Run(fmt.Sprint(status, " ", name), func(t *testing.T) {
				w := testenv.New(t, lab.Habits{SlashRedirect: status, DPoP: habits, PAR: lab.PARRequired})
				c := w.Session()
				result, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{})
				if err != nil || result.Rejected != nil {
					t.Fatalf("%v, %+v\n%s", err, result, w.Diary())
				}
				w.MustCall(c)
				w.Expire()
				w.MustCall(w.Session())
				w.WantTabs(1)
				if audit := w.Lab.Audit(); audit.ProofReuses != 0 {
					t.Errorf("%d proofs were used twice\n%s", audit.ProofReuses, w.Diary())
				}
			})
		}
	}
}

// twisted has a Client's responses of the MCP server changed.
func twisted(c *handstamp.Client, twist func(*http.Request, *http.Response)) {
	c.BaseTransport = testenv.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil && resp.Request.URL.Path == "/mcp" {
			twist(req, resp)
		}
		return resp, err
	})
}

// A nonce is found in whichever challenge it is requested.
func TestDPoPNonceAmongChallenges(t *testing.T) {
	for name, challenges := range map[string][]string{
		"bearer with metadata, last":  {`DPoP error="use_dpop_nonce", algs="ES256"`, `Bearer resource_metadata="%s"`},
		"bearer with metadata, first": {`Bearer resource_metadata="%s"`, `DPoP error="use_dpop_nonce"`},
		"in one header":               {`Bearer resource_metadata="%s", DPoP error="use_dpop_nonce"`},
		"an error for each":           {`Bearer error="invalid_token", resource_metadata="%s"`, `DPoP error="use_dpop_nonce"`},
		"among others":                {`Basic realm="x"`, `Bearer resource_metadata="%s"`, `DPoP error="use_dpop_nonce"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired, ResourceNonce: 2, QuietNonce: true}})
			c := w.Session()
			metadata := w.Lab.URL() + "/.well-known/oauth-protected-resource/mcp"
			twisted(c, func(_ *http.Request, resp *http.Response) {
				if resp.Header.Get("DPoP-Nonce") == "" {
					return
				}
				resp.Header.Del("WWW-Authenticate")
				for _, challenge := range challenges {
					if n := len(challenge); n > 0 && challenge[0] == 'B' && challenge[1] == 'e' {
						challenge = fmt.Sprintf(challenge, metadata)
					}
					resp.Header.Add("WWW-Authenticate", challenge)
				}
			})
			w.MustLogin(c)
			for range 5 {
				w.MustCall(c)
			}
			w.WantTabs(1)
			w.WantCounts(map[string]int{"token:refresh": 0})
		})
	}
}

// That a server goes on wanting another nonce says nothing about the token.
func TestDPoPNonceWithoutEnd(t *testing.T) {
	for name, nonces := range map[string]func(n int32) []string{
		"a new one each time": func(n int32) []string { return []string{fmt.Sprint("nonce-", n)} },
		"the same":            func(int32) []string { return []string{"nonce"} },
		"two":                 func(int32) []string { return []string{"a", "b"} },
		"none":                func(int32) []string { return nil },
		"empty":               func(int32) []string { return []string{""} },
		"a huge one":          func(n int32) []string { return []string{fmt.Sprintf("%01000000d", n)[:100000]} },
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{DPoP: bound})
			c := w.Session()
			w.MustLogin(c)
			w.MustCall(c)
			w.Lab.Reset()
			var n atomic.Int32
			twisted(c, func(_ *http.Request, resp *http.Response) {
				resp.StatusCode = http.StatusUnauthorized
				resp.Header.Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
				resp.Header["Dpop-Nonce"] = nonces(n.Add(1))
			})
			client := c.HTTPClient(w.Lab.MCPURL())
			for range 3 {
				if err := testenv.Call(t.Context(), client, w.Lab.MCPURL()); err == nil {
					t.Error("the call went through")
				}
			}
			w.WantTabs(1)
			w.WantCounts(map[string]int{"token:refresh": 0, "token:code": 0})
			if n := w.Lab.Counts()["mcp"]; n > 9 {
				t.Errorf("%d requests for three calls", n)
			}
			later := w.Session()
			w.MustCall(later)
			w.WantTabs(1)
		})
	}
}

// A caller may address the server by another Host: the proof names what the server sees, and its
// nonces are found again.
func TestDPoPNonceOfOtherHost(t *testing.T) {
	w := testenv.New(t, lab.Habits{DPoP: bound})
	c := w.Session()
	w.MustLogin(c)
	w.Lab.Reset()
	var wanted atomic.Int32
	c.BaseTransport = testenv.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		claims := claimsOf(t, req.Header.Get("DPoP"))
		resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}
		if claims["htu"] != "http://mcp.example/mcp" || claims["nonce"] != "n1" {
			wanted.Add(1)
			resp.StatusCode = http.StatusUnauthorized
			resp.Header.Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
			resp.Header.Set("DPoP-Nonce", "n1")
		}
		return resp, nil
	})
	for range 3 {
		req, err := http.NewRequest(http.MethodGet, w.Lab.MCPURL(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "mcp.example"
		resp, err := c.HTTPClient(w.Lab.MCPURL()).Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%v, %v", resp, err)
		}
	}
	if n := wanted.Load(); n != 1 {
		t.Errorf("the nonce was requested %d times", n)
	}
}

// claimsOf returns the claims of a JWT.
func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Errorf("no JWT: %q", token)
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Error(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Error(err)
	}
	return claims
}

// A server that wants another nonce whatever it gets has not ended the login.
func TestTokenEndpointWantsNoncesWithoutEnd(t *testing.T) {
	t.Parallel()
	w := testenv.New(t, lab.Habits{DPoP: bound})
	w.MustLogin(w.Session())
	var n atomic.Int32
	server := testenv.Serve(t, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("DPoP-Nonce", fmt.Sprint("nonce-", n.Add(1)))
		rw.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(rw, `{"error":"use_dpop_nonce"}`)
	}))
	rec := w.Record()
	endpoint := rec.Grant.TokenEndpoint
	rec.Grant.TokenEndpoint = server.URL + "/token"
	w.Put(rec)
	w.Expire()
	if err := w.Call(w.Session()); !errors.Is(err, handstamp.ErrUnreachable) {
		t.Errorf("%v, want ErrUnreachable", err)
	}
	if n := n.Load(); n > 6 {
		t.Errorf("%d requests", n)
	}
	rec = w.Record()
	rec.Grant.TokenEndpoint, rec.Retry = endpoint, nil
	w.Put(rec)
	w.MustCall(w.Session())
	w.WantTabs(1)
}
