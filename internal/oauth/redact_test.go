package oauth

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
)

const (
	echoSecret  = `Xq7+/p=Z&9"t%K vLm3:wR8`
	echoToken   = "rt.9fK2mQx7-Vb4_Tz6~Hc1WnJ8sLd3"
	echoCode    = "c0DeAbC123xyz-QRS789tuv"
	echoAccess  = "at-5Yh2Kd8Lm4Np6Qr9St1Uv3Wx"
	echoInitial = "iat-3Gf6Hj9Kl2Zx5Cv8Bn1Mq4We"
)

// repetitions are what servers make of a value that they repeat.
var repetitions = map[string]func(string) string{
	"raw":                 func(s string) string { return s },
	"upper case":          strings.ToUpper,
	"lower case":          strings.ToLower,
	"percent-encoded":     url.QueryEscape,
	"path-encoded":        url.PathEscape,
	"every byte as %XX":   func(s string) string { return eachByte(s, "%%%02X") },
	"hex":                 func(s string) string { return hex.EncodeToString([]byte(s)) },
	"upper-case hex":      func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	"hex with colons":     func(s string) string { return eachByte(s, "%02x:") },
	"base64":              func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64url":           func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"base64 within more":  func(s string) string { return base64.StdEncoding.EncodeToString([]byte("k=" + s + "!")) },
	"base64 within more'": func(s string) string { return base64.StdEncoding.EncodeToString([]byte("(" + s + ")")) },
	"base64 of the percent-encoded": func(s string) string {
		return base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(s)))
	},
	"percent-encoded base64": func(s string) string { return url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(s))) },
	"JSON":                   func(s string) string { b, _ := json.Marshal(s); return string(b) },
	"JSON in JSON":           func(s string) string { b, _ := json.Marshal(s); b, _ = json.Marshal(string(b)); return string(b) },
	"JSON escapes":           func(s string) string { return eachByte(s, `\u%04X`) },
	"a list of bytes":        func(s string) string { return fmt.Sprint([]byte(s)) },
	"prefix":                 func(s string) string { return s[:8] + "…" },
	"prefix of base64":       func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s))[:8] + "..." },
	"suffix":                 func(s string) string { return "…" + s[len(s)-8:] },
	"middle":                 func(s string) string { return "**" + s[4:14] + "**" },
	"in groups of four":      func(s string) string { return groups(s, 4, " ") },
	"one by one":             func(s string) string { return groups(s, 1, " ") },
	"over two lines":         func(s string) string { return groups(s, 11, "\r\n\t") },
	"invisibly divided":      func(s string) string { return groups(s, 3, "\u200b") },
	"quoted":                 func(s string) string { return "'" + s + "'" },
}

func eachByte(s, format string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, format, s[i])
	}
	return b.String()
}

func groups(s string, size int, between string) string {
	var b strings.Builder
	for i := range len(s) {
		if i > 0 && i%size == 0 {
			b.WriteString(between)
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// wantHidden fails the test if a text has a piece of what a server repeated. It
// compares letters and digits alone, and in blocks of eight.
func wantHidden(t *testing.T, shown, repeated string) {
	t.Helper()
	plain := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' {
				return r
			}
			return -1
		}, strings.ToLower(s))
	}
	shown, repeated = plain(strings.ReplaceAll(shown, "[redacted]", "|")), plain(repeated)
	for i := 0; i+8 <= len(repeated); i++ {
		if strings.Contains(shown, repeated[i:i+8]) {
			t.Errorf("%q is shown in %q", repeated[i:i+8], shown)
			return
		}
	}
}

// errorTexts returns all texts of an error and of its causes.
func errorTexts(err error) string {
	var b strings.Builder
	for ; err != nil; err = errors.Unwrap(err) {
		fmt.Fprintln(&b, err)
		if e, ok := err.(*Error); ok {
			fmt.Fprintln(&b, e.Code, e.Description)
		}
	}
	return b.String()
}

