package security_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/browser"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// responding returns a user whose callback is changed on its way.
func responding(w *testenv.Env, change func(params url.Values)) handstamp.Prompt {
	return handstamp.Prompt{Authorize: func(ctx context.Context, r handstamp.AuthorizationRequest) (url.Values, error) {
		params, err := w.Consent(ctx, r)
		if err == nil {
			change(params)
		}
		return params, err
	}}
}

// TestIssuerOfCallback goes through the rows of the MCP specification's table
// for iss, with codes and with errors. A response from a wrong place ends the
// login: its code is not sent anywhere, and what it says is not shown.
func TestIssuerOfCallback(t *testing.T) {
	const description = "call 0900-EVIL to confirm"
	wrong := []string{
		"ISSUER/", "ISSUER//", "ISSUER/.", "ISSUER?", "ISSUER#", "ISSUER ", " ISSUER", "ISSUER\n", "ISSUER\x00", "",
		"HTTP://HOST/tenant", "http://HOST/Tenant", "http://HOST/%74enant", "http://HOST/tenant%2F", "http://HOST/xn--tnant-bva",
		"http://HOST/t\u0435nant", "http://HOST", "http://127.0.0.1:1/tenant", "http://127.0.0.1/tenant", "http://localhost/tenant",
		"https://HOST/tenant", "http://user@HOST/tenant", "http://127.0.0.1./tenant", "https://evil.example/tenant", "null",
	}
	for _, announced := range []bool{true, false} {
		for _, response := range []string{"code", "error"} {
			run := func(name string, good bool, iss func(w *testenv.Env) []string) {
				t.Run(fmt.Sprintf("announced %t/%s/%s", announced, response, name), func(t *testing.T) {
					t.Parallel()
					h := lab.Habits{IssuerPath: "/tenant", Iss: lab.IssOn}
					if !announced {
						h.Iss = lab.IssOff
					}
					w := testenv.New(t, h)
					c := w.Session()
					c.Prompt = responding(w, func(params url.Values) {
						if response == "error" {
							params.Del("code")
							params.Set("error", "access_denied")
							params.Set("error_description", description)
						}
						params.Del("iss")
						if values := iss(w); values != nil {
							params["iss"] = values
						}
					})
					err := w.Login(c)
					switch {
					case good && response == "code":
						if err != nil {
							t.Errorf("login: %v", err)
						}
						return
					case good:
						testenv.WantKind(t, err, handstamp.ErrDenied)
						if err != nil && !strings.Contains(err.Error(), description) {
							t.Errorf("the error does not quote the server's description: %v", err)
						}
						return
					}
					testenv.WantKind(t, err, handstamp.ErrProtocol)
					w.WantCounts(map[string]int{"token:code": 0})
					w.WantTabs(1)
					var e *handstamp.Error
					if !errors.As(err, &e) || e.Code != "" || strings.Contains(err.Error(), "0900") || strings.Contains(err.Error(), "access_denied") {
						t.Errorf("the error shows what a stranger says: %v", err)
					}
				})
			}
			run("right", true, func(w *testenv.Env) []string { return []string{w.Lab.Issuer()} })
			run("missing", !announced, func(*testenv.Env) []string { return nil })
			run("right and wrong", false, func(w *testenv.Env) []string { return []string{w.Lab.Issuer(), "https://evil.example"} })
			run("twice", false, func(w *testenv.Env) []string { return []string{w.Lab.Issuer(), w.Lab.Issuer()} })
			for _, value := range wrong {
				run(fmt.Sprintf("%+q", value), false, func(w *testenv.Env) []string {
					host := strings.TrimPrefix(w.Lab.URL(), "http://")
					return []string{strings.NewReplacer("ISSUER", w.Lab.Issuer(), "HOST", host).Replace(value)}
				})
			}
		}
	}
}

