package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/internal/errtype"
)

func TestPKCEAndState(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		p := NewPKCE()
		sum := sha256.Sum256([]byte(p.Verifier.Reveal()))
		if p.Challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
			t.Fatal("the challenge is not the verifier's")
		}
		for _, s := range []string{p.Verifier.Reveal(), NewState().Reveal()} {
			if len(s) != 43 || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" || seen[s] {
				t.Fatalf("%q is not 43 fresh characters", s)
			}
			seen[s] = true
		}
	}
}

func TestAuthorizationURL(t *testing.T) {
	base := AuthorizationRequest{
		Endpoint: "https://as.example/authorize", ClientID: "c", RedirectURI: "http://127.0.0.1:1/cb", State: "st", CodeChallenge: "ch",
	}
	required := url.Values{
		"response_type": {"code"}, "client_id": {"c"}, "redirect_uri": {"http://127.0.0.1:1/cb"}, "state": {"st"},
		"code_challenge": {"ch"}, "code_challenge_method": {"S256"},
	}
	with := func(more url.Values) url.Values {
		all := url.Values{}
		for _, v := range []url.Values{required, more} {
			for name, values := range v {
				all[name] = values
			}
		}
		return all
	}
	for _, tc := range []struct {
		name   string
		change func(*AuthorizationRequest)
		want   url.Values // nil: rejected
	}{
		{"bare", func(*AuthorizationRequest) {}, required},
		{"scope and resource", func(r *AuthorizationRequest) { r.Scope, r.Resource = "a b+c", "https://rs.example/mcp/?x=1&y" },
			with(url.Values{"scope": {"a b+c"}, "resource": {"https://rs.example/mcp/?x=1&y"}})},
		{"endpoint with a query", func(r *AuthorizationRequest) { r.Endpoint += "?tenant=t&p=1+2" }, with(url.Values{"tenant": {"t"}, "p": {"1 2"}})},
		{"endpoint with parameters of ours", func(r *AuthorizationRequest) {
			r.Endpoint += "?state=x&resource=y&client_id=z&redirect_uri=https://evil.example"
		}, required},
		{"extra", func(r *AuthorizationRequest) {
			r.Extra = url.Values{"prompt": {"consent"}, "state": {"x"}, "scope": {"x"}}
		}, with(url.Values{"prompt": {"consent"}})},
		{"no client", func(r *AuthorizationRequest) { r.ClientID = "" }, nil},
		{"no state", func(r *AuthorizationRequest) { r.State = "" }, nil},
		{"no challenge", func(r *AuthorizationRequest) { r.CodeChallenge = "" }, nil},
		{"no redirect URI", func(r *AuthorizationRequest) { r.RedirectURI = "" }, nil},
		{"malformed query", func(r *AuthorizationRequest) { r.Endpoint += "?a=%zz" }, nil},
		{"script", func(r *AuthorizationRequest) { r.Endpoint = "javascript:alert(1)//https://as.example" }, nil},
		{"too long", func(r *AuthorizationRequest) { r.Scope = strings.Repeat("x", maxURL) }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := base
			tc.change(&r)
			s, err := r.URL()
			if tc.want == nil {
				if err == nil {
					t.Errorf("got %q, want an error", s)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(u.Query(), tc.want) || !strings.HasPrefix(s, "https://as.example/authorize?") || strings.Contains(s, "+") {
				t.Errorf("got %s\nwant parameters %v", s, tc.want)
			}
		})
	}
}

// TestOpenerPayloads: whatever a hostile authorization endpoint is, the URL that
// reaches the browser is an https URL without a character that a shell acts on.
func TestOpenerPayloads(t *testing.T) {
	inject := []string{
		"$(calc)", "`calc`", "|calc", "&calc", ";calc", "'calc'", "\"calc\"", "\\calc", "\ncalc", "\r\ncalc", "\x00calc", "%0acalc", "^&calc",
		"<calc>", "{calc}", " calc", "--flag", "-flag", "%PATH%", "!calc!", "#calc", "~calc", "*calc*", "(calc)", "[calc]", "\u202ecalc", "\x1b[31m", "\x7f",
	}
	var endpoints []string
	for _, p := range inject {
		endpoints = append(endpoints,
			"https://as.example/"+p, "https://as.example/authorize?x="+p, "https://"+p+".example/authorize", "https://as.example"+p,
			p+"https://as.example/authorize", "https://"+p+"@as.example/", "https://as.example:"+p+"/", "http://as.example/"+p, "file:///"+p, "cmd:"+p)
	}
	endpoints = append(endpoints, badSchemes...)
	for _, e := range endpoints {
		r := AuthorizationRequest{Endpoint: e, ClientID: "c", RedirectURI: "http://127.0.0.1/cb", State: "s", CodeChallenge: "c"}
		s, err := r.URL()
		if err != nil {
			if s != "" && CheckEndpoint(s) == nil {
				t.Errorf("%q: a URL beside error %v", e, err)
			}
			continue
		}
		if !strings.HasPrefix(s, "https://") || strings.ContainsAny(s, " \"\\`<>{}|^\r\n\t\x00\x1b\x7f") || len(s) > maxURL {
			t.Errorf("%q became %q", e, s)
		}
	}
}

func TestParseCallback(t *testing.T) {
	const issuer = "https://as.example/tenant"
	promised := ExpectedCallback{State: "st", Issuer: issuer, IssSupported: true}
	silent := ExpectedCallback{State: "st", Issuer: issuer}
	type v = url.Values
	for _, tc := range []struct {
		name   string
		params url.Values
		want   ExpectedCallback
		result string // "code C", "stranger", or as errorKind names it
	}{
		// The four rows of iss promised or not, there or not; each for a code
		// and for an error.
		{"promised, there", v{"state": {"st"}, "code": {"C"}, "iss": {issuer}}, promised, "code C"},
		{"promised, missing", v{"state": {"st"}, "code": {"C"}}, promised, "protocol"},
		{"not promised, there", v{"state": {"st"}, "code": {"C"}, "iss": {issuer}}, silent, "code C"},
		{"not promised, wrong", v{"state": {"st"}, "code": {"C"}, "iss": {"https://evil.example"}}, silent, "protocol"},
		{"not promised, missing", v{"state": {"st"}, "code": {"C"}}, silent, "code C"},
		{"error, promised, there", v{"state": {"st"}, "error": {"access_denied"}, "iss": {issuer}}, promised, "access_denied other"},
		{"error, promised, missing", v{"state": {"st"}, "error": {"access_denied"}}, promised, "protocol"},
		{"error, not promised, wrong", v{"state": {"st"}, "error": {"access_denied"}, "iss": {"https://evil.example"}}, silent, "protocol"},
		{"error, not promised, missing", v{"state": {"st"}, "error": {"access_denied"}}, silent, "access_denied other"},
		{"empty issuer", v{"state": {"st"}, "code": {"C"}, "iss": {""}}, silent, "protocol"},
		{"issuer twice", v{"state": {"st"}, "code": {"C"}, "iss": {issuer, issuer}}, promised, "protocol"},
		{"issuer that cannot be compared", v{"state": {"st"}, "code": {"C"}, "iss": {issuer}}, ExpectedCallback{State: "st"}, "protocol"},

		{"no state", v{"code": {"C"}, "iss": {issuer}}, promised, "stranger"},
		{"wrong state", v{"state": {"sT"}, "code": {"C"}, "iss": {issuer}}, promised, "stranger"},
		{"prefix of the state", v{"state": {"s"}, "code": {"C"}, "iss": {issuer}}, promised, "stranger"},
		{"state twice", v{"state": {"st", "st"}, "code": {"C"}, "iss": {issuer}}, promised, "stranger"},
		{"error without state", v{"error": {"access_denied"}}, promised, "stranger"},
		{"wrong state and wrong issuer", v{"state": {"x"}, "iss": {"https://evil.example"}}, promised, "stranger"},
		{"nothing expected", v{"state": {""}, "code": {"C"}}, ExpectedCallback{}, "stranger"},

		{"neither code nor error", v{"state": {"st"}}, silent, "protocol"},
		{"empty code", v{"state": {"st"}, "code": {""}}, silent, "protocol"},
		{"code and error", v{"state": {"st"}, "code": {"C"}, "error": {"server_error"}}, silent, "server_error transient"},
		{"code twice", v{"state": {"st"}, "code": {"C", "D"}}, silent, "protocol"},
		{"error twice", v{"state": {"st"}, "error": {"a", "b"}}, silent, "protocol"},
		{"code with a line end", v{"state": {"st"}, "code": {"C\r\nX: 1"}}, silent, "protocol"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, err := ParseCallback(tc.params, tc.want)
			got := errorKind(code != "", err)
			switch {
			case err == nil:
				got = "code " + code.Reveal()
			case errors.Is(err, ErrStateMismatch):
				got = "stranger"
			}
			if got != tc.result {
				t.Errorf("got %q (%v), want %q", got, err, tc.result)
			}
		})
	}
}

