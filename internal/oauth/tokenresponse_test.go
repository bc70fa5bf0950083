package oauth

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
)

func responseOf(status int, contentType, body string) *RawResponse {
	return &RawResponse{Status: status, ContentType: contentType, Header: http.Header{}, Body: Secret(body), ReceivedAt: time.Now()}
}

// TestExpiresIn: whatever expires_in is, the tokens are kept.
func TestExpiresIn(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, tc := range []struct {
		json string // "": omitted
		want time.Duration
	}{
		{"", 0},
		{`3600`, time.Hour},
		{`"3600"`, time.Hour},
		{`" 3600 "`, time.Hour},
		{`3600.0`, time.Hour},
		{`"3600.5"`, time.Hour + 500*time.Millisecond},
		{`3.6e3`, time.Hour},
		{`""`, 0},
		{`null`, 0},
		{`0`, 0},
		{`"0"`, 0},
		{`-1`, 0},
		{`1000000000`, year},
		{`12345678901234567890`, year},
		{`1e999`, 0},
		{`true`, 0},
		{`[3600]`, 0},
		{`{"seconds":3600}`, 0},
		{`"1h"`, 0},
		{`"NaN"`, 0},
		{`"Infinity"`, 0},
		{`"0x10"`, 0},
	} {
		body := `{"access_token":"A","refresh_token":"R"}`
		if tc.json != "" {
			body = `{"access_token":"A","expires_in":` + tc.json + `,"refresh_token":"R"}`
		}
		token, err := ParseTokenResponse(responseOf(200, "application/json", body))
		if err != nil {
			t.Errorf("expires_in %s: %v", tc.json, err)
			continue
		}
		if token.ExpiresIn != tc.want || token.AccessToken != "A" || token.RefreshToken != "R" {
			t.Errorf("expires_in %s: %v, refresh token %v; want %v and the refresh token", tc.json, token.ExpiresIn, token.RefreshToken != "", tc.want)
		}
	}
}

