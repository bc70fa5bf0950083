package oauth

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func TestParseChallenges(t *testing.T) {
	type params = map[string]string
	for _, tc := range []struct {
		name    string
		headers []string
		want    []Challenge
	}{
		{"none", nil, nil},
		{"empty", []string{""}, nil},
		{"a bare scheme", []string{"Bearer"}, []Challenge{{Scheme: "Bearer"}}},
		{"parameters", []string{`Bearer realm="a, b", error=invalid_token,scope="x y"`},
			[]Challenge{{Scheme: "Bearer", Params: params{"realm": "a, b", "error": "invalid_token", "scope": "x y"}}}},
		{"names in any case", []string{`bearer Resource_Metadata="u"`}, []Challenge{{Scheme: "bearer", Params: params{"resource_metadata": "u"}}}},
		{"escapes", []string{`Bearer realm="a\"b\\c"`}, []Challenge{{Scheme: "Bearer", Params: params{"realm": `a"b\c`}}}},
		{"spaces around the sign", []string{`Bearer realm = "a" , scope	=	b`}, []Challenge{{Scheme: "Bearer", Params: params{"realm": "a", "scope": "b"}}}},
		{"an empty string", []string{`Bearer realm="", resource_metadata="u"`}, []Challenge{{Scheme: "Bearer", Params: params{"realm": "", "resource_metadata": "u"}}}},
		{"token68", []string{"Negotiate YII+/a==, Bearer realm=x"},
			[]Challenge{{Scheme: "Negotiate", Token68: "YII+/a=="}, {Scheme: "Bearer", Params: params{"realm": "x"}}}},
		{"several in one header", []string{`Basic realm="b", Bearer realm="x", error="e", DPoP algs="ES256"`},
			[]Challenge{{Scheme: "Basic", Params: params{"realm": "b"}}, {Scheme: "Bearer", Params: params{"realm": "x", "error": "e"}}, {Scheme: "DPoP", Params: params{"algs": "ES256"}}}},
		{"several headers", []string{"Basic", `Bearer realm="x"`}, []Challenge{{Scheme: "Basic"}, {Scheme: "Bearer", Params: params{"realm": "x"}}}},
		{"no parameter crosses headers", []string{"Bearer", `realm="x"`}, []Challenge{{Scheme: "Bearer"}}},
		{"a missing comma", []string{`Bearer realm="x" resource_metadata="u"`}, []Challenge{{Scheme: "Bearer", Params: params{"realm": "x", "resource_metadata": "u"}}}},
		{"a missing comma before a scheme", []string{`Bearer realm="x" Basic realm="y"`},
			[]Challenge{{Scheme: "Bearer", Params: params{"realm": "x"}}, {Scheme: "Basic", Params: params{"realm": "y"}}}},
		{"a comma after the scheme", []string{`Bearer, realm="x"`}, []Challenge{{Scheme: "Bearer", Params: params{"realm": "x"}}}},
		{"empty elements", []string{`, ,Bearer realm="x",,error="e",`}, []Challenge{{Scheme: "Bearer", Params: params{"realm": "x", "error": "e"}}}},
		{"an unquoted URL", []string{"Bearer resource_metadata=https://a.example/x?y=z, error=e"},
			[]Challenge{{Scheme: "Bearer", Params: params{"resource_metadata": "https://a.example/x?y=z", "error": "e"}}}},
		{"an unquoted list", []string{"Bearer scope=a b  c, resource_metadata=u"},
			[]Challenge{{Scheme: "Bearer", Params: params{"scope": "a b  c", "resource_metadata": "u"}}}},
		{"an unterminated string", []string{`Bearer error="e", realm="x, y`}, []Challenge{{Scheme: "Bearer", Params: params{"error": "e", "realm": "x, y"}}}},
		{"a backslash at the end", []string{`Bearer realm="x\`}, []Challenge{{Scheme: "Bearer", Params: params{"realm": `x\`}}}},
		{"a repeated parameter", []string{`Bearer realm="x", realm="y"`}, []Challenge{{Scheme: "Bearer", Params: params{"realm": "x"}}}},
		{"no scheme", []string{`realm="x", error="e"`}, nil},
		{"garbage between", []string{`Bearer error="e", =, "junk", @@, resource_metadata="u"`},
			[]Challenge{{Scheme: "Bearer", Params: params{"error": "e", "resource_metadata": "u"}}}},
		{"bytes that are no text", []string{"Bearer realm=\"\x00\xff\", error=e"}, []Challenge{{Scheme: "Bearer", Params: params{"realm": "\x00\xff", "error": "e"}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := ParseChallenges(tc.headers); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("ParseChallenges(%q)\n got %+v\nwant %+v", tc.headers, got, tc.want)
			}
		})
	}
}

func TestBearer(t *testing.T) {
	for _, tc := range []struct {
		name    string
		headers []string
		want    BearerChallenge
	}{
		{"nothing", nil, BearerChallenge{}},
		{"another scheme", []string{"Basic realm=x"}, BearerChallenge{}},
		{"bare", []string{"Bearer"}, BearerChallenge{Found: true}},
		{"everything", []string{`Bearer resource_metadata="https://a.example/m", scope="b  a", error="insufficient_scope", error_description="more"`},
			BearerChallenge{ResourceMetadata: "https://a.example/m", Scope: "b a", Error: "insufficient_scope", Found: true}},
		{"the one with metadata", []string{`Bearer realm="x", scope="s"`, `bearer resource_metadata="u"`}, BearerChallenge{ResourceMetadata: "u", Found: true}},
		{"the first if none has metadata", []string{`Bearer scope="s"`, `Bearer scope="t"`}, BearerChallenge{Scope: "s", Found: true}},
		{"hostile text", []string{"Bearer error=\"a\x1b[31m\", scope=\"ok b\x01d \\\"q\""}, BearerChallenge{Error: "a", Scope: "ok", Found: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := http.Header{"Www-Authenticate": tc.headers}
			if got := ParseBearerChallenge(h); got != tc.want {
				t.Errorf("Bearer(%q)\n got %+v\nwant %+v", tc.headers, got, tc.want)
			}
		})
	}
}

// TestParseChallengesIsBounded: what is kept does not grow with what is sent.
func TestParseChallengesIsBounded(t *testing.T) {
	for _, h := range []string{
		strings.Repeat("a,", 1<<20), strings.Repeat("a=b ", 1<<20), "A " + strings.Repeat("b=c,", 1<<20),
		"A b=" + strings.Repeat("c ", 1<<20), strings.Repeat(`"`, 1<<20), "A b=\"" + strings.Repeat(`\`, 1<<20), strings.Repeat("a ", 1<<20),
	} {
		got := ParseChallenges([]string{h})
		if len(got) > maxChallenges {
			t.Errorf("%.10q…: %d challenges", h, len(got))
		}
		for _, c := range got {
			if len(c.Params) > maxParams {
				t.Errorf("%.10q…: %d parameters", h, len(c.Params))
			}
		}
	}
}

func FuzzParseChallenges(f *testing.F) {
	for _, s := range []string{
		`Bearer realm="a", error=b`, "Negotiate abc==", "Bearer scope=a b c", `Bearer realm="x" Basic realm="y\"`, ",,=,\"", "A b = c , d",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		for _, c := range ParseChallenges([]string{header}) {
			if c.Scheme == "" {
				t.Fatalf("%q: a challenge without a scheme", header)
			}
			if c.Token68 != "" && !strings.Contains(header, c.Token68) {
				t.Fatalf("%q: token68 %q is not in it", header, c.Token68)
			}
			for name, value := range c.Params {
				if name == "" || name != strings.ToLower(name) || len(value) > len(header) {
					t.Fatalf("%q: parameter %q=%q", header, name, value)
				}
			}
		}
		// What precedes a well-formed challenge in a header of its own does
		// not change how that is read.
		got := ParseChallenges([]string{header, `Bearer resource_metadata="https://a.example/m"`})
		if n := len(got); n < maxChallenges && (n == 0 || got[n-1].Params["resource_metadata"] != "https://a.example/m") {
			t.Fatalf("%q hides the challenge after it: %+v", header, got)
		}
	})
}

// A server that takes bearer and bound tokens says what was wrong in one of its challenges.
func TestErrorInAnotherChallenge(t *testing.T) {
	h := http.Header{"Www-Authenticate": {
		`Bearer resource_metadata="https://mcp.example/m"`,
		`DPoP algs="ES256", error="insufficient_user_authentication", acr_values="gold", max_age="60"`,
	}}
	b := ParseBearerChallenge(h)
	if b.Error != "insufficient_user_authentication" || b.ACRValues != "gold" || b.MaxAge != "60" || !b.ForDPoP ||
		b.ResourceMetadata != "https://mcp.example/m" || !b.DPoP || b.Algs != "ES256" {
		t.Errorf("%+v", b)
	}
	for _, garbage := range []string{"soon", "-1", "1e3", "1 2", "99999999999999999999", "0x10", "1&prompt=none", ""} {
		h := http.Header{"Www-Authenticate": {`Bearer error="x", max_age="` + garbage + `"`}}
		if b := ParseBearerChallenge(h); b.MaxAge != "" {
			t.Errorf("max_age %q is %q", garbage, b.MaxAge)
		}
	}
}
