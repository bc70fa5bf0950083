package browser

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// accepted are URLs that may be opened, and what they are opened as.
var accepted = []struct{ raw, opened string }{
	{"https://as.example/authorize", ""},
	{"https://as.example", ""},
	{"https://as.example:8443/authorize?a=b", ""},
	{"HTTPS://as.example/authorize", "https://as.example/authorize"},
	{"https://as.example/a%20b?q=%27%24%60&scope=read+write", ""},
	{"https://as.example/authorize?redirect_uri=http%3A%2F%2F127.0.0.1%3A8765%2Fcallback&state=x-_~.", ""},
	{"https://as.example/a;b/(c)!*,=?x=[1]&y=@:/?", ""},
	{"https://as.example/device#code", ""},
	{"https://xn--bcher-kva.example/", ""},
	{"https://my_tenant.as.example/", ""},
	{"https://192.0.2.7/authorize", ""},
	{"https://[2001:db8::7]/authorize", ""},
	{"https://[2001:db8::7]:8443/authorize", ""},
	{"http://localhost/authorize", ""},
	{"http://LocalHost:3000/authorize", ""},
	{"http://127.0.0.1:3000/authorize", ""},
	{"http://127.8.9.10/authorize", ""},
	{"http://[::1]:3000/authorize", ""},
	{"https://as.example/%70ath", ""},
	{"https://as.example/?--help", ""},
	{"https://as.example/?q=%00%0a", ""},
	{"https://as.example/" + strings.Repeat("a", maxURL-len("https://as.example/")), ""},
}

// rejected returns more than 300 URLs that must not be opened, by any means.
func refused() []string {
	all := []string{
		"", " ", "-", "--help", "-a", "--version", "-https://as.example/", "/etc/passwd", "~/x", "calc.exe", "a b", "%s",
		"as.example/authorize", "//as.example/authorize", "https:", "https:/", "https://", "https:///authorize", "https:as.example",
		"https:/as.example", "https:?x=1", "https:#x", "https://:443/", "https://?x", "https://#x", "http", "http:80",
		"https://-as.example/", "https://--help/", "https://-/",
		"https://user@as.example/", "https://user:secret@as.example/", "https://@as.example/", "https://:@as.example/",
		"https://as.example@evil.example/", "https://as.example%40evil.example/", "https://as.example\\@evil.example/",
		"https://as.example:port/", "https://as.example:-1/", "https://as.example:80:80/", "https://as.example:0x50/",
		"https://[::1", "https://::1]/", "https://[fe80::1%25eth0]/", "https://[::1]x/", "https://[as.example]/", "https://[]/",
		"https://%61s.example/", "https://as%2eexample/", "https://as.example%00/", "https://a,b/", "https://a!b/", "https://a*b/",
		"https://as.example/%", "https://as.example/%zz", "https://as.example/%1", "https://(as.example)/",
		"https://b\u00fccher.example/", "https://as.example/\u00fc", "https://as.example/?q=\u00fc", "https://as.example/#\u202e",
		"https://as.example/\xff", "https://as.example/\xc2\x9b31m", "https://\u0430s.example/", "\ufeffhttps://as.example/",
		"https://as.example/" + strings.Repeat("a", maxURL), "https://as.example/?" + strings.Repeat("a=b&", maxURL/4),
		"https://as.example/$(touch pwned)", "https://as.example/$(id)", "https://as.example/?x=$(id)", "https://as.example/?x=${IFS}",
		"https://as.example/?x=`id`", "https://as.example/?x='+(calc)+'", "https://as.example/\" & calc & \"",
		"https://as.example/'; Start-Process calc; '", "https://as.example/|calc", "https://as.example/^&calc",
		"https://as.example/\r\nSet-Cookie:x", "https://as.example/\x00", "https://as.example/\x1b]8;;x\x07",
		"https://www.example.com\\..\\..\\windows\\system32\\calc.exe", "\\\\evil.example\\share\\x.exe", "C:\\Windows\\System32\\calc.exe",
		"a:$(calc)?x", "http://$(calc)/", "https://a`id`.example/", "https://as.example/<script>", "https://as.example/{x}",
	}
	schemes := []string{
		"javascript", "JavaScript", "data", "file", "FILE", "vbscript", "blob", "about", "chrome", "view-source", "ftp", "ws", "wss",
		"mailto", "tel", "intent", "ms-settings", "ms-msdt", "search-ms", "ms-officecmd", "shell", "vscode", "smb", "ldap", "jar", "ssh",
		"x-apple.systempreferences", "steam", "zoommtg", "httpss", "xhttps", "http+unix", "https+x",
	}
	for _, scheme := range schemes {
		for _, rest := range []string{"//as.example/authorize", "alert(1)", "///etc/passwd", "/authorize?x=https://as.example/", ""} {
			all = append(all, scheme+":"+rest)
		}
	}
	for _, scheme := range []string{" https", "\thttps", "\nhttps", "\x00https", "\x01https", "java\tscript", "ht\ntps", "https ", "1https", "+https"} {
		all = append(all, scheme+"://as.example/authorize")
	}
	// Each character that may do harm, in each part of a URL.
	harmful := "\"'`\\$<>{}|^ "
	for c := range byte(0x20) {
		harmful += string(rune(c))
	}
	harmful += "\x7f\u0085\u009b\u2028\u202e\u200b"
	for _, c := range harmful {
		for _, shape := range []string{"https://as%sexample/a", "https://as.example/a%sb", "https://as.example/a?b=%sc", "https://as.example/#%s", "%shttps://as.example/", "https://as.example/%s"} {
			all = append(all, fmt.Sprintf(shape, string(c)))
		}
	}
	// Plain http is for this machine only, under its own name.
	for _, host := range []string{
		"as.example", "localhost.evil.example", "localhost.", "localhos", "evil.localhost", "127.0.0.1.evil.example", "127.1", "127.0.1", "0",
		"0.0.0.0", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.01", "128.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254",
		"[::]", "[::2]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[fe80::1]", "[::1%25lo]", "127.0.0.1%00", "localhost%2eevil.example",
	} {
		all = append(all, "http://"+host+"/authorize", "http://"+host+":8080/")
	}
	return all
}