// A callback that an application hands over is believed only with the state of
// this very login.
func TestStateOfCallback(t *testing.T) {
	for name, change := range map[string]func(url.Values){
		"missing":       func(params url.Values) { params.Del("state") },
		"empty":         func(params url.Values) { params.Set("state", "") },
		"another":       func(params url.Values) { params.Set("state", strings.Repeat("A", 43)) },
		"shortened":     func(params url.Values) { params.Set("state", params.Get("state")[:42]) },
		"extended":      func(params url.Values) { params.Set("state", params.Get("state")+"A") },
		"twice":         func(params url.Values) { params.Add("state", params.Get("state")) },
		"other case":    func(params url.Values) { params.Set("state", strings.ToLower(params.Get("state"))) },
		"another error": func(params url.Values) { params.Set("state", "x"); params.Set("error", "access_denied") },
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{})
			c := w.Session()
			c.Prompt = responding(w, change)
			testenv.WantKind(t, w.Login(c), handstamp.ErrProtocol)
			w.WantCounts(map[string]int{"token:code": 0})
		})
	}
}

// stranger is a request to the listener that is not the callback.
type stranger struct {
	name   string
	method string // GET if empty
	path   string // in place of the callback's
	query  string // STATE stands for the right state, and ISSUER for the issuer
	host   string // in place of the listener's
	header http.Header
}

var strangers = []stranger{
	{name: "no state", query: "code=stolen"},
	{name: "no state, error", query: "error=access_denied"},
	{name: "wrong state", query: "code=stolen&state=AAAA"},
	{name: "wrong state, error", query: "error=access_denied&state=AAAA"},
	{name: "empty state", query: "code=stolen&state="},
	{name: "state twice", query: "code=stolen&state=STATE&state=STATE"},
	{name: "state twice, one wrong", query: "code=stolen&state=AAAA&state=STATE"},
	{name: "code twice", query: "code=stolen&code=stolen&state=STATE&iss=ISSUER"},
	{name: "state in the fragment's place", query: "code=stolen;state=STATE"},
	{name: "nothing"},
	{name: "favicon", path: "/favicon.ico"},
	{name: "root", path: "/", query: "code=stolen&state=STATE"},
	{name: "below", path: "/callback/", query: "code=stolen&state=STATE"},
	{name: "another path", path: "/callback2", query: "code=stolen&state=STATE"},
	{name: "encoded path", path: "/%63allback", query: "code=stolen&state=STATE"},
	{name: "another host", query: "code=stolen&state=STATE", host: "evil.example"},
	{name: "another name of this host", query: "code=stolen&state=STATE", host: "localhost"},
	{name: "another port", query: "code=stolen&state=STATE", host: "127.0.0.1:1"},
	{name: "no port", query: "code=stolen&state=STATE", host: "127.0.0.1"},
	{name: "script of a page", query: "code=stolen&state=STATE", header: http.Header{"Origin": {"https://evil.example"}}},
	{name: "script of a local page", query: "code=stolen&state=STATE", header: http.Header{"Origin": {"http://localhost:3000"}}},
	{name: "HEAD", method: http.MethodHead, query: "code=stolen&state=STATE"},
	{name: "POST of another page", method: http.MethodPost, query: "code=stolen&state=STATE", header: http.Header{"Origin": {"https://evil.example"}}},
	{name: "POST of a script", method: http.MethodPost, query: "code=stolen&state=STATE", header: http.Header{"Sec-Fetch-Mode": {"no-cors"}}},
	{name: "POST without state", method: http.MethodPost, query: "code=stolen"},
	{name: "POST, wrong state", method: http.MethodPost, query: "code=stolen&state=AAAA"},
	{name: "OPTIONS", method: http.MethodOptions, query: "code=stolen&state=STATE"},
	{name: "PUT", method: http.MethodPut, query: "code=stolen&state=STATE"},
	{name: "markup", query: "error=" + url.QueryEscape(`<script>alert(1)</script>`)},
}

