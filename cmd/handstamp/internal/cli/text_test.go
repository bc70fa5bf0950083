package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"plain text, with – signs…", "plain text, with – signs…"},
		{"two\nlines\tand\rmore", "two lines and more"},
		{"\x1b[31mred\x1b[0m", "\uFFFD[31mred\uFFFD[0m"},
		{"\x1b]0;title\x07", "\uFFFD]0;title\uFFFD"},
		{"\u009b31m", "\uFFFD31m"},
		{"\x9b31m", "\uFFFD31m"},
		{"safe\u202egnp.exe", "safe\uFFFDgnp.exe"},
		{"\u2066\u2069\u200b\ufeff", "\uFFFD\uFFFD\uFFFD\uFFFD"},
		{"a\u2028b", "a b"},
		{"\x7f\x00", "\uFFFD\uFFFD"},
		{"tag \U000E0041", "tag \uFFFD"},
	} {
		if got := clean(test.in); got != test.want {
			t.Errorf("clean(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}

func TestShort(t *testing.T) {
	got := short(strings.Repeat("é", 300))
	if len(got) > 256+len("…") || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
		t.Errorf("short gave %d bytes: %q", len(got), got)
	}
}

func FuzzClean(f *testing.F) {
	f.Add("\x1b[2J\u202e\x9b")
	f.Add(strings.Repeat("é", maxText))
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s)
		if len(got) > maxText+16 {
			t.Errorf("%d bytes", len(got))
		}
		for _, r := range got {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
				t.Errorf("clean(%q) holds %U", s, r)
			}
		}
		if clean(got) != got {
			t.Errorf("cleaning %q twice gives something else", s)
		}
	})
}

func FuzzEscapeJSON(f *testing.F) {
	f.Add("\x1b\u202e\u009b\U000E0041 ü 😀")
	f.Add("a delete: \x7f")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		got := escapeJSON(b)
		for _, r := range string(got) {
			if unsafeRune(r) {
				t.Errorf("%q holds %U", got, r)
			}
		}
		var before, after string
		if json.Unmarshal(b, &before) != nil || json.Unmarshal(got, &after) != nil || before != after {
			t.Errorf("%q came back as %q", before, after)
		}
	})
}

func TestNearest(t *testing.T) {
	words := []string{"login", "logout", "status", "token", "exec", "completion"}
	for _, test := range []struct{ word, want string }{
		{"lgoin", "login"}, {"logn", "login"}, {"LOGIN", "login"}, {"statu", "status"}, {"stat", "status"},
		{"tokens", "token"}, {"comp", "completion"}, {"x", ""}, {"bridge", ""}, {"", ""},
	} {
		if got := nearest(test.word, words); got != test.want {
			t.Errorf("nearest(%q) = %q, want %q", test.word, got, test.want)
		}
	}
}

func TestCapital(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"not signed in", "Not signed in"},
		{"handstamp login needs one server", "handstamp login needs one server"},
		{"https://a.example is down", "https://a.example is down"},
		{"client_secret_post needs a secret", "client_secret_post needs a secret"},
		{"", ""},
	} {
		if got := capital(test.in); got != test.want {
			t.Errorf("capital(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}

func TestShellWord(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"https://a.example/mcp", "https://a.example/mcp"},
		{"https://a.example/?q=1&x=$(id)", `'https://a.example/?q=1&x=$(id)'`},
		{"it's", `'it'\''s'`},
		{"", "''"},
	} {
		if got := shellWord(test.in); got != test.want {
			t.Errorf("shellWord(%q) = %s, want %s", test.in, got, test.want)
		}
	}
}
