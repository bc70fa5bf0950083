package handstamp_test

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// A consent page may post to the redirect URI. Browsers write its origin in lower case and
// without the default port, however the metadata writes the authorization endpoint.
func TestPostedCallbackFromTheDefaultPort(t *testing.T) {
	for endpoint, origin := range map[string]string{
		"https://as.example/authorize":     "https://as.example",
		"https://as.example:443/authorize": "https://as.example",
		"https://AS.Example:443/authorize": "https://as.example",
		"https://as.example:8443/a?b=c":    "https://as.example:8443",
	} {
		w := testenv.New(t, lab.Habits{})
		c, line := w.Recorded()
		line.OnJSON(testenv.AtServer, func(document map[string]any) { document["authorization_endpoint"] = endpoint })
		status := make(chan int, 1)
		c.Prompt = handstamp.Prompt{OpenURL: func(ctx context.Context, rawURL string) error {
			u, err := url.Parse(rawURL)
			if err != nil {
				return err
			}
			q := u.Query()
			back := q.Get("redirect_uri") + "?" + url.Values{"error": {"access_denied"}, "state": {q.Get("state")}, "iss": {w.Lab.Issuer()}}.Encode()
			req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, back, strings.NewReader(""))
			if err != nil {
				return err
			}
			req.Header.Set("Origin", origin)
			go func() {
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					status <- 0
					return
				}
				resp.Body.Close()
				status <- resp.StatusCode
			}()
			return nil
		}}
		ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
		ended := make(chan error, 1)
		go func() {
			_, err := c.Login(ctx, w.Lab.MCPURL(), handstamp.LoginOptions{Force: true})
			ended <- err
		}()
		select {
		case got := <-status:
			if got != http.StatusOK {
				t.Errorf("%s: the callback from %s gets status %d", endpoint, origin, got)
			}
		case <-ctx.Done():
			t.Errorf("%s: no callback", endpoint)
		}
		cancel()
		<-ended
	}
}

// A callback must come from one of the tenants that the template stands for.
func TestCallbackOfATenant(t *testing.T) {
	const path = "/9188040d-6c67-4c5b-b112-36a304b66dad"
	for iss, right := range map[string]bool{
		"BASE" + path: true, "BASE/72f988bf": true, "": false, "BASE/": false, "BASE/a/b": false, "BASE/%2e%2e": false, "BASE/{tenantid}": false,
		"https://evil.example" + path: false,
	} {
		w := testenv.New(t, lab.Habits{IssuerPath: path, Iss: lab.IssOn})
		c, line := w.Recorded()
		line.OnJSON(testenv.AtServer, func(d map[string]any) { d["issuer"] = w.Lab.URL() + "/{tenantid}" })
		c.AuthorizationServer = &handstamp.AuthorizationServer{Issuer: w.Lab.Issuer()}
		c.Prompt.Authorize = func(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
			params, err := w.Consent(ctx, r)
			params.Set("iss", strings.ReplaceAll(iss, "BASE", w.Lab.URL()))
			return params, err
		}
		if err := w.Login(c); (err == nil) != right {
			t.Errorf("iss %q: error %v, want it taken: %t", iss, err, right)
		}
	}
}

// authorizedURL consents at the authorization server and returns the URL that the
// browser is sent back to.
func authorizedURL(t *testing.T, rawURL string) string {
	t.Helper()
	browser := &http.Client{CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		if strings.Contains(req.URL.RawQuery, "code=") {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	resp, err := browser.Get(rawURL)
	if err != nil {
		t.Error(err)
		return ""
	}
	resp.Body.Close()
	return resp.Header.Get("Location")
}

// A consent page that redirects its form with 307 has the browser post it to the
// listener, which signs in all the same.
func TestConsentThatRedirectsWith307(t *testing.T) {
	for name, header := range map[string]http.Header{
		"https":      {"Origin": {"null"}, "Sec-Fetch-Mode": {"navigate"}},
		"plain http": {"Origin": {"ISSUER"}, "Sec-Fetch-Mode": {"navigate"}},
		"no browser": {},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{})
			pages := make(chan string, 1)
			c := w.Browser(func(_ context.Context, rawURL string) error {
				back := authorizedURL(t, rawURL)
				go func() {
					req, err := http.NewRequest(http.MethodPost, back, strings.NewReader("user=me&password=hunter2&state=none"))
					if err != nil {
						t.Error(err)
						return
					}
					req.Header = header.Clone()
					if req.Header.Get("Origin") == "ISSUER" {
						req.Header.Set("Origin", w.Lab.Issuer())
					}
					req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
					resp, err := http.DefaultTransport.RoundTrip(req)
					if err != nil {
						t.Error(err)
						return
					}
					pages <- testenv.Body(t, resp)
				}()
				return nil
			})
			c.ClientName = "Example App"
			w.MustLogin(c)
			server := strings.TrimPrefix(w.Lab.MCPURL(), "http://")
			if page := <-pages; !strings.Contains(page, "You are signed in to "+server+".") || !strings.Contains(page, "go back to Example App.") {
				t.Errorf("the page:\n%s", page)
			}
		})
	}
}

