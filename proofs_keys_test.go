package handstamp_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/jose"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/store"
)

// A login that needs another kind of key than the stored one has it from its begin to its end.
func TestDPoPAlgorithmOfServerChanges(t *testing.T) {
	t.Parallel()
	for name, par := range map[string]string{"code": "", "pushed": lab.PARRequired} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testenv.InBubble(t, lab.Habits{
				PAR: par, DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPRequired, Algorithms: []string{"RS256"}},
			}, func(t *testing.T, w *testenv.Env) {
				w.MustLogin(w.Session())
				w.MustCall(w.Session())
				// The key is of a time when the server took others.
				key, err := jose.NewProofKey([]string{"ES256"})
				if err != nil {
					t.Fatal(err)
				}
				rec := w.Record()
				if rec.DPoP.Key, err = key.PrivateJWK(); err != nil {
					t.Fatal(err)
				}
				w.Put(rec)
				w.Lab.Reset()
				later := w.Session()
				w.MustCall(later)
				w.MustCall(w.Session())
				w.WantTabs(2)
			})
		})
	}
}

// A key that was lost, or cannot be read, costs one login at most.
func TestDPoPKeyIsLost(t *testing.T) {
	for name, lose := range map[string]func(*record.Record){
		"no key":     func(rec *record.Record) { rec.DPoP = nil },
		"broken key": func(rec *record.Record) { rec.DPoP.Key = rec.DPoP.Key[:40] },
		"public key": func(rec *record.Record) { rec.DPoP.Key = `{"kty":"EC","crv":"P-256"}` },
		"empty key":  func(rec *record.Record) { rec.DPoP.Key = "" },
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{DPoP: bound})
			w.MustLogin(w.Session())
			rec := w.Record()
			lose(rec)
			w.Put(rec)
			w.MustCall(w.Session())
			w.MustCall(w.Session())
			w.Expire()
			w.MustCall(w.Session())
			w.WantTabs(2)
		})
	}
}

// What a process has requested with a key is stored with that key, although the process ends
// before it reads the response.
func TestDPoPKeyIsSavedWithResponse(t *testing.T) {
	for name, h := range map[string]lab.DPoP{
		"the key was lost":        {Supported: true, Resource: lab.DPoPRequired, UnboundRefresh: true},
		"bearer tokens end":       {Supported: true, Required: true, Resource: lab.DPoPOffered, UnboundRefresh: true},
		"the nonce of the server": {Supported: true, Resource: lab.DPoPRequired, UnboundRefresh: true, ServerNonce: 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{DPoP: h})
			w.MustLogin(w.Session())
			rec := w.Record()
			rec.DPoP = nil
			if name == "bearer tokens end" {
				rec.Grant.DPoP, rec.Grant.TokenType = false, "Bearer"
			}
			w.Put(rec)
			w.Expire()
			saved := make(chan *record.Record, 1)
			c := w.Session()
			c.Store = watchedStore{w.Store, func(rec *record.Record) {
				if rec.Intent != nil && rec.Intent.Response != nil {
					select {
					case saved <- rec:
					default:
					}
				}
			}}
			w.MustCall(c)
			crashed := <-saved
			crashed.Revision = w.Record().Revision
			w.Put(crashed)
			w.MustCall(w.Session())
			w.Expire()
			w.MustCall(w.Session())
			w.WantTabs(1)
		})
	}
}

// A client that is registered for bound tokens only has the thumbprint of its key in the first
// authorization request, or none.
func TestDPoPThumbprintOfRegistration(t *testing.T) {
	w := testenv.New(t, lab.Habits{DPoP: lab.DPoP{Supported: true, Resource: lab.DPoPSilent, RegisterBound: true}})
	w.MustCall(w.Session())
	for _, r := range w.Lab.Requests() {
		if thumbprint, there := r.Params["dpop_jkt"]; there {
			if b, err := base64.RawURLEncoding.DecodeString(strings.Join(thumbprint, "")); err != nil || len(b) != 32 {
				t.Errorf("%s has dpop_jkt %q", r.Endpoint, thumbprint)
			}
		}
	}
	w.WantTabs(1)
}

