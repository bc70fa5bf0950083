package handstamp_test

import (
	"errors"
	"net/http"
	"sync"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// Where the MCP server takes bound tokens, every session proves possession: the key and the nonces
// come out of the store, and no session asks for anything again.
func TestDPoPAcrossSessions(t *testing.T) {
	for name, habits := range map[string]lab.DPoP{
		"required":                        {Supported: true, Resource: lab.DPoPRequired},
		"offered":                         {Supported: true, Resource: lab.DPoPOffered},
		"by the challenge alone":          {Supported: true, Resource: lab.DPoPChallenged},
		"with the resource's nonce":       {Supported: true, Resource: lab.DPoPRequired, ResourceNonce: 3},
		"with the server's nonce":         {Supported: true, Resource: lab.DPoPRequired, ServerNonce: 2},
		"with both nonces, sent rarely":   {Supported: true, Resource: lab.DPoPRequired, ServerNonce: 1, ResourceNonce: 2, QuietNonce: true},
		"required by the token endpoint":  {Supported: true, Required: true, Resource: lab.DPoPOffered},
		"with another algorithm, at both": {Supported: true, Resource: lab.DPoPRequired, Algorithms: []string{"RS256", "EdDSA"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{DPoP: habits})
			first := w.Session()
			w.MustLogin(first)
			w.MustCall(first)
			for range 3 {
				w.MustCall(w.Session())
			}
			w.Expire()
			w.MustCall(w.Session())
			w.Lab.RevokeAccessTokens()
			w.MustCall(w.Session())
			w.WantTabs(1)
			audit := w.Lab.Audit()
			if audit.ProofReuses != 0 || audit.Downgrades != 0 || audit.Proofs == 0 {
				t.Errorf("audit %+v\n%s", audit, w.Diary())
			}
			token, err := w.Session().Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{})
			if err != nil || token.Type != "DPoP" {
				t.Errorf("token of type %q, %v", token.Type, err)
			}
		})
	}
}

// That an authorization server could bind tokens is no reason to request it.
func TestDPoPOnlyOfAuthorizationServer(t *testing.T) {
	w := testenv.New(t, lab.Habits{DPoP: lab.DPoP{Supported: true}})
	w.MustCall(w.Session())
	if audit := w.Lab.Audit(); audit.Proofs != 0 {
		t.Errorf("%d proofs", audit.Proofs)
	}
}

func TestDPoPModes(t *testing.T) {
	offered := lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPOffered}}
	t.Run("never", func(t *testing.T) {
		w := testenv.New(t, offered)
		c := w.Session()
		c.DPoP = handstamp.DPoPNever
		w.MustCall(c)
		if audit := w.Lab.Audit(); audit.Proofs != 0 {
			t.Errorf("%d proofs", audit.Proofs)
		}
	})
	t.Run("always, at a server that knows bearer tokens only", func(t *testing.T) {
		w := testenv.New(t, lab.Habits{})
		c := w.Session()
		c.DPoP = handstamp.DPoPAlways
		w.MustCall(c)
		w.Expire()
		w.MustCall(w.Session())
		w.WantTabs(1)
	})
}

// A stored login of bearer tokens gives way where the server takes bound tokens only.
func TestDPoPReplacesBearer(t *testing.T) {
	testenv.InBubble(t, lab.Habits{DPoP: bound}, func(t *testing.T, w *testenv.Env) {
		c := w.Session()
		c.DPoP = handstamp.DPoPNever
		if err := w.Call(c); err == nil {
			t.Fatal("the server takes bearer tokens")
		}
		w.MustCall(w.Session())
		w.MustCall(w.Session())
		w.WantTabs(2)
	})
}