// An error response without a state ends no login, since anyone may send it. The
// user hears of it, once, and the page names it.
func TestErrorResponseWithoutState(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	var mu sync.Mutex
	var notices []string
	c := w.Browser(func(ctx context.Context, rawURL string) error {
		redirectURI, _ := testenv.RedirectURI(t, rawURL)
		for _, query := range []string{"error=access_denied", "error=access_denied&error_description=<b>", "error=" + url.QueryEscape("<script>call 555"), "error=a", "error=b", "error=c"} {
			resp, err := http.Get(redirectURI + "?" + query)
			if err != nil {
				t.Error(err)
				continue
			}
			page := testenv.Body(t, resp)
			if resp.StatusCode != http.StatusBadRequest || !strings.Contains(page, "reported an error") || strings.Contains(page, "555") || strings.Contains(page, "<b>") {
				t.Errorf("%s: status %d\n%s", query, resp.StatusCode, page)
			}
			if strings.HasPrefix(query, "error=access_denied") && !strings.Contains(page, "access_denied") {
				t.Errorf("the page does not name the error:\n%s", page)
			}
		}
		go lab.Browse(context.WithoutCancel(ctx), rawURL)
		return nil
	})
	c.Hooks.Notice = func(_, message string) {
		mu.Lock()
		defer mu.Unlock()
		notices = append(notices, message)
	}
	w.MustLogin(c)
	mu.Lock()
	defer mu.Unlock()
	all := strings.Join(notices, "\n")
	if len(notices) != 3 || strings.Count(all, "access_denied") != 1 || !strings.Contains(all, "still waiting") || strings.Contains(all, "555") {
		t.Errorf("the notices are %q", notices)
	}
}

// A login listens at the registered redirect URI that leads to this machine, wherever in the list that
// is, and with the callback port at the one that has it, or none.
func TestCallbackAtARegisteredURI(t *testing.T) {
	number := proctest.FreePort(t)
	port := strconv.Itoa(number)
	const elsewhere, before = "https://app.example/cb", "http://127.0.0.1:1/callback"
	at := "http://127.0.0.1:" + port + "/oauth/callback"
	for name, c := range map[string]struct {
		registered   []string
		callbackPort int
		want         string
	}{
		"the second of two":           {[]string{elsewhere, at}, 0, at},
		"with the callback port":      {[]string{at}, number, at},
		"of several ports":            {[]string{before, at}, number, at},
		"without a port":              {[]string{elsewhere, "http://127.0.0.1/oauth/callback"}, number, at},
		"none with the callback port": {[]string{before}, number, "http://127.0.0.1:" + port + "/callback"},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{NoRegistration: true, RedirectExact: true})
			w.Lab.RegisterClient(lab.ConfiguredClient{ID: "by-hand", Method: lab.MethodNone, RedirectURIs: []string{c.want}})
			client, opened := watching(w)
			client.Registration = &handstamp.Registration{ClientID: "by-hand", RedirectURIs: c.registered}
			client.CallbackPort = c.callbackPort
			w.MustLogin(client)
			if got := (*opened)[0].Get("redirect_uri"); got != c.want {
				t.Errorf("the login listens at %s, want %s", got, c.want)
			}
		})
	}
}

// A dynamic client whose registration lists the redirect URI of this machine second serves the next
// login, too.
func TestCallbackAtTheSecondURIOfARegistration(t *testing.T) {
	w := testenv.New(t, lab.Habits{RedirectExact: true})
	for range 2 {
		c, line := w.Recorded()
		c.Prompt = handstamp.Prompt{OpenURL: w.OpenURL}
		line.OnJSON(testenv.AtRegister, func(document map[string]any) {
			if uris, ok := document["redirect_uris"].([]any); ok {
				document["redirect_uris"] = append([]any{"https://app.example/cb"}, uris...)
			}
		})
		w.MustLogin(c)
	}
	w.WantCounts(map[string]int{"register": 1})
}