// A client that was registered for bound tokens in an earlier session, at another user's login or by
// an application that kept it requests them at once, also where the challenge is for Bearer.
func TestDPoPOfAnEarlierRegistration(t *testing.T) {
	for name, prepare := range map[string]func(w *testenv.Env, c *handstamp.Client, registered handstamp.Registration){
		"the same login": func(w *testenv.Env, _ *handstamp.Client, _ handstamp.Registration) {
			w.Lab.RevokeFamilies()
			found := w.Session()
			found.LoginPolicy = handstamp.LoginNever
			testenv.WantKind(w.T, w.Call(found), handstamp.ErrLoginRequired) // the next one has no token to send
		},
		"a client of all users": func(_ *testenv.Env, c *handstamp.Client, _ handstamp.Registration) {
			c.Profile = "another"
		},
		"a kept registration": func(_ *testenv.Env, c *handstamp.Client, registered handstamp.Registration) {
			c.Profile, c.ClientStore, c.Registration = "another", nil, &registered
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{DPoP: lab.DPoP{
				Supported: true, Resource: lab.DPoPSilent, RegisterBound: true, Algorithms: []string{"RS256"},
			}})
			shared := new(store.Memory)
			session := func() *handstamp.Client {
				c := w.Session()
				c.ClientStore, c.RedirectURI = shared, stepRedirect
				c.Prompt.Authorize = func(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
					return lab.Consent(ctx, r.URL)
				}
				return c
			}
			var registered handstamp.Registration
			first := session()
			first.OnRegister = func(_ context.Context, r handstamp.Registration) error {
				registered = r
				return nil
			}
			w.MustCall(first)
			again := session()
			prepare(w, again, registered)
			w.MustCall(again)
			w.WantCounts(map[string]int{"register": 1, "token:code": 2})
		})
	}
}

// An endpoint that is only offered and rejects everything does not change how the client
// authenticates afterwards.
func TestPushedRequestRejectedThenBrowser(t *testing.T) {
	for _, body := range []string{`{"error":"invalid_client"}`, `{"error":"invalid_request"}`, `{"error":"unauthorized_client"}`, ``} {
		t.Run(body, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{PAR: lab.PAROffered, Methods: []string{lab.MethodBasic}, NoRegistration: true})
			w.Lab.RegisterClient(lab.ConfiguredClient{ID: "c", Secret: "s", Method: lab.MethodBasic})
			w.Lab.SetFault("par", lab.Fault{Kind: lab.FaultStatus, Status: http.StatusUnauthorized, ContentType: "application/json", Body: body})
			c := w.Session()
			c.Registration = &handstamp.Registration{ClientID: "c", ClientSecret: "s"}
			w.MustLogin(c)
			w.MustCall(w.Session())
			w.WantTabs(1)
			for _, r := range w.Lab.Requests() {
				if r.Endpoint == "token:code" && (r.Status != http.StatusOK) {
					t.Errorf("%v", r)
				}
			}
		})
	}
}

// A pushed request that has expired by the time when the browser shows it is pushed again, once.
func TestPushedRequestExpires(t *testing.T) {
	w := testenv.New(t, lab.Habits{PAR: lab.PARRequired})
	c := w.Session()
	pages := 0
	c.Prompt = handstamp.Prompt{Authorize: func(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
		if pages++; pages == 1 {
			return url.Values{"error": {"invalid_request_uri"}, "state": {r.State}, "iss": {r.Issuer}}, nil
		}
		return lab.Consent(ctx, r.URL)
	}}
	w.MustLogin(c)
	w.WantCounts(map[string]int{"par": 2})
	always := w.Session()
	pages = 0
	always.Prompt = handstamp.Prompt{Authorize: func(_ context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
		pages++
		return url.Values{"error": {"invalid_request_uri"}, "state": {r.State}, "iss": {r.Issuer}}, nil
	}}
	if err := w.Login(always); err == nil || pages != 2 {
		t.Errorf("%v after %d pages", err, pages)
	}
}

// watchedStore shows each record that is stored.
type watchedStore struct {
	store.Store
	see func(*record.Record)
}

func (s watchedStore) Put(ctx context.Context, key store.Key, value []byte, r store.Revision) (store.Revision, error) {
	if rec, err := record.Decode(value); err == nil {
		s.see(rec)
	}
	return s.Store.Put(ctx, key, value, r)
}