// A thousand requests, side by side and at nonces that change, reuse no proof.
func TestDPoPThousandRequests(t *testing.T) {
	w := testenv.New(t, lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired, ResourceNonce: 200}})
	c := w.Session()
	w.MustLogin(c)
	var running sync.WaitGroup
	for range 10 {
		running.Go(func() {
			for range 100 {
				if err := w.Call(c); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	if audit := w.Lab.Audit(); audit.Proofs < 1000 || audit.ProofReuses != 0 {
		t.Errorf("audit %+v", audit)
	}
}

// A bound token is of no use without a proof: what hands out bare tokens returns an error.
func TestDPoPTokenIsNotHandedOutBare(t *testing.T) {
	w := testenv.New(t, lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired}})
	c := w.Session()
	w.MustLogin(c)
	if _, err := c.TokenSource(t.Context(), w.Lab.MCPURL()).Token(); !errors.Is(err, handstamp.ErrInvalidConfig) {
		t.Errorf("TokenSource: %v", err)
	}
	token, err := c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, w.Lab.MCPURL(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if err := token.SetHeaders(req); err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusUnauthorized || req.Header.Get("DPoP") == "" {
		t.Errorf("status %d with the headers of SetHeaders", resp.StatusCode)
	}
}

// Who sends requests with SetHeaders passes on the nonces of the responses.
func TestDPoPNonceOfAnothersRequest(t *testing.T) {
	w := testenv.New(t, lab.Habits{
		DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired, ResourceNonce: 2, QuietNonce: true}})
	c := w.Session()
	w.MustLogin(c)
	token, err := c.Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	statuses := make(map[int]int)
	for range 6 {
		req, err := http.NewRequest(http.MethodPost, w.Lab.MCPURL(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if err := token.SetHeaders(req); err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		token.KeepNonce(resp)
		statuses[resp.StatusCode]++
	}
	if statuses[http.StatusUnauthorized] == 0 || statuses[http.StatusUnauthorized] > 3 {
		t.Errorf("statuses %v: each nonce is wanted once", statuses)
	}
	(&handstamp.Token{}).KeepNonce(&http.Response{})
}

// A login as the session is configured: of bound tokens, or of others.
func TestDPoPModeOfLaterSession(t *testing.T) {
	for name, modes := range map[string][2]handstamp.DPoPMode{
		"never after auto":    {handstamp.DPoPAuto, handstamp.DPoPNever},
		"always after never":  {handstamp.DPoPNever, handstamp.DPoPAlways},
		"auto after never":    {handstamp.DPoPNever, handstamp.DPoPAuto},
		"auto after always":   {handstamp.DPoPAlways, handstamp.DPoPAuto},
		"never after always":  {handstamp.DPoPAlways, handstamp.DPoPNever},
		"always after always": {handstamp.DPoPAlways, handstamp.DPoPAlways},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPOffered}})
			for _, mode := range modes {
				c := w.Session()
				c.DPoP = mode
				if _, err := c.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{}); err != nil {
					t.Fatal(err)
				}
				w.MustCall(c)
			}
			token, err := w.Session().Token(t.Context(), w.Lab.MCPURL(), handstamp.TokenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case modes[1] == handstamp.DPoPNever && token.Type != "Bearer", modes[1] == handstamp.DPoPAlways && token.Type != "DPoP":
				t.Errorf("a token of type %s", token.Type)
			}
		})
	}
}

// Who has tried bound tokens at a server that takes none gets bearer tokens when the mode is another
// one: the client's registration does not hold on to the mode that it was made with.
func TestDPoPModeOfRegistrationIsNotKept(t *testing.T) {
	for name, mode := range map[string]handstamp.DPoPMode{
		"auto": handstamp.DPoPAuto, "never": handstamp.DPoPNever,
	} {
		t.Run(name, func(t *testing.T) {
			testenv.InBubble(t, testenv.Personality(t, "dpop-listed-only"), func(t *testing.T, w *testenv.Env) {
				always := w.Session()
				always.DPoP = handstamp.DPoPAlways
				if result, err := always.Login(t.Context(), w.Lab.MCPURL(), handstamp.LoginOptions{}); err != nil || result.Rejected == nil {
					t.Fatalf("%+v, %v: the server rejects no bound tokens", result, err)
				}
				c := w.Session()
				c.DPoP = mode
				w.MustCall(c)
				w.WantCounts(map[string]int{"register": 1})
			})
		})
	}
}
