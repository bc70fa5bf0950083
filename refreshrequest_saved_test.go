package handstamp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/record"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
	"github.com/handstamp/handstamp/secret"
)

// flawedResponses are responses to a refresh with a refresh token that is good, and no access token.
var flawedResponses = map[string]map[string]any{
	"a token of another type":  {"access_token": "x", "token_type": "mac"},
	"no access token":          {"token_type": "Bearer"},
	"a malformed access token": {"access_token": "x\ny", "token_type": "Bearer"},
}

// endedBeforeReading has a user sign in, and a process refresh the login and end before it could read the
// response. It returns the refresh token that this has.
func endedBeforeReading(t *testing.T, w *testenv.Env, c *handstamp.Client, response map[string]any) string {
	t.Helper()
	w.MustLogin(c)
	rec := w.Record()
	form := url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {rec.Grant.RefreshToken.Reveal()}, "client_id": {rec.Grant.ClientID},
	}
	if known := rec.GrantClient(); known.Method != lab.MethodNone {
		form.Set("client_secret", known.Secret.Reveal())
	}
	resp, err := (&http.Client{Transport: w.Transport()}).PostForm(w.Lab.Issuer()+"/token", form)
	if err != nil {
		t.Fatal(err)
	}
	var issued struct {
		Token string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(testenv.Body(t, resp)), &issued); err != nil || issued.Token == "" {
		t.Fatalf("%+v, %v", issued, err)
	}
	members := map[string]any{"refresh_token": issued.Token}
	for name, value := range response {
		members[name] = value
	}
	body, _ := json.Marshal(members)
	rec.Intent = interruptedRefresh(rec.Grant.RefreshToken, time.Now())
	rec.Intent.Response = &record.RawResponse{Status: 200, ContentType: "application/json", ReceivedAt: time.Now(), Body: secret.String(body)}
	w.Put(rec)
	w.Lab.Reset()
	return issued.Token
}

// A refresh token that a process has saved and not read is used although the access token beside it is
// not, and the one that it replaced is not sent again.
func TestSavedRefreshTokenWithoutAnAccessToken(t *testing.T) {
	for name, response := range flawedResponses {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{RegisterMethod: lab.MethodNone})
			issued := endedBeforeReading(t, w, w.Session(), response)
			w.MustCall(w.Session())
			for _, r := range w.Lab.Requests() {
				if r.Endpoint == "token:refresh" && r.Refresh != lab.Fingerprint(issued) {
					t.Error("another refresh token was sent")
				}
			}
			w.WantCounts(map[string]int{"token:refresh": 1, "mcp": 1})
			w.WantTabs(1)
			if a := w.Lab.Audit(); a.Reuses != 0 {
				t.Errorf("%d reuses", a.Reuses)
			}
		})
	}
}

// A logout revokes that refresh token.
func TestLogoutAfterASavedResponse(t *testing.T) {
	for name, response := range flawedResponses {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{RegisterMethod: lab.MethodNone})
			issued := endedBeforeReading(t, w, w.Session(), response)
			result, err := w.Session().Logout(t.Context(), w.Lab.MCPURL(), handstamp.LogoutOptions{})
			if err != nil || !result.Revoked {
				t.Fatalf("%+v, %v", result, err)
			}
			for _, r := range w.Lab.Requests() {
				if r.Endpoint == "revoke" && r.Params.Get("token") != lab.Fingerprint(issued) {
					t.Error("another token was revoked")
				}
			}
			w.WantCounts(map[string]int{"revoke": 1})
		})
	}
}

// A saved response is used before the client gets a new secret in place of one that has ended, which may
// take more than one try: the refresh token that was used is not sent again.
func TestSavedResponseOfAClientWhoseSecretHasEnded(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared %t", shared), func(t *testing.T) {
			testenv.InBubble(t, managed(false), func(t *testing.T, w *testenv.Env) {
				locks := new(heldLocks)
				session := func() *handstamp.Client {
					c := w.Session()
					if shared {
						c.ClientStore = locks
					}
					return c
				}
				endedBeforeReading(t, w, session(), map[string]any{
					"access_token": "x", "token_type": "Bearer", "expires_in": 3600,
				})
				time.Sleep(2 * time.Hour) // in the bubble: the secret and the token have ended
				locks.held.Store(true)
				w.Lab.SetFault("registration", lab.Fault{Kind: lab.FaultStatus, Status: 503, Times: 1})
				testenv.WantKind(t, w.Call(session()), handstamp.ErrUnreachable)
				locks.held.Store(false)
				w.Lab.SetFault("registration")
				time.Sleep(time.Minute) // in the bubble
				w.MustCall(session())
				w.WantTabs(1)
				if a := w.Lab.Audit(); a.Reuses != 0 {
					t.Errorf("%d reuses\n%s", a.Reuses, w.Diary())
				}
			})
		})
	}
}