// TestNearMissIssuers: iss is compared byte by byte.
func TestNearMissIssuers(t *testing.T) {
	const issuer = "https://as.example/tenant"
	for _, near := range []string{
		issuer + "/", "https://AS.example/tenant", "HTTPS://as.example/tenant", "https://as.example:443/tenant", "https://as.example/Tenant",
		"https://as.example/%74enant", "http://as.example/tenant", "https://as.example/tenant?", "https://as.example/./tenant", " " + issuer, issuer + "\x00",
	} {
		for _, params := range []url.Values{{"code": {"C"}}, {"error": {"access_denied"}, "error_description": {"call this number"}}} {
			params.Set("state", "st")
			params.Set("iss", near)
			for _, promised := range []bool{true, false} {
				code, err := ParseCallback(params, ExpectedCallback{State: "st", Issuer: issuer, IssSupported: promised})
				if errorKind(code != "", err) != "protocol" || strings.Contains(err.Error(), "call this number") {
					t.Errorf("%q: %v", near, err)
				}
			}
		}
	}
}

func FuzzParseCallback(f *testing.F) {
	f.Add("state=st&code=C&iss=https%3A%2F%2Fas.example", true)
	f.Add("state=st&error=access_denied&error_description=%1b[31m", false)
	f.Add("state=st&state=st&code=C", false)
	f.Fuzz(func(t *testing.T, query string, promised bool) {
		params, _ := url.ParseQuery(query)
		code, err := ParseCallback(params, ExpectedCallback{State: "st", Issuer: "https://as.example", IssSupported: promised})
		if (code == "") == (err == nil) {
			t.Fatalf("code %q with error %v", code.Reveal(), err)
		}
		if errors.Is(err, ErrStateMismatch) {
			return
		}
		if params.Get("state") != "st" {
			t.Fatalf("a wrong state was believed: %v", err)
		}
		if _, rejected := errtype.As[*Error](err); err == nil || rejected {
			if iss, there := params["iss"]; promised && !there || there && iss[0] != "https://as.example" {
				t.Fatalf("a wrong issuer was believed: %v", err)
			}
		}
		if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r != ' ' && !visible(r) }) {
			t.Fatalf("error %q is not sanitized", err)
		}
	})
}
