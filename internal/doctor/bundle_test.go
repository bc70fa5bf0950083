//go:build unix

package doctor_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/doctor"
	"github.com/handstamp/handstamp/lab"
)

// TestBundleHasNoSecret also plants what no report has by itself: a bundle with it is not made.
func TestBundleHasNoSecret(t *testing.T) {
	w := signedIn(t, lab.NoneFirst())
	r := examine(t, w)
	raw, err := r.Bundle(map[string]any{"version": "1"})
	if err != nil {
		t.Fatal(err)
	}
	page, err := r.Diagram("doctor")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(raw) || !strings.Contains(string(raw), `"Token endpoint auth method"`) || !strings.Contains(string(page), "<title>") {
		t.Errorf("the bundle is %s", raw)
	}
	for _, secret := range w.Lab.Secrets() {
		if strings.Contains(string(raw)+string(page), secret) {
			t.Error("there is a secret in it")
		}
	}
	rec := w.Record()
	refresh := rec.Grant.RefreshToken.Reveal()
	percent := ""
	for i := range len(refresh) {
		percent += fmt.Sprintf("%%%02x", refresh[i])
	}
	for name, planted := range map[string]string{
		"a part of it in base64":       base64.StdEncoding.EncodeToString([]byte("x=" + refresh[8:28] + "&y")),
		"it in base64 twice":           base64.URLEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(refresh)))),
		"it in percents":               percent,
		"a part of it in hexadecimal":  hex.EncodeToString([]byte(refresh[4:20])),
		"the access token":             rec.Grant.AccessToken.Reveal(),
		"a piece of the refresh token": rec.Grant.RefreshToken.Reveal()[:24],
		"the client's secret":          "x" + rec.GrantClient().Secret.Reveal() + "x",
		"a JWT":                        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln",
		"a header":                     "Authorization: Bearer 4jf93kd03kf0s8d7f6",
		"Basic credentials":            "Basic dXNlcjpwYXNzd29yZA0",
		"a token response":             `{"access_token": "opaque-value"}`,
		"a form":                       "grant_type=x&client_secret=opaque",
		"a callback":                   "http://127.0.0.1:8765/callback?code=SplxlOBeZQ&state=af0ifjsldkj",
		"a key":                        "-----BEGIN EC PRIVATE KEY-----",
		"a well-known token":           "ghp_16C7e42F292c6912E7",
		"a password in a URL":          "https://me:secret@proxy.example",
	} {
		if _, err := r.Bundle(map[string]any{"note": planted}); !errors.Is(err, doctor.ErrSecret) {
			t.Errorf("a bundle with %s: %v", name, err)
		}
		if _, err := r.Diagram(planted); !errors.Is(err, doctor.ErrSecret) {
			t.Errorf("a diagram with %s: %v", name, err)
		}
	}
}

// Keys in a server's URL are as secret as the rest.
func TestReportLeavesOutTheQueryOfTheURL(t *testing.T) {
	w := signedIn(t, lab.Habits{})
	c := w.Session()
	r, err := doctor.Examine(t.Context(), c, w.Lab.MCPURL()+"?tenant=kilo-4711-lima", doctor.Options{Recorder: doctor.Record(c)})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := r.Bundle(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range r.Steps {
		if text := step.Finding + strings.Join(step.Evidence, "\n"); strings.Contains(text, "4711") {
			t.Errorf("step %d has the query: %s", step.Number, text)
		}
	}
	if strings.Contains(string(raw), "4711") {
		t.Errorf("the bundle has the query: %s", raw)
	}
}

// The configured secrets are known, too, before they are stored anywhere.
func TestBundleKnowsConfiguredSecrets(t *testing.T) {
	w := signedIn(t, lab.Habits{})
	c := w.Session()
	c.Registration = &handstamp.Registration{ClientID: "by-hand", ClientSecret: "wordy secret of mine", TokenEndpointAuthMethod: "client_secret_post"}
	r, err := doctor.Examine(t.Context(), c, w.Lab.MCPURL(), doctor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Bundle(map[string]any{"note": "wordy secret of mine"}); !errors.Is(err, doctor.ErrSecret) {
		t.Errorf("a bundle with the configured secret: %v", err)
	}
}