// send makes the stranger's request and returns the status and the page.
func (s stranger) send(t testing.TB, redirectURI, state, issuer string) (int, string) {
	t.Helper()
	u, err := url.Parse(redirectURI)
	if err != nil {
		t.Fatal(err)
	}
	if s.path != "" {
		u, err = u.Parse(s.path)
		if err != nil {
			t.Fatal(err)
		}
	}
	u.RawQuery = strings.NewReplacer("STATE", state, "ISSUER", url.QueryEscape(issuer)).Replace(s.query)
	req, err := http.NewRequest(s.method, u.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = s.host
	if s.header != nil {
		req.Header = s.header
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Errorf("%s: %v", s.name, err)
		return 0, ""
	}
	return resp.StatusCode, testenv.Body(t, resp)
}

// Strangers at the listener neither end a login nor complete it, whatever they
// bring, and however many they are.
func TestStrangersAtTheListener(t *testing.T) {
	for _, s := range append(strangers, stranger{name: "all of them"}) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := testenv.New(t, lab.Habits{})
			c := w.Browser(func(ctx context.Context, rawURL string) error {
				redirectURI, state := testenv.RedirectURI(t, rawURL)
				crowd := []stranger{s}
				if s.name == "all of them" {
					crowd = append(append([]stranger(nil), strangers...), strangers...)
				}
				for _, one := range crowd {
					status, page := one.send(t, redirectURI, state, w.Lab.Issuer())
					if status < 400 || strings.Contains(page, "signed in") {
						t.Errorf("%s: a stranger got status %d:\n%s", one.name, status, page)
					}
					if strings.Contains(page, "<script>alert") || strings.Contains(page, state) {
						t.Errorf("%s: the page repeats a parameter", one.name)
					}
				}
				go lab.Browse(context.WithoutCancel(ctx), rawURL)
				return nil
			})
			w.MustLogin(c)
			w.MustCall(c)
			w.WantTabs(1)
			w.WantCounts(map[string]int{"token:code": 1})
		})
	}
}

// The callback of an earlier login is a stranger's in a later one.
func TestReplayedCallback(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	finals := make(chan string, 1)
	replay := ""
	c := w.Browser(func(ctx context.Context, rawURL string) error {
		if replay != "" {
			old := stranger{name: "replay", query: replay}
			redirectURI, _ := testenv.RedirectURI(t, rawURL)
			if status, page := old.send(t, redirectURI, "", ""); status < 400 || strings.Contains(page, "signed in") {
				t.Errorf("a replayed callback got status %d:\n%s", status, page)
			}
		}
		go func() {
			final, err := lab.Browse(context.WithoutCancel(ctx), rawURL)
			if err != nil {
				t.Error(err)
			}
			finals <- final
		}()
		return nil
	})
	w.MustLogin(c)
	_, replay, _ = strings.Cut(<-finals, "?")
	if !strings.Contains(replay, "code=") {
		t.Fatalf("the browser ended at %q", replay)
	}
	w.MustLogin(c)
	<-finals
	w.WantTabs(2)
}

// A wrong issuer at the listener ends the login, and the page does not claim success.
func TestWrongIssuerAtTheListener(t *testing.T) {
	for _, iss := range []string{lab.IssWrong, lab.IssStray, lab.IssMissing} {
		t.Run(iss, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{Iss: iss})
			pages := make(chan string, 1)
			c := w.Browser(func(_ context.Context, rawURL string) error {
				go func() {
					resp, err := http.Get(rawURL)
					if err != nil {
						t.Error(err)
						pages <- ""
						return
					}
					pages <- testenv.Body(t, resp)
				}()
				return nil
			})
			testenv.WantKind(t, w.Login(c), handstamp.ErrProtocol)
			w.WantCounts(map[string]int{"token:code": 0})
			if page := <-pages; page == "" || strings.Contains(page, "signed in.") {
				t.Errorf("the page:\n%s", page)
			}
		})
	}
}

