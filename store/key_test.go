package store

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestNewKey(t *testing.T) {
	tests := []struct{ url, want string }{
		{"https://mcp.example.com/mcp", "https://mcp.example.com/mcp"},
		{"https://mcp.example.com/mcp/", "https://mcp.example.com/mcp"},
		{"https://mcp.example.com", "https://mcp.example.com"},
		{"https://mcp.example.com/", "https://mcp.example.com"},
		{"https://mcp.example.com//", "https://mcp.example.com"},
		{"HTTPS://MCP.Example.COM/MCP", "https://mcp.example.com/MCP"},
		{"https://mcp.example.com:443/mcp", "https://mcp.example.com/mcp"},
		{"http://mcp.example.com:80/mcp", "http://mcp.example.com/mcp"},
		{"https://mcp.example.com:/mcp", "https://mcp.example.com/mcp"},
		{"https://mcp.example.com:80/mcp", "https://mcp.example.com:80/mcp"},
		{"http://127.0.0.1:8080", "http://127.0.0.1:8080"},
		{"https://[::1]:443/x", "https://[::1]/x"},
		{"https://[fe80::1%25en0]/x", "https://[fe80::1%25en0]/x"},
		{"https://user:password@mcp.example.com/#part", "https://mcp.example.com"},
		{"https://mcp.example.com/mcp?tenant=A", "https://mcp.example.com/mcp?tenant=A"},
		{"https://mcp.example.com/mcp/?tenant=A/", "https://mcp.example.com/mcp?tenant=A/"},
		{"https://mcp.example.com/mcp?", "https://mcp.example.com/mcp"},
		{"https://mcp.example.com/a%2Fb", "https://mcp.example.com/a%2Fb"},
		{"https://mcp.example.com/a%2F", "https://mcp.example.com/a%2F"},
	}
	for _, test := range tests {
		t.Run(test.url, func(t *testing.T) {
			key, err := NewKey(test.url, "")
			if err != nil {
				t.Fatal(err)
			}
			if want := (Key{test.want, DefaultProfile}); key != want {
				t.Errorf("NewKey = %q, want %q", key, want)
			}
		})
	}
}

func TestNewKeyRejects(t *testing.T) {
	for _, url := range []string{
		"", "mcp.example.com", "/mcp", "//mcp.example.com", "ftp://mcp.example.com", "https:mcp.example.com", "https:user:password@example.com",
		"https://", "https://:8080", "https:///mcp", "https://user:password@mcp.example.com:port/", "javascript:alert(1)",
		"mailto:user:password@example.com", "ssh://user:password@example.com", "https://a b/\x00",
	} {
		t.Run(url, func(t *testing.T) {
			key, err := NewKey(url, "")
			if err == nil {
				t.Fatalf("NewKey = %q", key)
			}
			if strings.Contains(err.Error(), "user:password") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

func FuzzNewKey(f *testing.F) {
	f.Add("https://mcp.example.com:443/a%2Fb//?q#f", "work")
	f.Add("http://[fe80::1%25en0]:80/", "")
	f.Add("https://a.example/%", "\xff")
	name := regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*-[0-9a-f]{32}$`)
	f.Fuzz(func(t *testing.T, url, profile string) {
		key, err := NewKey(url, profile)
		if err != nil {
			return
		}
		again, err := NewKey(key.Server, key.Profile)
		if err != nil || again != key {
			t.Errorf("the key of key %q is %q (%v)", key, again, err)
		}
		if n := key.Name(); !name.MatchString(n) || len(n) > 80 {
			t.Errorf("the name of %q is %q", key, n)
		}
	})
}

func TestKeyNamesDiffer(t *testing.T) {
	names := make(map[string]Key)
	for _, url := range []string{
		"https://a.example/x", "https://a.example/X", "https://a.example/x?y", "http://a.example/x", "https://a.example:8/x",
		"https://" + strings.Repeat("a", 60) + ".example/1", "https://" + strings.Repeat("a", 60) + ".example/2",
	} {
		for _, profile := range []string{"", "work", "Work"} {
			key, err := NewKey(url, profile)
			if err != nil {
				t.Fatal(err)
			}
			if other, ok := names[key.Name()]; ok {
				t.Errorf("%v and %v have the same name", key, other)
			}
			names[key.Name()] = key
		}
	}
	if key := (Key{"https://a.example/x", "default"}); !strings.HasPrefix(key.Name(), "a.example-") {
		t.Errorf("the name is %q", key.Name())
	}
}

func TestKeyString(t *testing.T) {
	for want, key := range map[string]Key{
		"https://a.example":        {"https://a.example", DefaultProfile},
		"https://b.example":        {"https://b.example", ""},
		"https://a.example (work)": {"https://a.example", "work"},
	} {
		if key.String() != want {
			t.Errorf("String = %q, want %q", key.String(), want)
		}
	}
}

// Databases have values under these for years.
func TestIDsStay(t *testing.T) {
	for want, got := range map[string]string{
		"iOgDRAbd4zr07uzh": Key{"https://mcp.example.com/mcp", DefaultProfile}.ID(),
		"GhNbJHrnRqHmGOnG": Owner{"acme", "ada"}.ID(),
		"OQ_qvHhuNp5VuQQl": Owner{}.ID(),
	} {
		if got != want {
			t.Errorf("%s is now %s", want, got)
		}
	}
}

func TestKeyCompare(t *testing.T) {
	want := []Key{{"https://a", "a"}, {"https://a", "b"}, {"https://a/x", "a"}, {"https://b", "a"}}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, Key.Compare)
	if !slices.Equal(got, want) {
		t.Errorf("sorted as %v", got)
	}
}
