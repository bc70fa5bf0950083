package loopback

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

var (
	styles  = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
	scripts = regexp.MustCompile(`(?s)<script>(.*?)</script>`)

	// outside is a tag with an attribute that loads, leads away or runs.
	outside = regexp.MustCompile(`<[^>]*(src=|href=|action=|https?:|url\(| style=| on[a-z]+=)`)
)

// checkPage fails the test unless a response has all that protects it.
func checkPage(t *testing.T, status int, h http.Header, body string) {
	t.Helper()
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8", "Cross-Origin-Opener-Policy": "same-origin",
		"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Content-Length": strconv.Itoa(len(body)),
	} {
		if got := h.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%d: %s is %q, want %q", status, name, got, want)
		}
	}
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") || name == "Set-Cookie" || name == "Server" {
			t.Errorf("%d: %s is set", status, name)
		}
	}
	policy := h.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none';", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("%d: the policy %q lacks %q", status, policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") || strings.Contains(policy, "http") {
		t.Errorf("%d: the policy %q allows too much", status, policy)
	}
	// The policy knows the one style and the one script by their hashes.
	for directive, found := range map[string][][]string{"style-src": styles.FindAllStringSubmatch(body, -1), "script-src": scripts.FindAllStringSubmatch(body, -1)} {
		if len(found) != 1 {
			t.Fatalf("%d: %d elements for %s in %s", status, len(found), directive, body)
		}
		sum := sha256.Sum256([]byte(found[0][1]))
		if want := directive + " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, want) {
			t.Errorf("%d: the policy %q lacks %q", status, policy, want)
		}
	}
	if !strings.Contains(body, `history.replaceState(null,"",location.pathname)`) {
		t.Errorf("%d: the query stays in the address", status)
	}
	if n := strings.Count(strings.ToLower(body), "<script"); n != 1 {
		t.Errorf("%d: %d scripts", status, n)
	}
	rest := styles.ReplaceAllString(scripts.ReplaceAllString(body, ""), "")
	if found := outside.FindString(rest); found != "" {
		t.Errorf("%d: %q in the page", status, found)
	}
}

// TestEveryResponseIsProtected goes through all the pages there are.
func TestEveryResponseIsProtected(t *testing.T) {
	l, _ := listen(t, Options{})
	seen := make(map[int]bool)
	for _, r := range []request{
		{}, {target: "/x"}, {host: "evil.example"}, {method: "PUT"},
	} {
		a := send(t, l, r)
		checkPage(t, a.status, a.header, a.body)
		seen[a.status] = true
	}
	responses := later(t, l, request{target: l.path + "?code=c&state=good"})
	if _, err := wait(t, l); err != nil {
		t.Fatal(err)
	}
	l.Finish(Page{})
	for _, a := range []responseOf{<-responses, send(t, l, request{target: l.path + "?code=c&state=good"}), send(t, l, request{})} {
		checkPage(t, a.status, a.header, a.body)
		seen[a.status] = true
	}
	if len(seen) != 6 {
		t.Errorf("only %v", seen)
	}
	for _, p := range []view{pendingView, unfinishedView, new(Listener).result(Page{Err: errors.New("x")}, false)} {
		w := httptest.NewRecorder()
		write(w, 200, p)
		checkPage(t, 200, w.Header(), w.Body.String())
	}
}

