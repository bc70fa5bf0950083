package lab_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/lab"
)

// TestAuthorizeRejections sends what must not get a code.
func TestAuthorizeRejections(t *testing.T) {
	c := start(t, lab.Habits{ScopesSupported: []string{"read"}})
	for name, test := range map[string]struct {
		changes url.Values
		code    string // "" is a page without a redirect
	}{
		"unknown client":      {url.Values{"client_id": {"x"}}, ""},
		"no redirect":         {url.Values{"redirect_uri": {""}}, ""},
		"other path":          {url.Values{"redirect_uri": {"http://127.0.0.1:7777/other"}}, ""},
		"other host":          {url.Values{"redirect_uri": {"http://localhost:7777/callback"}}, ""},
		"elsewhere":           {url.Values{"redirect_uri": {"https://example.com/callback"}}, ""},
		"implicit":            {url.Values{"response_type": {"token"}}, "unsupported_response_type"},
		"no PKCE":             {url.Values{"code_challenge": {""}}, "invalid_request"},
		"plain PKCE":          {url.Values{"code_challenge_method": {"plain"}}, "invalid_request"},
		"no PKCE method":      {url.Values{"code_challenge_method": {""}}, "invalid_request"},
		"twice":               {url.Values{"scope": {"read", "read"}}, "invalid_request"},
		"unknown scope":       {url.Values{"scope": {"read write"}}, "invalid_scope"},
		"another resource":    {url.Values{"resource": {"https://example.com/mcp"}}, "invalid_target"},
		"offline, not listed": {url.Values{"scope": {"offline_access"}}, "invalid_scope"},
	} {
		response := c.get(c.authorization(test.changes))
		if test.code == "" {
			if response.status != http.StatusBadRequest || response.header.Get("Location") != "" {
				t.Errorf("%s: %d", name, response.status)
			}
			continue
		}
		location, err := url.Parse(response.header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		got := location.Query()
		if got.Get("error") != test.code || got.Has("code") || got.Get("state") != "a state" || got.Get("iss") != c.server.Issuer() {
			t.Errorf("%s: redirected with %v", name, got)
		}
	}
}

// TestRedirectPorts tells port leniency from exactness.
func TestRedirectPorts(t *testing.T) {
	other := url.Values{"redirect_uri": {"http://127.0.0.1:9999/callback"}}
	for exact, status := range map[bool]int{false: http.StatusFound, true: http.StatusBadRequest} {
		c := start(t, lab.Habits{RedirectExact: exact})
		if got := c.get(c.authorization(other)).status; got != status {
			t.Errorf("exact %v: %d", exact, got)
		}
		c.authorize(nil)
	}
}

// TestConsent shows each kind of consent to a browser.
func TestConsent(t *testing.T) {
	landed := make(chan url.Values, 1)
	methods := make(chan string, 1)
	callback := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		landed <- r.URL.Query()
		methods <- r.Method
	}))
	t.Cleanup(callback.Close)
	redirect := url.Values{"redirect_uri": {callback.URL + "/callback"}}

	for consent, want := range map[string]string{
		lab.ConsentAuto: "code", lab.ConsentPage: "code", lab.ConsentPost: "code", lab.ConsentDeny: "error", lab.ConsentPage400: "",
	} {
		c := start(t, lab.Habits{Consent: consent})
		final, err := lab.Browse(t.Context(), c.authorization(redirect))
		if want == "" {
			var page *lab.PageError
			if !errors.As(err, &page) || page.Status != http.StatusBadRequest || strings.Contains(err.Error(), "?") {
				t.Errorf("%q: %v", consent, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", consent, err)
			continue
		}
		got := <-landed
		if !strings.HasPrefix(final, callback.URL+"/callback?") || !got.Has(want) {
			t.Errorf("%q: landed with %v", consent, got)
		}
		if method := <-methods; method == http.MethodPost != (consent == lab.ConsentPost) {
			t.Errorf("%q: the browser lands with %s", consent, method)
		}
		if n := c.server.Counts()["authorize"]; n != 1 {
			t.Errorf("%q: %d tabs", consent, n)
		}
	}
}

// TestConsentPageOnce presses a button twice.
func TestConsentPageOnce(t *testing.T) {
	c := start(t, lab.Habits{Consent: lab.ConsentPage})
	shown := c.get(c.authorization(nil))
	_, after, _ := strings.Cut(shown.raw, `action="`)
	action, _, ok := strings.Cut(after, `"`)
	if !ok {
		t.Fatalf("no button on %s", shown.raw)
	}
	if response := c.get(action); response.status != http.StatusBadRequest {
		t.Errorf("a GET presses the button: %d", response.status)
	}
	press := func() int { return c.do(c.request(http.MethodPost, action, "")).status }
	if got := press(); got != http.StatusFound {
		t.Errorf("the button: %d", got)
	}
	if got := press(); got != http.StatusBadRequest {
		t.Errorf("the button again: %d", got)
	}
}

// TestBrowseKeepsSecrets fails on the way to the callback: the error has no code.
func TestBrowseKeepsSecrets(t *testing.T) {
	c := start(t, lab.Habits{})
	// Port 1 is no one's.
	final, err := lab.Browse(t.Context(), c.authorization(url.Values{"redirect_uri": {"http://127.0.0.1:1/callback"}}))
	if err == nil || final != "" {
		t.Fatalf("landed at %q", final)
	}
	for _, secret := range c.server.Secrets() {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error contains the code: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lab.Browse(ctx, c.authorization(nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestPreflight looks at the page without being a user.
func TestPreflight(t *testing.T) {
	c := start(t, lab.Habits{})
	look := func() int {
		r := c.request(http.MethodGet, c.authorization(nil), "")
		r.Header.Set("Sec-Purpose", "prefetch")
		return c.do(r).status
	}
	if got := look(); got != http.StatusOK {
		t.Errorf("known client: %d", got)
	}
	c.server.ForgetClients()
	if got := look(); got != http.StatusBadRequest {
		t.Errorf("forgotten client: %d", got)
	}
	counts := c.server.Counts()
	if counts["authorize"] != 0 || counts["authorize:preflight"] != 2 || len(c.server.Secrets()) != 0 {
		t.Errorf("counts %v, %d codes", counts, len(c.server.Secrets()))
	}
}

// TestIss shows the rows of RFC 9207, in success and error responses.
func TestIss(t *testing.T) {
	const own, other = "own", "https://issuer.elsewhere.test"
	for _, test := range []struct {
		iss       string
		announced bool
		sent      string
	}{
		{"", true, own},
		{lab.IssOn, true, own},
		{lab.IssOff, false, ""},
		{lab.IssWrong, true, other},
		{lab.IssMissing, true, ""},
		{lab.IssUnexpected, false, own},
		{lab.IssStray, false, other},
	} {
		c := start(t, lab.Habits{Iss: test.iss})
		want := test.sent
		if want == own {
			want = c.server.Issuer()
		}
		for _, changes := range []url.Values{nil, {"response_type": {"token"}}} {
			if got := c.authorize(changes).Get("iss"); got != want {
				t.Errorf("%q: iss is %q, want %q", test.iss, got, want)
			}
		}
		if announced := c.metadata()["authorization_response_iss_parameter_supported"] == true; announced != test.announced {
			t.Errorf("%q: announced %v", test.iss, announced)
		}
	}
}

// TestClientIDMetadata reads a client from the document at its client_id.
func TestClientIDMetadata(t *testing.T) {
	const id = "https://client.test/oauth.json"
	documents := map[string]string{
		id:                         `{"client_id":"https://client.test/oauth.json","redirect_uris":["http://127.0.0.1/callback"]}`,
		"https://client.test/copy": `{"client_id":"https://client.test/oauth.json","redirect_uris":["http://127.0.0.1/callback"]}`,
		"https://client.test/none": `not JSON`,
	}
	fetch := func(_ context.Context, url string) ([]byte, error) {
		if document, ok := documents[url]; ok {
			return []byte(document), nil
		}
		return nil, errors.New("not there")
	}
	c := startWith(t, lab.Habits{ClientIDMetadata: true}, lab.Options{Fetch: fetch})
	if c.metadata()["client_id_metadata_document_supported"] != true {
		t.Error("the metadata does not say so")
	}
	c.id = id
	token := c.login(nil).text("refresh_token")
	c.refresh(token, nil).is(t, http.StatusOK, "")
	for _, bad := range []string{"https://client.test/copy", "https://client.test/none", "https://client.test/x", "https://client.test", "http://client.test/oauth.json"} {
		if got := c.get(c.authorization(url.Values{"client_id": {bad}})).status; got != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, got)
		}
	}
	plain := startWith(t, lab.Habits{}, lab.Options{Fetch: fetch})
	plain.id = id
	if got := plain.get(plain.authorization(nil)).status; got != http.StatusBadRequest {
		t.Errorf("without the habit: %d", got)
	}
}