// The page claims success only after the login, and repeats no text of the server as
// markup.
func TestCallbackPage(t *testing.T) {
	for name, test := range map[string]struct {
		fault *lab.Fault
		good  bool
	}{
		"good":     {good: true},
		"rejected": {fault: &lab.Fault{Kind: lab.FaultStatus, Status: 400, ContentType: "application/json", Body: `{"error":"invalid_request","error_description":"<img src=x onerror=alert(1)>"}`}},
	} {
		t.Run(name, func(t *testing.T) {
			w := testenv.New(t, lab.Habits{})
			if test.fault != nil {
				w.Lab.SetFault("token", *test.fault)
			}
			gate := w.Lab.Hold("token:code:received")
			responses := make(chan *http.Response, 1)
			c := w.Browser(func(_ context.Context, rawURL string) error {
				go func() {
					resp, err := http.Get(rawURL)
					if err != nil {
						t.Error(err)
					}
					responses <- resp
				}()
				return nil
			})
			done := make(chan error, 1)
			go func() { done <- w.Login(c) }()
			if _, err := gate.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			select {
			case <-responses:
				t.Fatal("the page was there before the code was redeemed")
			default:
			}
			gate.Release()
			if err := <-done; (err == nil) != test.good {
				t.Errorf("login: %v", err)
			}
			resp := <-responses
			page := testenv.Body(t, resp)
			if strings.Contains(page, "signed in") != test.good || strings.Contains(page, "<img") {
				t.Errorf("the page:\n%s", page)
			}
			for header, want := range map[string]string{
				"Content-Security-Policy": "default-src 'none'", "Referrer-Policy": "no-referrer",
				"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
			} {
				if got := resp.Header.Get(header); !strings.Contains(got, want) {
					t.Errorf("%s: %q, want %q", header, got, want)
				}
			}
			if !strings.Contains(page, "replaceState") {
				t.Error("the code stays in the browser's history")
			}
		})
	}
}

// No address but one that may be opened reaches a browser.
func TestAddressForTheBrowser(t *testing.T) {
	w := testenv.New(t, lab.Habits{})
	e := testenv.NewAttacker(t, w.Lab)
	for _, address := range append(wrongAddresses,
		"https://BAD/$(touch x)", "https://BAD/'x'", "https://BAD/x;calc.exe'", "-https://BAD/", "--new-window=https://BAD/", "https://-x/",
		"https://BAD/%0d%0ax\u2028", "https://[fe80::1%25eth0]/", "https://b\u0430d.example/", "http://127.1/x", "http://[::ffff:127.0.0.1]/x",
	) {
		t.Run(fmt.Sprintf("%.40q", address), func(t *testing.T) {
			c := w.Browser(func(_ context.Context, rawURL string) error {
				t.Errorf("opened %s", rawURL)
				return errors.New("no")
			})
			c.Prompt.Show = func(_ context.Context, r handstamp.AuthorizationRequest) { t.Errorf("showed %s", r.URL) }
			line := testenv.NewRecorder(http.DefaultTransport)
			c.BaseTransport, c.AuthTransport = line, line
			line.OnJSON(testenv.AtServer, func(document map[string]any) { document["authorization_endpoint"] = fill(w, e, address) })
			testenv.WantKind(t, w.Login(c), handstamp.ErrProtocol)
		})
	}
	e.WantSilence()
	w.WantTabs(0)

	// What servers and users may say in all the other places is encoded.
	const poison = "x\" 'y'`z`$(touch x);&|<>\\%0a\u202e#é -"
	for name, set := range map[string]func(c *handstamp.Client){
		"client id": func(c *handstamp.Client) {
			w.Lab.RegisterClient(lab.ConfiguredClient{ID: poison})
			c.Registration = &handstamp.Registration{ClientID: poison}
		},
		"scope":      func(c *handstamp.Client) { c.Scopes = []string{poison} },
		"resource":   func(c *handstamp.Client) { c.Resource = poison },
		"parameters": func(c *handstamp.Client) { c.ExtraAuthParams = url.Values{poison: {poison}} },
	} {
		t.Run(name, func(t *testing.T) {
			opened := ""
			c := w.Browser(func(_ context.Context, rawURL string) error {
				opened = rawURL
				return errors.New("no")
			})
			set(c)
			testenv.WantKind(t, w.Login(c), handstamp.ErrLoginRequired)
			if opened == "" || browser.Check(opened) != nil {
				t.Errorf("opened %q: %v", opened, browser.Check(opened))
			}
			u, err := url.Parse(opened)
			if err != nil || !strings.Contains(fmt.Sprint(u.Query()), poison) {
				t.Errorf("the value did not survive: %v, %v", u.Query(), err)
			}
		})
	}
}
