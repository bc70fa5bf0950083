package handstamp_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// Requests side by side at a server whose nonce serves once all come through, or fail alone.
func TestDPoPNonceForEachRequest(t *testing.T) {
	w := testenv.New(t, lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired, ResourceNonce: 1, ServerNonce: 1}})
	c := w.Session()
	w.MustLogin(c)
	var running sync.WaitGroup
	var failed atomic.Int32
	for range 10 {
		running.Go(func() {
			for range 10 {
				if err := w.Call(c); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	running.Wait()
	t.Log("failed", failed.Load())
	w.WantTabs(1)
	w.WantCounts(map[string]int{"token:refresh": 0})
	w.MustCall(c)
}

// A proof names the method and the URL as they are sent, whatever these are.
func TestDPoPOfRequests(t *testing.T) {
	w := testenv.New(t, lab.Habits{DPoP: bound})
	c := w.Session()
	w.MustLogin(c)
	var sent *http.Request
	c.BaseTransport = testenv.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		sent = req
		header := http.Header{"Content-Type": {"text/event-stream"}}
		body := "event: endpoint\ndata: /messages/?id=a%2Fb\n\n"
		return &http.Response{StatusCode: 200, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
	})
	client := c.HTTPClient(w.Lab.MCPURL())
	for _, method := range []string{"GET", "HEAD", "DELETE", "POST", "PUT", "", "PATCH", "OPTIONS"} {
		for path, want := range map[string]string{
			"": "", "/": "/", "/a%2Fb": "/a%2Fb", "/a%20b?x=1#f": "/a%20b", "?sessionId=1&x=%2F": "", "/é": "/%C3%A9", "//x": "//x", "/a;b=c": "/a;b=c",
		} {
			req, err := http.NewRequest(method, w.Lab.MCPURL()+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			claims := claimsOf(t, sent.Header.Get("DPoP"))
			wantMethod := method
			if method == "" {
				wantMethod = "GET"
			}
			if claims["htu"] != w.Lab.MCPURL()+want || claims["htm"] != wantMethod || claims["ath"] == nil {
				t.Errorf("%s %s: %v", method, path, claims)
			}
		}
	}
	named := strings.TrimSuffix(w.Lab.MCPURL(), "/mcp") + "/messages/"
	resp, err := client.Post(named+"?id=a%2Fb", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if claims := claimsOf(t, sent.Header.Get("DPoP")); claims["htu"] != named {
		t.Errorf("%v", claims)
	}
}

// A body without GetBody is sent again for a nonce if it is small; a large one is not, and the next
// request has the nonce.
func TestDPoPNonceAndBodies(t *testing.T) {
	for name, size := range map[string]int{"small": 10, "large": 2 << 20} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired, ResourceNonce: 1000}})
			w.MustLogin(w.Session())
			rec := w.Record()
			rec.DPoP.Nonces = nil
			w.Put(rec)
			c := w.Session()
			send := func() int {
				body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":%q}}`, strings.Repeat("a", size))
				req, err := http.NewRequest(http.MethodPost, w.Lab.MCPURL(), io.MultiReader(bytes.NewReader([]byte(body))))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("Accept", "application/json, text/event-stream")
				resp, err := c.HTTPClient(w.Lab.MCPURL()).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				return resp.StatusCode
			}
			if first := send(); size < 100 && first != http.StatusOK || size > 100 && first != http.StatusUnauthorized {
				t.Errorf("status %d", first)
			}
			if next := send(); next == http.StatusUnauthorized {
				t.Errorf("status %d", next)
			}
			w.WantTabs(1)
			w.WantCounts(map[string]int{"token:refresh": 0})
		})
	}
}

// Many sessions with one credential refresh a bound token once, nonces or not, and revoke it with a
// proof.
func TestDPoPManySessions(t *testing.T) {
	w := testenv.New(t, lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired, ServerNonce: 1, ResourceNonce: 100, ProveRevocation: true}})
	w.MustLogin(w.Session())
	w.Expire()
	w.Lab.Reset()
	var running sync.WaitGroup
	for range 20 {
		running.Go(func() {
			if err := w.Call(w.Session()); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	if n := w.Lab.Counts()["token:refresh"]; n > 2 {
		t.Errorf("%d refreshes", n)
	}
	w.WantTabs(1)
	result, err := w.Session().Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{})
	if err != nil || !result.Revoked {
		t.Errorf("%+v, %v", result, err)
	}
	if audit := w.Lab.Audit(); audit.ProofReuses != 0 || audit.Downgrades != 0 {
		t.Errorf("%+v", audit)
	}
}

// A bound token is of no use without its key: it is not taken over.
func TestImportOfBoundToken(t *testing.T) {
	w := testenv.New(t, lab.Habits{DPoP: bound})
	_, err := w.Session().Import(t.Context(), w.Lab.MCPURL(), handstamp.ImportedLogin{
		Registration:  handstamp.Registration{ClientID: "c"},
		TokenResponse: `{"access_token":"c4n4ry","token_type":"DPoP","expires_in":3600}`,
	}, handstamp.ImportOptions{Offline: true})
	if !errors.Is(err, handstamp.ErrInvalidConfig) || strings.Contains(err.Error(), "c4n4ry") {
		t.Errorf("%v", err)
	}
}

// A grant that lacks what it needs is a sentence.
func TestJWTBearerWithoutAssertion(t *testing.T) {
	w := testenv.New(t, lab.Habits{Grants: []string{lab.GrantJWTBearer}, NoRegistration: true})
	c := w.Session()
	c.Grant = handstamp.JWTBearer{}
	c.Registration = &handstamp.Registration{ClientID: "c"}
	if err := w.Login(c); !errors.Is(err, handstamp.ErrInvalidConfig) {
		t.Errorf("%v", err)
	}
}