// TestBodyShapes: how servers wrap one and the same response.
func TestBodyShapes(t *testing.T) {
	const plain = `{"access_token":"A","token_type":"Bearer","refresh_token":"R","scope":"a b"}`
	const form = "access_token=A&token_type=bearer&refresh_token=R&scope=a+b"
	for _, tc := range []struct{ name, contentType, body string }{
		{"JSON", "application/json", plain},
		{"JSON with a charset", "application/json;charset=UTF-8", plain},
		{"JSON as text", "text/plain", plain},
		{"JSON as HTML", "text/html", plain},
		{"JSON as a form", "application/x-www-form-urlencoded", plain},
		{"JSON without a type", "", plain},
		{"JSON with a malformed type", ";;;", plain},
		{"byte order mark", "application/json", "\ufeff" + plain},
		{"space around", "application/json", "\r\n\t " + plain + " \n"},
		{"trailing garbage", "application/json", plain + "<!-- served by node 7 -->"},
		{"two values", "application/json", plain + `{"access_token":"B","refresh_token":"S"}`},
		{"form", "application/x-www-form-urlencoded", form},
		{"form as text", "text/plain; charset=utf-8", form},
		{"form as JSON", "application/json", form + "\n"},
		{"form with broken pairs", "application/x-www-form-urlencoded", "x=%zz&=&y&" + form},
		{"repeated names", "application/json", `{"access_token":"B","refresh_token":"S",` + plain[1:]},
		{"repeated names that say nothing", "application/json", plain[:len(plain)-1] + `,"access_token":null,"refresh_token":""}`},
		{"names in another case beside", "application/json", plain[:len(plain)-1] + `,"REFRESH_TOKEN":"S","Access_Token":"B"}`},
		{"escaped names", "application/json", strings.Replace(plain, "refresh_token", `refresh\u005ftoken`, 1)},
		{"unknown members of any kind", "application/json", `{"x":[{"refresh_token":"S"}],"y":1e999,"z":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `,` + plain[1:]},
		{"invalid UTF-8 elsewhere", "application/json", "{\"x\":\"\xff\"," + plain[1:]},
		{"a null error", "application/json", `{"error":null,"error_description":"",` + plain[1:]},
		{"ok: true", "application/json", `{"ok":true,` + plain[1:]},
		{"type in an array", "application/json", strings.Replace(plain, `"Bearer"`, `["bearer"]`, 1)},
		{"type in capitals", "application/json", strings.Replace(plain, `Bearer`, `BEARER`, 1)},
		{"null type", "application/json", strings.Replace(plain, `"Bearer"`, `null`, 1)},
		{"no type", "application/json", strings.Replace(plain, `"token_type":"Bearer",`, ``, 1)},
		{"scope in an array", "application/json", strings.Replace(plain, `"a b"`, `["a","b"]`, 1)},
		{"scope with spaces", "application/json", strings.Replace(plain, `"a b"`, `" a  b "`, 1)},
		{"created", "application/json", plain},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status := 200
			if tc.name == "created" {
				status = 201
			}
			token, err := ParseTokenResponse(responseOf(status, tc.contentType, tc.body))
			if err != nil {
				t.Fatal(err)
			}
			if token.AccessToken != "A" || token.RefreshToken != "R" || token.TokenType != "Bearer" || token.Scope != "a b" || !token.ScopePresent || token.Partial {
				t.Errorf("access %q, refresh %q, type %q, scope %q (%v), partial %v",
					token.AccessToken.Reveal(), token.RefreshToken.Reveal(), token.TokenType, token.Scope, token.ScopePresent, token.Partial)
			}
		})
	}
}

func TestScopeMember(t *testing.T) {
	for _, tc := range []struct {
		json, want string
		present    bool
	}{
		{`null`, "", false}, {`""`, "", false}, {`7`, "", false}, {`{}`, "", false},
		{`[]`, "", true}, {`"a"`, "a", true}, {`["a b","c"]`, "a b c", true}, {`"repo,gist"`, "repo gist", true}, {`"a \u0000 b"`, "a b", true},
	} {
		token, err := ParseTokenResponse(responseOf(200, "", `{"access_token":"A","scope":`+tc.json+`}`))
		if err != nil || token.Scope != tc.want || token.ScopePresent != tc.present {
			t.Errorf("scope %s: %q, present %v (%v); want %q, %v", tc.json, token.Scope, token.ScopePresent, err, tc.want, tc.present)
		}
	}
}

// A scope is shown and logged: what repeats a token is not part of it.
func TestScopeThatRepeatsAToken(t *testing.T) {
	const tokens = `{"access_token":"the-access-token","refresh_token":"the-refresh-token","id_token":"the-id-token",`
	for scope, want := range map[string]string{
		"mcp the-refresh-token": "mcp", "mcp:the-access-token mcp": "mcp", "the-id-token": "",
		"mcp the access token": "mcp the access token",
	} {
		token, err := ParseTokenResponse(responseOf(200, "", tokens+`"scope":"`+scope+`"}`))
		if err != nil || token.Scope != want || !token.ScopePresent {
			t.Errorf("scope %s: %q, present %v (%v)", scope, token.Scope, token.ScopePresent, err)
		}
	}
}

// TestTokenErrors: which responses are errors, which are transient, and which tokens are kept
// in spite of either.
func TestTokenErrors(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		ctype  string
		body   string
		want   string // as errorKind names it
		kept   string // access and refresh token, if there is a response all the same
	}{
		{"RFC 6749 error", 400, "application/json", `{"error":"invalid_grant","error_description":"gone"}`, "invalid_grant grant", ""},
		{"error with 200", 200, "application/json", `{"error":"bad_refresh_token"}`, "bad_refresh_token grant", ""},
		{"Slack's error with 200", 200, "application/json", `{"ok":false,"error":"invalid_refresh_token"}`, "invalid_refresh_token grant", ""},
		{"ok: false alone", 200, "application/json", `{"ok":false}`, " other", ""},
		{"ok: false with 400", 400, "application/json", `{"ok":false}`, " other", ""},
		{"form error with 200", 200, "application/x-www-form-urlencoded", "error=incorrect_client_credentials&error_description=x+y", "incorrect_client_credentials client", ""},
		{"Supabase's error", 400, "application/json", `{"code":400,"error_code":"refresh_token_not_found","msg":"Invalid Refresh Token"}`, "refresh_token_not_found grant", ""},
		{"Supabase's missing secret", 422, "application/json", `{"message":"Required parameter: client_secret"}`, " client", ""},
		{"error with 500", 500, "application/json", `{"error":"server_error"}`, "server_error transient", ""},
		{"grant error with 500", 500, "application/json", `{"error":"invalid_grant"}`, "invalid_grant grant", ""},
		{"cut-off error", 400, "application/json", `{"error":"invalid_grant","error_descr`, "invalid_grant grant", ""},
		{"error in another case", 400, "application/json", `{"Error":"invalid_grant"}`, "invalid_grant grant", ""},
		{"error that is an object", 400, "application/json", `{"error":{"code":"invalid_grant"}}`, "invalid_grant grant", ""},
		{"empty 401", 401, "", "", " other", ""},
		{"empty 400", 400, "", " \n", " other", ""},
		{"empty 404", 404, "", "", "transient", ""},
		{"empty 200", 200, "", "", "transient", ""},
		{"no content", 204, "", "", "transient", ""},
		{"firewall's page", 403, "text/html", "<html>blocked", "transient", ""},
		{"page without its type", 401, "", "<!DOCTYPE html>", "transient", ""},
		{"captive portal", 200, "text/html", "<html>sign in", "transient", ""},
		{"text", 400, "text/plain", "bad request", "transient", ""},
		{"JSON that names nothing", 400, "application/json", `{"message":"nope"}`, " other", ""},
		{"JSON that gives no reason", 400, "application/json", `{"request_id":"7"}`, "transient", ""},
		{"JSON array", 200, "application/json", `[{"access_token":"A"}]`, "transient", ""},
		{"JSON string", 200, "application/json", `"access_token=A"`, "transient", ""},
		{"JSON without a token", 200, "application/json", `{"hello":1}`, "transient", ""},
		{"unavailable", 503, "text/html", "<html>", "transient", ""},
		{"too many", 429, "application/json", `{}`, "transient", ""},
		{"redirect with tokens in it", 302, "application/json", `{"access_token":"EVIL","refresh_token":"EVIL"}`, "transient", ""},
		{"redirect with an error in it", 307, "application/json", `{"error":"invalid_grant"}`, "transient", ""},
		{"tokens with the status of an error", 400, "application/json", `{"access_token":"A","refresh_token":"R"}`, "transient", ""},

		{"refresh token alone", 200, "application/json", `{"refresh_token":"R"}`, "protocol", " R"},
		{"refresh token, then the end", 200, "application/json", `{"refresh_token":"R","acc`, "transient", " R"},
		{"the end before any token", 200, "application/json", `{"access_tok`, "in doubt", ""},
		{"malformed access token", 200, "application/json", `{"access_token":"A\r\nX: 1","refresh_token":"R"}`, "protocol", " R"},
		{"malformed access token alone", 200, "application/json", `{"access_token":"A\u0000"}`, "protocol", ""},
		{"access token that is no text", 200, "application/json", `{"access_token":{"x":1},"refresh_token":"R"}`, "protocol", " R"},
		{"placeholder for an access token", 200, "application/json", `{"access_token":"[redacted]","refresh_token":"R"}`, "protocol", " R"},
		{"placeholder for a refresh token", 200, "application/json", `{"access_token":"A","refresh_token":"[redacted]"}`, "protocol", "A "},
		{"malformed refresh token", 200, "application/json", "{\"access_token\":\"A\",\"refresh_token\":\"R\xff\"}", "protocol", "A "},
		{"false in place of a refresh token", 200, "application/json", `{"access_token":"A","refresh_token":false}`, "ok", "A "},
		{"no list of refresh tokens", 200, "application/json", `{"access_token":"A","refresh_token":[]}`, "ok", "A "},
		{"a list of refresh tokens", 200, "application/json", `{"access_token":"A","refresh_token":["R"]}`, "protocol", "A "},
		{"malformed refresh token alone", 200, "application/json", "{\"refresh_token\":\"R\xff\"}", "protocol", ""},
		{"token of 64 KiB", 200, "application/json", `{"access_token":"` + strings.Repeat("x", 64<<10) + `","refresh_token":"R"}`, "protocol", " R"},
		{"another type", 200, "application/json", `{"access_token":"A","token_type":"mac","refresh_token":"R"}`, "protocol", "A R"},
		{"no type at all", 200, "application/json", `{"access_token":"A","token_type":"N_A","refresh_token":"R"}`, "protocol", "A R"},
		{"error beside tokens that were issued", 200, "application/json", `{"access_token":"A","refresh_token":"R","error":"none"}`, "ok", "A R"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			token, err := ParseTokenResponse(responseOf(tc.status, tc.ctype, tc.body))
			if got := errorKind(false, err); got != tc.want {
				t.Errorf("got %q (%v), want %q", got, err, tc.want)
			}
			kept := ""
			if token != nil {
				kept = token.AccessToken.Reveal() + " " + token.RefreshToken.Reveal()
			}
			if kept != tc.kept {
				t.Errorf("kept %q, want %q", kept, tc.kept)
			}
			if err != nil && (strings.Contains(err.Error(), "EVIL") || strings.Contains(err.Error(), "X: 1") || strings.Contains(err.Error(), "sign in")) {
				t.Errorf("error %q shows the body", err)
			}
		})
	}
}

func TestTokenRetryAfter(t *testing.T) {
	a := responseOf(503, "", "")
	a.Header.Set("Retry-After", "30")
	_, err := ParseTokenResponse(a)
	if te, ok := errtype.As[*TransientError](err); !ok || te.RetryAfter != 30*time.Second || te.Status != 503 {
		t.Errorf("%#v", err)
	}
	a = responseOf(400, "", `{"error":"slow_down"}`)
	a.Header.Set("Retry-After", "2")
	_, err = ParseTokenResponse(a)
	if e, ok := errtype.As[*Error](err); !ok || e.RetryAfter != 2*time.Second || e.Endpoint != "token" {
		t.Errorf("%#v", err)
	}
	a.Header = nil // as from a stored response
	if _, err = ParseTokenResponse(a); errorKind(false, err) != "slow_down transient" {
		t.Errorf("without headers: %v", err)
	}
}

// TestTokenBytes puts each byte into an access token, raw and escaped. Only what
// can stand in a header is let through, and the refresh token is kept.
func TestTokenBytes(t *testing.T) {
	for c := range 0x100 {
		bodies := map[string]string{
			"escaped": fmt.Sprintf(`{"access_token":"A\u%04xZ","refresh_token":"R"}`, c),
			"form":    "access_token=A" + fmt.Sprintf("%%%02x", c) + "Z&refresh_token=R",
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			bodies["raw"] = "{\"access_token\":\"A" + string([]byte{byte(c)}) + "Z\",\"refresh_token\":\"R\"}"
		}
		for kind, body := range bodies {
			token, err := ParseTokenResponse(responseOf(200, "", body))
			if token == nil || token.RefreshToken != "R" {
				t.Fatalf("%#02x %s: the refresh token is lost: %v", c, kind, err)
			}
			want := c > 0x20 && c < 0x7f
			if got := token.AccessToken.Reveal() == "A"+string(rune(c))+"Z"; got != want || (err == nil) != want {
				t.Errorf("%#02x %s: token %q, error %v; want it taken: %v", c, kind, token.AccessToken.Reveal(), err, want)
			}
		}
	}
}

// TestTruncatedForm: the last value of a form that ended early is not whole.
func TestTruncatedForm(t *testing.T) {
	const body = "access_token=A2&refresh_token=R2&scope=a"
	for n := range len(body) {
		a := responseOf(200, "", body[:n])
		a.Truncated = true
		token, err := ParseTokenResponse(a)
		if n <= len("access_token=A2") {
			if token != nil || errorKind(false, err) != "in doubt" {
				t.Errorf("cut at %d: %v, %v", n, token, err)
			}
			continue
		}
		want := ""
		if n > len("access_token=A2&refresh_token=R2") {
			want = "R2"
		}
		if err != nil || token.AccessToken != "A2" || token.RefreshToken.Reveal() != want || !token.Partial {
			t.Errorf("cut at %d: %+v, %v", n, token, err)
		}
	}
}

// FuzzParseToken: a refresh token that a strict decoder finds in a success is
// found, and one that is found is never a part of one.
func FuzzParseToken(f *testing.F) {
	for _, body := range []string{
		`{"access_token":"A","token_type":"Bearer","expires_in":3600,"refresh_token":"R","scope":"a b"}`,
		"\ufeff{\"access_token\":\"A\",\"expires_in\":\"x\",\"refresh_token\":\"R\"}garbage",
		"access_token=A&refresh_token=R%20&scope=repo%2Cgist", `{"error":"invalid_grant"}`, `<html>`, `[]`, `{"refresh_token":"R","refresh_token":""}`,
		`{"a":{"b":[1,2,{"refresh_token":"S"}]},"refresh_token":"R"}`, `{"refresh_token":1e5}`,
	} {
		f.Add(200, body, false)
	}
	f.Add(503, `{"error":"server_error"}`, true)
	f.Fuzz(func(t *testing.T, status int, body string, truncated bool) {
		a := responseOf(status, "", body)
		a.Truncated = truncated
		token, err := ParseTokenResponse(a)
		if token == nil && err == nil {
			t.Fatal("neither a response nor an error")
		}
		if token != nil {
			if status/100 != 2 {
				t.Fatalf("a response with status %d", status)
			}
			if token.AccessToken == "" && err == nil {
				t.Fatal("no access token and no error")
			}
			if !isHeaderSafe(token.AccessToken.Reveal()) || !isVisible(token.RefreshToken.Reveal()) || token.ExpiresIn < 0 || token.ExpiresIn > maxLife {
				t.Fatalf("a malformed response: %q", body)
			}
		}
		if status/100 != 2 {
			return
		}
		want, ok := strictRefreshToken(body)
		if ok && (token == nil || token.RefreshToken.Reveal() != want) {
			t.Fatalf("%q: the refresh token is lost: %v", body, err)
		}
	})
}

// strictRefreshToken returns the refresh token that encoding/json finds in an
// response that says nothing of an error.
func strictRefreshToken(body string) (string, bool) {
	var doc map[string]json.RawMessage
	if json.Unmarshal([]byte(body), &doc) != nil {
		return "", false
	}
	for _, name := range []string{"error", "error_code", "ok"} {
		if _, there := doc[name]; there {
			return "", false
		}
	}
	var refresh string
	if json.Unmarshal(doc["refresh_token"], &refresh) != nil {
		return "", false
	}
	return refresh, refresh != "" && isVisible(refresh) && len(refresh) <= maxTokenBytes
}

// Apigee's name of the type, and others that can mean nothing else, are Bearer.
func TestTokenTypesThatMeanBearer(t *testing.T) {
	for _, name := range []string{"BearerToken", "bearer_token", "Bearer Token", " bearer "} {
		body := `{"access_token":"A","token_type":"` + name + `","expires_in":"3599","scope":"","status":"approved"}`
		token, err := ParseTokenResponse(responseOf(200, "application/json", body))
		if err != nil || token.TokenType != "Bearer" || token.AccessToken.Reveal() != "A" {
			t.Errorf("%q: %v, %v", name, token, err)
		}
	}
}

// TestSlackTokenResponses: token types that say whose token it is, the user's token in
// an object of its own, and scopes with commas between them.
func TestSlackTokenResponses(t *testing.T) {
	for _, tc := range []struct{ name, body, access, refresh, scope string }{
		{"user", `{"ok":true,"access_token":"A","token_type":"user","scope":"chat:write,users:read","refresh_token":"R"}`,
			"A", "R", "chat:write users:read"},
		{"bot", `{"ok":true,"access_token":"A","token_type":"bot","scope":"a, b ,c"}`, "A", "", "a b c"},
		{"nested", `{"ok":true,"app_id":"X","authed_user":{"id":"U","scope":"a,b","access_token":"A","refresh_token":"R","token_type":"user","expires_in":43200},"team":{"id":"T"}}`,
			"A", "R", "a b"},
		{"nested beside a token without scopes", `{"ok":true,"access_token":"B","token_type":"bot","scope":"","refresh_token":"S","authed_user":{"scope":"a","access_token":"A","token_type":"user"}}`,
			"A", "", "a"},
		{"nested beside a token with scopes", `{"ok":true,"access_token":"A","token_type":"bot","scope":"a","authed_user":{"scope":"b","access_token":"B"}}`,
			"A", "", "a"},
		{"nested without a token", `{"ok":true,"access_token":"A","scope":"","authed_user":{"id":"U"}}`, "A", "", ""},
		{"wrapped by another server", `{"refresh_token":"R","data":{"access_token":"A","token_type":"bearer","scope":"a b"}}`, "A", "R", "a b"},
	} {
		token, err := ParseTokenResponse(responseOf(200, "application/json", tc.body))
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if token.AccessToken != Secret(tc.access) || token.RefreshToken != Secret(tc.refresh) || token.Scope != tc.scope || token.TokenType != "Bearer" {
			t.Errorf("%s: access token right %v, refresh token right %v, scope %q, type %q", tc.name,
				token.AccessToken == Secret(tc.access), token.RefreshToken == Secret(tc.refresh), token.Scope, token.TokenType)
		}
	}
	for _, body := range []string{`{"ok":false,"error":"invalid_grant","authed_user":{"id":"U"}}`, `{"authed_user":{"access_token":{}}}`, `{"access_token":"A","token_type":"DPoP"}`} {
		if token, err := ParseTokenResponse(responseOf(200, "application/json", body)); err == nil {
			t.Errorf("%s: a token of type %q", body, token.TokenType)
		}
	}
}

// TestChallengeScopesWithCommas: a challenge is read like a token response.
func TestChallengeScopesWithCommas(t *testing.T) {
	h := http.Header{"Www-Authenticate": {`Bearer scope="repo,read:org, user"`}}
	if got := ParseBearerChallenge(h).Scope; got != "repo read:org user" {
		t.Errorf("scope %q", got)
	}
}

// TestScopesSupportedAsText: a list that a server writes as one text has spaces or commas
// between its scopes.
func TestScopesSupportedAsText(t *testing.T) {
	for _, doc := range []string{`{"scopes_supported":"a b,c"}`, `{"scopes_supported":["a","b","c"]}`, `{"scopes_supported":["a b","c"]}`} {
		o, err := readDocument([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(scopeList(o, "scopes_supported"), " "); got != "a b c" {
			t.Errorf("%s: %q", doc, got)
		}
	}
}