func TestCheck(t *testing.T) {
	for _, c := range accepted {
		got, err := canonical(c.raw)
		if err != nil {
			t.Errorf("%q: %v", c.raw, err)
			continue
		}
		want := c.opened
		if want == "" {
			want = c.raw
		}
		if got != want {
			t.Errorf("%q is opened as %q, want %q", c.raw, got, want)
		}
		if err := Check(got); err != nil {
			t.Errorf("what is opened does not pass itself: %q: %v", got, err)
		}
	}
}

// TestRefusedIsNeverLaunched opens every bad URL by a browser that would tell.
func TestRefusedIsNeverLaunched(t *testing.T) {
	d := newDesk(t, "")
	urls := refused()
	distinct := make(map[string]bool)
	for _, raw := range urls {
		distinct[raw] = true
		for _, o := range []Opener{{Command: []string{d.command()}}, {Command: []string{d.command(), "--app=%s"}}, {}} {
			err := o.Open(context.Background(), raw)
			if !errors.Is(err, errRejected) {
				t.Errorf("%q: %v, want ErrRefused", raw, err)
			}
			if err != nil && len(raw) > 12 && strings.Contains(err.Error(), raw) {
				t.Errorf("the error repeats the URL: %v", err)
			}
		}
	}
	if len(distinct) < 300 {
		t.Errorf("only %d different URLs", len(distinct))
	}
	d.none()
}

func FuzzCheck(f *testing.F) {
	for _, c := range accepted {
		f.Add(c.raw)
	}
	for i, raw := range refused() {
		if i%5 == 0 {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw string) {
		opened, err := canonical(raw)
		if err != nil {
			if !errors.Is(err, errRejected) || opened != "" {
				t.Fatalf("%q with %v", opened, err)
			}
			return
		}
		if len(opened) > maxURL || strings.ContainsAny(opened, " \"'`\\$<>{}|^") || strings.HasPrefix(opened, "-") {
			t.Fatalf("opened: %q", opened)
		}
		for i := range len(opened) {
			if opened[i] <= ' ' || opened[i] >= 0x7f {
				t.Fatalf("opened: %q", opened)
			}
		}
		u, err := url.Parse(opened)
		if err != nil || u.User != nil || u.Host == "" {
			t.Fatalf("opened: %q: %v", opened, err)
		}
		switch host := u.Hostname(); u.Scheme {
		case "https":
		case "http":
			if !strings.EqualFold(host, "localhost") && host != "::1" && !strings.HasPrefix(host, "127.") && !strings.HasSuffix(host, ":1") {
				t.Fatalf("plain http to %q", host)
			}
		default:
			t.Fatalf("scheme %q", u.Scheme)
		}
		if again, err := canonical(opened); err != nil || again != opened {
			t.Fatalf("%q, the second time %q, %v", opened, again, err)
		}
		for _, command := range [][]string{{"b"}, {"b", "%s"}, {"b", "-x", "--app=%s"}} {
			argv := arguments(command, opened)
			with := 0
			for _, a := range argv {
				if strings.Contains(a, opened) {
					with++
				}
			}
			if with != 1 || argv[0] != "b" || len(argv) != max(2, len(command)) {
				t.Fatalf("arguments %q", argv)
			}
		}
	})
}
