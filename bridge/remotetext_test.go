package bridge_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/bridge"
)

// rejected returns how a rejection of its request reaches the host.
func rejected(t *testing.T, o bridge.Options, reject func(w http.ResponseWriter, got request)) string {
	t.Helper()
	s := &forgetful{odd: func(w http.ResponseWriter, got request) bool {
		if got.method == "tools/call" {
			reject(w, got)
		}
		return got.method == "tools/call"
	}}
	o.URL = serve(t, s.ServeHTTP) + o.URL
	h := start(t, o)
	h.hello()
	h.send(toolCall(1))
	return h.response("1")
}

// TestServersWordsAreShown: what a server sends with a rejection reaches the host, whatever
// it is written in.
func TestServersWordsAreShown(t *testing.T) {
	for _, tt := range []struct{ kind, body, want string }{
		{"text/plain", "quota of your plan is used up\n", "quota of your plan is used up"},
		{"text/plain; charset=utf-8", "two\r\nlines\tand more", "two lines and more"},
		{"", "no type", "no type"},
		{"application/json", `{"error":"no such tenant"}`, "no such tenant"},
		{"application/json", `{"error":"insufficient_scope","error_description":"needs files:read"}`, "insufficient_scope: needs files:read"},
		{"application/json", `{"message":"upgrade \"now\" ü"}`, `upgrade "now" ü`},
		{"application/json", `{"detail":"Not allowed here"}`, "Not allowed here"},
		{"application/json", `{"detail":[{"loc":["body"],"msg":"field required"}]}`, "field required"},
		{"application/json", `{"error":{"code":403,"message":"API has not been used","status":"PERMISSION_DENIED"}}`, "API has not been used"},
		{"application/problem+json", `{"title":"Blocked","detail":"your address is blocked"}`, "your address is blocked"},
		{"application/json", `{"title":"Blocked"}`, "Blocked"},
		{"application/json", `"just a string"`, "just a string"},
		{"text/html", "<!DOCTYPE html><html><HEAD><Title>Attention &amp; care | <b>Cloud</b></TITLE></head><body><h1>Other</h1>", "Attention & care | Cloud"},
		{"text/html; charset=utf-8", "<html><body><h1 class=x>Blocked by policy</h1>", "Blocked by policy"},
		{"text/plain", "<html><title>Mislabelled</title>", "Mislabelled"},
		{"text/plain", "red \x1b[31malert\x1b[0m \a\u202e\u200b end\u009f", "red alert end"},
		{"text/plain", "\xff\xfe broken \xc3 bytes", "broken bytes"},
		{"text/plain", strings.Repeat("long ", 1000), strings.TrimSpace(strings.Repeat("long ", 60)) + "…"},
		{"image/png", "\x89PNG", ""},
		{"text/html", "<html><body>no title", ""},
		{"application/json", `{"error":`, ""},
		{"application/json", `[1]`, ""},
		{"text/plain", "Forbidden", ""},
		{"", "", ""},
	} {
		got := rejected(t, bridge.Options{}, rejects(403, tt.kind, tt.body))
		want := "the server returned HTTP status 403 (Forbidden)"
		if tt.want != "" {
			want += ": " + tt.want
		}
		var message string
		if err := json.Unmarshal([]byte(get(t, got, "error", "message")), &message); err != nil || message != want {
			t.Errorf("%s %q is shown as\n%q, not\n%q", tt.kind, tt.body, message, want)
		}
	}
}

// TestServersWordsHoldNoSecret has a server repeat what it was sent, in every form that is
// shown, and in the encodings that servers use.
func TestServersWordsHoldNoSecret(t *testing.T) {
	const token, key, password, inURL = "tok-4f9c2b7e1a8d6350cafe", "key-90817263545362718", "pa55-w0rd-correct-horse", "urlkey-a1b2c3d4e5f6"
	header := http.Header{"Authorization": {"Bearer " + token}, "X-Api-Key": {key}}
	basic := http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+password))}}
	secrets := []string{token, key, password, inURL}
	for _, header := range []http.Header{header, basic} {
		for _, words := range secrets {
			for _, encoded := range []string{
				words, strings.ToUpper(words), hex.EncodeToString([]byte(words)), url.QueryEscape(words),
				base64.StdEncoding.EncodeToString([]byte("user:" + words)), "Bearer " + words, words[2:] + "-more", strings.Join(strings.Split(words, ""), " "),
			} {
				for _, form := range []string{
					`text/plain|%`, `text/html|<title>%</title>`, `application/json|{"error":"%"}`, `application/json|{"error_description":"a % b"}`,
					`application/json|{"jsonrpc":"2.0","id":$ID,"error":{"code":-32001,"message":"bad %","data":{"sent":"%"}}}`,
					`application/json|{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"bad %","data":["%"]}}`,
				} {
					kind, body, _ := strings.Cut(form, "|")
					got := rejected(t, bridge.Options{Header: header, URL: "?key=" + inURL}, rejects(403, kind, strings.ReplaceAll(body, "%", encoded)))
					folded := strings.ToLower(strings.ReplaceAll(got, " ", ""))
					for _, secret := range secrets {
						if header.Get("X-Api-Key") == "" && (secret == token || secret == key) || header.Get("X-Api-Key") != "" && secret == password {
							continue // it was not sent
						}
						if strings.Contains(folded, secret) || strings.Contains(got, encoded) && secret == words {
							t.Errorf("%s: the host got %s", form, got)
						}
					}
				}
			}
		}
	}
}

// TestOldTokenIsNotShown: a server may repeat a token that an earlier request was sent with.
func TestOldTokenIsNotShown(t *testing.T) {
	const first = "first-4f9c2b7e1a8d6350cafe"
	tokens := []string{first, "second-77aa88bb99cc00dd11ee"}
	signed := roundTripper(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+tokens[0])
		return http.DefaultTransport.RoundTrip(r)
	})
	s := &forgetful{odd: func(w http.ResponseWriter, got request) bool {
		if got.method == "tools/call" {
			tokens = tokens[len(tokens)-1:]
			rejects(403, "text/plain", "expired: "+first)(w, got)
		}
		return got.method == "tools/call"
	}}
	h := start(t, bridge.Options{URL: serve(t, s.ServeHTTP), HTTP: &http.Client{Transport: signed}})
	h.hello()
	for _, id := range []string{"1", "2"} {
		h.send(`{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"x"}}`)
		if got := h.response(id); strings.Contains(got, first) || !strings.Contains(got, "expired: [redacted]") {
			t.Errorf("got %s", got)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestRejectionThatNeverEnds is shown without the words that do not come.
func TestRejectionThatNeverEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits the five seconds that a rejection is given")
	}
	h := start(t, bridge.Options{URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		got := readRequest(r)
		switch got.method {
		case "initialize":
			result(w, got.id, initialized)
		case "tools/call":
			w.WriteHeader(403)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		default:
			w.WriteHeader(http.StatusAccepted)
		}
	})})
	h.hello()
	h.send(toolCall(1))
	got := h.response("1")
	if !strings.Contains(got, "status 403 (Forbidden)") {
		t.Errorf("got %s", got)
	}
}

// TestServersErrorUnderAnotherStatus is handed on byte for byte, unless it repeats a secret.
func TestServersErrorUnderAnotherStatus(t *testing.T) {
	const body = `{"jsonrpc" : "2.0", "id":1, "error":{"code":-32601, "message":"M\u0065thod", "x":1.0}, "more":[1e400]}`
	if got := rejected(t, bridge.Options{}, rejects(404, "application/json", body)); got != body {
		t.Errorf("got %s", got)
	}
}