// A server that repeats a secret of the request, in whatever shape, does not get
// it into an error.
func TestServerThatRepeatsASecret(t *testing.T) {
	basic := ClientCredentials{ID: "app", Secret: echoSecret, Method: MethodBasic}
	post := ClientCredentials{ID: "app", Secret: echoSecret, Method: MethodPost}
	header := func(r *http.Request) string { return strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ") }
	exchange := func(req TokenRequest) func(f *Fetcher, endpoint string) error {
		return func(f *Fetcher, endpoint string) error {
			req.Endpoint = endpoint
			a, err := f.PostToken(t.Context(), req)
			if err == nil {
				_, err = ParseTokenResponse(a)
			}
			return err
		}
	}
	for name, c := range map[string]struct {
		send     func(f *Fetcher, endpoint string) error
		repeated func(r *http.Request) string
	}{
		"basic: header":    {exchange(TokenRequest{Client: basic, RefreshToken: echoToken}), header},
		"basic: secret":    {exchange(TokenRequest{Client: basic, RefreshToken: echoToken}), func(*http.Request) string { return echoSecret }},
		"post: secret":     {exchange(TokenRequest{Client: post, RefreshToken: echoToken}), func(r *http.Request) string { return r.Form.Get("client_secret") }},
		"refresh token":    {exchange(TokenRequest{Client: post, RefreshToken: echoToken}), func(r *http.Request) string { return r.Form.Get("refresh_token") }},
		"code":             {exchange(TokenRequest{Client: post, Code: echoCode, Verifier: "ver5If1er-0123456789abcdef"}), func(r *http.Request) string { return r.Form.Get("code") }},
		"verifier":         {exchange(TokenRequest{Client: post, Code: echoCode, Verifier: "ver5If1er-0123456789abcdef"}), func(r *http.Request) string { return r.Form.Get("code_verifier") }},
		"assertion":        {exchange(TokenRequest{Client: post, Code: echoCode, Extra: url.Values{"assertion": {echoAccess}}}), func(r *http.Request) string { return r.Form.Get("assertion") }},
		"revocation":       {func(f *Fetcher, u string) error { return f.Revoke(t.Context(), u, basic, nil, echoAccess, "") }, func(r *http.Request) string { return r.Form.Get("token") }},
		"revocation basic": {func(f *Fetcher, u string) error { return f.Revoke(t.Context(), u, basic, nil, echoAccess, "") }, header},
		"registration": {func(f *Fetcher, u string) error {
			_, err := f.Register(t.Context(), u, RegistrationRequest{InitialAccessToken: echoInitial})
			return err
		}, func(r *http.Request) string { return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") }},
		"registration's end": {func(f *Fetcher, u string) error { return f.DeleteRegistration(t.Context(), u, echoInitial) },
			func(r *http.Request) string { return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") }},
	} {
		t.Run(name, func(t *testing.T) {
			for shape, repeat := range repetitions {
				var repeated string
				s := serve(t, func(w http.ResponseWriter, r *http.Request) {
					r.ParseForm()
					repeated = repeat(c.repeated(r))
					body, _ := json.Marshal(map[string]string{
						"error": repeated, "error_description": "we do not like " + repeated + ".",
					})
					w.WriteHeader(http.StatusBadRequest)
					w.Write(body)
				})
				err := c.send(fetcher(t), s.URL)
				if _, ok := errtype.As[*Error](err); !ok || len(repeated) < 8 {
					t.Fatalf("%s: the server repeated %q, and the error is %v", shape, repeated, err)
				}
				t.Run(shape, func(t *testing.T) { wantHidden(t, errorTexts(err), repeated) })
			}
		})
	}
}

// A server whose very protocol is made of the secret is quoted by net/http.
func TestServerThatRepeatsASecretInItsStatusLine(t *testing.T) {
	endpoint, _ := rawServer(t, func(conn net.Conn, r *http.Request) {
		fmt.Fprintf(conn, "HTTP/1.1 %s\r\n\r\n", r.Header.Get("Authorization"))
	})
	f := fetcher(t)
	client := ClientCredentials{ID: "app", Secret: echoSecret, Method: MethodBasic}
	_, err := f.PostToken(t.Context(), TokenRequest{Endpoint: endpoint, Client: client, RefreshToken: echoToken})
	if lost, ok := errtype.As[*SendError](err); !ok || !lost.Sent {
		t.Errorf("the error is %v", err)
	}
	header := http.Header{}
	if err := client.Apply(header, url.Values{}); err != nil {
		t.Fatal(err)
	}
	wantHidden(t, errorTexts(err), strings.TrimPrefix(header.Get("Authorization"), "Basic "))
	_, err = f.Register(t.Context(), endpoint, RegistrationRequest{InitialAccessToken: echoInitial})
	if _, ok := errtype.As[*TransientError](err); !ok {
		t.Errorf("the error is %v", err)
	}
	wantHidden(t, errorTexts(err), echoInitial)
}

// What a response issues is not repeated either, by an error about that response.
func TestErrorDoesNotRepeatWhatWasIssued(t *testing.T) {
	for name, body := range map[string]string{
		"token type":  `{"access_token":"` + echoAccess + `","token_type":"Token ` + echoAccess + `"}`,
		"description": `{"error":"server_busy","error_description":"kept ` + echoAccess + `","refresh_token":"` + echoAccess + `","access_token":""}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseTokenResponse(&RawResponse{Status: 200, Body: Secret(body)})
			if err == nil && name == "token type" {
				t.Fatal("there is no error")
			}
			wantHidden(t, errorTexts(err), echoAccess)
		})
	}
}

// An authorization response that is an error does not show the code or the state.
func TestAuthorizationErrorDoesNotShowTheState(t *testing.T) {
	want := ExpectedCallback{State: NewState(), Issuer: "https://as.example"}
	for name, params := range map[string]url.Values{
		"error":       {"error": {"denied " + want.State.Reveal()}, "error_description": {echoCode}},
		"description": {"error": {"denied"}, "error_description": {"state " + want.State.Reveal() + " code " + echoCode}},
		"issuer":      {"error": {"denied"}, "iss": {"https://" + want.State.Reveal() + "/" + echoCode}},
	} {
		t.Run(name, func(t *testing.T) {
			params.Set("state", want.State.Reveal())
			params.Set("code", echoCode)
			_, err := ParseCallback(params, want)
			if err == nil {
				t.Fatal("there is no error")
			}
			wantHidden(t, errorTexts(err), want.State.Reveal())
			wantHidden(t, errorTexts(err), echoCode)
		})
	}
}

// A challenge that repeats the token gets it into no scope and no metadata URL.
func TestChallengeThatRepeatsTheToken(t *testing.T) {
	const url = "https://mcp.example/.well-known/oauth-protected-resource"
	header := http.Header{"Www-Authenticate": {`Bearer scope="read ` + echoAccess + ` write", error="invalid_token", error_description="no ` +
		echoAccess + `", resource_metadata="` + url + "?t=" + hex.EncodeToString([]byte(echoAccess)) + `"`}}
	got := ParseBearerChallenge(header).WithoutSecrets(echoAccess)
	want := BearerChallenge{Scope: "read write", Error: "invalid_token", Found: true}
	if got != want {
		t.Errorf("the challenge is %+v", got)
	}
	header.Set("WWW-Authenticate", `Bearer scope="read", resource_metadata="`+url+`"`)
	if got := ParseBearerChallenge(header); got.WithoutSecrets(echoAccess) != got || got.WithoutSecrets("") != got {
		t.Errorf("the challenge is %+v, without %+v", got, got.WithoutSecrets(echoAccess))
	}
}

// A challenge of many scopes takes no longer than a few times what one takes, whether they repeat the
// token or not: the server knows the token.
func TestChallengeOfManyScopesIsSearchedFast(t *testing.T) {
	token := Secret(strings.Repeat("eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9.", 25))
	took := func(scope string) time.Duration {
		b := BearerChallenge{Found: true, Scope: scope}
		least := time.Hour
		for range 5 { // each may be interrupted on a busy machine
			begun := time.Now()
			b.WithoutSecrets(token, echoAccess, echoSecret)
			least = min(least, time.Since(begun))
		}
		return least
	}
	one := took("aaaaaaaa")
	many := strings.Join(numbered("aaaaaaaa", 1000), " ")
	for _, scope := range []string{many, echoAccess + " " + many} {
		if all := took(scope); all > 100*one {
			t.Errorf("1,000 scopes took %v, one %v", all, one)
		}
	}
}

// What is not a secret stays readable: an error must go on telling what it means.
func TestErrorKeepsWhatIsNoSecret(t *testing.T) {
	for _, c := range []struct{ secret, text, want string }{
		{"refresh_token-8f3kd92", "refresh_token is invalid", "refresh_token is invalid"},
		{"refresh_token-8f3kd92", "refresh_token-8f3kd92 is invalid", "[redacted] is invalid"},
		{"secret", "client_secret is wrong: secret", "client_secret is wrong: [redacted]"},
		{"client-secret-of-app", "unknown client, or bad client secret", "unknown client, or bad client secret"},
		{"hunter2", "not hunter2, but hunter22", "not [redacted], but hunter22"},
		{"abc", "abc", "abc"},
		{echoToken, "the token 9fK2 has expired", "the token 9fK2 has expired"},
		{echoToken, "the token rt.9fK2mQx7 has expired", "the token [redacted] has expired"},
		{echoToken, "", ""},
	} {
		if got := (redactor{c.secret}).redact(c.text); got != c.want {
			t.Errorf("%q without %q is %q, want %q", c.text, c.secret, got, c.want)
		}
	}
	form, header := url.Values{"client_id": {"https://client.example/metadata.json"}, "scope": {"files:read files:write"}}, http.Header{}
	if err := (ClientCredentials{ID: "my-application-id", Secret: echoSecret, Method: MethodBasic}).Apply(header, form); err != nil {
		t.Fatal(err)
	}
	const text = "my-application-id may not have files:write at https://client.example/metadata.json"
	if got := redactorOf(form, header).redact(text); got != text {
		t.Errorf("the text is %q", got)
	}
}

// A huge text with huge secrets takes no time to speak of: to compare each place of the text with a whole
// secret would take minutes.
func TestRepeatedSecretsAreFoundFast(t *testing.T) {
	const n = 4096
	long := strings.Repeat("a1b2c3d4e5", 3*n)
	begun := time.Now()
	got := redactor{long, strings.Repeat("x", 16*n), echoToken}.redact(strings.Repeat("x", n<<10) + long)
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("a text of 4 MiB took %v", took)
	}
	if got != "[redacted]" {
		t.Errorf("the text is %.100q", got)
	}
}

// testProver makes proofs that are easy to find.
type testProver struct{ made int }

func (p *testProver) Proof(string, string, Secret) (string, error) {
	p.made++
	return fmt.Sprintf("c4n4ry-proof-%d-c4n4ry", p.made), nil
}

func (p *testProver) NoteNonce(string, http.Header) bool { return p.made == 1 }

// An error does not repeat a proof, whichever request it was of.
func TestErrorWithoutProofs(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			http.Redirect(w, r, "/moved", http.StatusTemporaryRedirect)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error":"invalid_dpop_proof","error_description":"not good: %s"}`, r.Header.Get("DPoP"))
	}))
	t.Cleanup(server.Close)
	f := &Fetcher{HTTP: by(http.DefaultTransport)}
	prover := &testProver{}
	raw, err := f.PostToken(t.Context(), TokenRequest{
		Endpoint: server.URL + "/token", RefreshToken: "r", Client: ClientCredentials{ID: "c", Method: MethodNone}, Prover: prover,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = ParseTokenResponse(raw)
	if err == nil || strings.Contains(err.Error(), "c4n4ry") || !strings.Contains(err.Error(), "not good") || prover.made != 2 {
		t.Errorf("after %d proofs: %v", prover.made, err)
	}
}