// TestHostileTexts has what an authorization server may say.
func TestHostileTexts(t *testing.T) {
	for _, text := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</h1></style></script><script>alert(1)</script>`, `</title><svg onload=alert(1)>`,
		`{{.Style}}`, `&lt;script&gt;`, `<!--`, `]]>`, `'-alert(1)-'`, "<\u0000script>", "java\u2028script:alert(1)", `<a href="javascript:alert(1)">`,
		"\x1b]0;title\x07\x1b[31mred", "\u202egnirts", "zero\u200bwidth", "\xff\xfe<b>", "+ADw-script+AD4-", `<base href="//evil.example/">`,
		`<meta http-equiv="refresh" content="0;url=https://evil.example/">`, `<form action="https://evil.example/"><button>OK</button></form>`,
		strings.Repeat("<x>", 10000), strings.Repeat("a", 100000), "two\r\n\tlines",
	} {
		for _, p := range []Page{{Message: text}, {Err: errors.New(text)}, {Message: text, Err: errors.New(text)}} {
			for _, again := range []bool{false, true} {
				w := httptest.NewRecorder()
				write(w, 200, (&Listener{application: text, signedInTo: text}).result(p, again))
				body := w.Body.String()
				checkPage(t, w.Code, w.Header(), body)
				if strings.ContainsAny(text, "<>\"'") && strings.Contains(body, text) {
					t.Errorf("%.80q is in the page as it is", text)
				}
				if len(body) > 16<<10 {
					t.Errorf("%.80q makes a page of %d bytes", text, len(body))
				}
				for _, r := range body {
					if r != '\n' && isInvisible(r) && r != ' ' {
						t.Fatalf("%.80q leaves %q in the page", text, r)
					}
				}
			}
		}
	}
}

func TestVisible(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""}, {"plain text.", "plain text."}, {"  spaces \t\n and\r\nlines ", "spaces and lines"}, {"a\x00b\x1b[0m\u0085c", "a b [0m c"},
		{"\u202eright\u2066to\u200bleft\ufeff", "right to left"}, {"\xffbad\xc3", "bad"}, {"größer, 日本語, 🙂", "größer, 日本語, 🙂"},
		{strings.Repeat("x", 600), strings.Repeat("x", 509) + "…"}, {strings.Repeat("x", 508) + " y", strings.Repeat("x", 508) + " …"},
	} {
		if got := visible(c.in); got != c.want {
			t.Errorf("%.40q: %q, want %q", c.in, got, c.want)
		}
	}
}

func FuzzVisible(f *testing.F) {
	for _, s := range []string{"", "a b", "\x1b[31m", "\u202e\u200b", strings.Repeat("ü", 600), "\xff\xc3("} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := visible(s)
		if len(got) > maxText || !utf8.ValidString(got) || strings.TrimSpace(got) != got || strings.Contains(got, "  ") {
			t.Fatalf("%q", got)
		}
		for _, r := range got {
			if r != ' ' && (!unicode.IsGraphic(r) || unicode.In(r, unicode.Cf, unicode.Cc, unicode.Zl, unicode.Zp)) {
				t.Fatalf("%q has %q", got, r)
			}
		}
	})
}

// TestPagesNameTheApplication holds every page to naming the application and what to do there, and
// those that only the awaited response leads to, to naming the server.
func TestPagesNameTheApplication(t *testing.T) {
	l := &Listener{application: "Example App", signedInTo: "mcp.example/mcp"}
	for _, c := range []struct {
		view  view
		title string
	}{
		{l.result(Page{}, false), "You are signed in to mcp.example/mcp."},
		{l.result(Page{Err: errors.New("access was denied")}, false), "Sign-in to mcp.example/mcp failed"},
		{l.bound(pendingView), "The sign-in to mcp.example/mcp is still being completed…"},
		{l.bound(unfinishedView), "The sign-in to mcp.example/mcp was not finished."},
		{l.named(expiredView), "This sign-in has expired."},
		{l.named(notAwaitedView), "This link does not belong to the current sign-in."},
		{l.named((&UnboundError{Code: "x"}).view()), "The sign-in page reported an error."},
		{l.named(forbiddenView), "This request is not allowed."},
		{l.named(notFoundView), "There is no page here."},
	} {
		w := httptest.NewRecorder()
		write(w, 200, c.view)
		checkPage(t, w.Code, w.Header(), w.Body.String())
		if c.view.Title != c.title || !strings.Contains(w.Body.String(), "<title>"+c.title+" · Example App</title>") {
			t.Errorf("the title is %q, want %q with the application", c.view.Title, c.title)
		}
		if !strings.Contains(c.view.Text, "Example App") || strings.Contains(c.view.Text, "the application") {
			t.Errorf("%q: %q does not name the application", c.title, c.view.Text)
		}
	}
	if text := new(Listener).named(expiredView).Text; !strings.Contains(text, "go back to the application") {
		t.Errorf("without a name: %q", text)
	}
}
