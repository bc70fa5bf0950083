package bridge

import (
	"bytes"
	"encoding/base64"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/handstamp/handstamp/internal/lazyregexp"
	"github.com/handstamp/handstamp/internal/redact"
)

// What a server sends with a rejection is often all that the user can act on. It is
// shown on one line of bounded length, without the credentials that the server was sent.

const (
	// shownLength is the most bytes of a server's text that are shown.
	shownLength = 300

	// maxPage is how much of a rejection is searched for a text, in bytes.
	maxPage = 64 << 10

	// maxCredentials bounds the credentials that are remembered: old tokens are of no use.
	maxCredentials = 32

	// leastParameter is the length of the shortest value of a URL's query that is taken
	// for a credential.
	leastParameter = 12
)

// remoteText returns what the body of a rejection holds for a reader: a plain text, the
// title of a page, or the message in a JSON object. It returns "" for everything else.
func remoteText(kind string, body []byte) string {
	body = bytes.TrimSpace(body[:min(len(body), maxPage)])
	switch {
	case len(body) == 0 || bytes.IndexByte(body, 0) >= 0:
		return ""
	case body[0] == '{':
		return jsonText(body)
	case body[0] == '[':
		return ""
	case body[0] == '"':
		return text(body)
	case strings.HasSuffix(kind, "html") || body[0] == '<':
		return pageTitle(string(body))
	case kind == "" || strings.HasPrefix(kind, "text/") || kind == jsonType:
		return string(body)
	}
	return ""
}

// jsonText returns the words in an object: those of OAuth (RFC 6749, section 5.2), of
// problem details (RFC 9457), of JSON-RPC, or of the usual frameworks.
func jsonText(body []byte) string {
	if _, err := parse(body); err != nil {
		return ""
	}
	kind := text(member(body, "error"))
	for _, path := range [][]string{
		{"error_description"}, {"error", "message"}, {"message"}, {"detail"}, {"error", "detail"},
		{"title"}, {"error", "error_description"},
	} {
		words := text(member(body, path...))
		switch {
		case words == "":
		case kind != "" && kind != words:
			return kind + ": " + words
		default:
			return words
		}
	}
	if kind != "" {
		return kind
	}
	// FastAPI lists what is wrong with a request.
	first := ""
	_ = elements(member(body, "detail"), func(element []byte) bool {
		first = text(member(element, "msg"))
		return first == ""
	})
	return first
}

// pageTitle returns the title of a page, or else its first heading.
func pageTitle(page string) string {
	for _, heading := range []lazyregexp.Regexp{titleTag, headingTag} {
		if found := heading.Get().FindStringSubmatch(page); found != nil {
			words := html.UnescapeString(anyTag.Get().ReplaceAllString(found[1], ""))
			if words = strings.TrimSpace(words); words != "" {
				return words
			}
		}
	}
	return ""
}

var (
	titleTag   = lazyregexp.New(`(?is)<title[^>]*>(.*?)</title`)
	headingTag = lazyregexp.New(`(?is)<h1[^>]*>(.*?)</h1`)
	anyTag     = lazyregexp.New(`<[^>]*>?`)
)

// shown returns a server's text as the host gets it.
func (u *upstream) shown(words string) string {
	if words == "" {
		return ""
	}
	return oneShortLine(u.sentCredentials.redact(words, u.URL, u.Header))
}

// withoutCredentials returns a JSON-RPC error that repeats none of the credentials that
// the server was sent: as it is, if it does not.
func (u *upstream) withoutCredentials(object []byte) []byte {
	words := text(member(object, "message"))
	if redacted := u.sentCredentials.redact(words, u.URL, u.Header); redacted != words {
		object = set(object, "message", encode(redacted))
	}
	data := string(member(object, "data"))
	for from := 0; from < len(data); from += redactedAtOnce / 2 {
		part := data[from:min(len(data), from+redactedAtOnce)]
		if u.sentCredentials.redact(part, u.URL, u.Header) != part {
			return cut(object, "data")
		}
	}
	return object
}

// redactedAtOnce is how much of a text [redact.Text] looks at, in bytes.
const redactedAtOnce = 4 << 10

// oneShortLine returns a text without what moves a terminal's cursor, reorders or hides
// text: control and format characters, line ends and invalid UTF-8.
func oneShortLine(s string) string {
	var b strings.Builder
	space := false
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if n := escapeSequence(s); n > 0 {
			s = s[n:]
			continue
		}
		s = s[size:]
		if r == utf8.RuneError && size == 1 || unicode.IsSpace(r) || !unicode.IsGraphic(r) {
			space = space || b.Len() > 0
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		if b.Len()+utf8.RuneLen(r) > shownLength {
			return strings.TrimSpace(b.String()) + "…"
		}
		b.WriteRune(r)
	}
	return b.String()
}

// escapeSequence returns the length of the control sequence (ECMA-48, section 5.4) that
// a text begins with, or zero.
func escapeSequence(s string) int {
	if !strings.HasPrefix(s, "\x1b[") {
		return 0
	}
	n := 2
	for n < len(s) && s[n] >= 0x20 && s[n] < 0x40 {
		n++
	}
	return min(n+1, len(s))
}

// credentials remembers what requests were signed in with. The zero value is ready. It is
// safe for concurrent use.
type credentials struct {
	mu     sync.Mutex // guards what follows
	last   string     // the Authorization header of the last request
	values []string
}

// note remembers the credentials of a request as it was sent. req may be nil.
func (k *credentials) note(req *http.Request) {
	if req == nil {
		return
	}
	authorization := req.Header.Get("Authorization")
	if authorization == "" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if authorization == k.last {
		return
	}
	k.last = authorization
	for _, value := range secretsIn("Authorization", authorization) {
		if !slices.Contains(k.values, value) {
			k.values = append(k.values, value)
		}
	}
	if more := len(k.values) - maxCredentials; more > 0 {
		k.values = slices.Delete(k.values, 0, more)
	}
}

// redact takes out of a text the credentials that were sent, with the user's headers and
// with what the URL holds.
func (k *credentials) redact(words, rawURL string, header http.Header) string {
	k.mu.Lock()
	all := slices.Clone(k.values)
	k.mu.Unlock()
	for name, values := range header {
		for _, value := range values {
			all = append(all, secretsIn(name, value)...)
		}
	}
	return redact.Text(words, append(all, secretsOf(rawURL)...)...)
}

// secretsIn returns the secrets of a header: its value, without the name of a scheme, and
// the password of Basic.
func secretsIn(name, value string) []string {
	scheme, rest, ok := strings.Cut(value, " ")
	if ok && http.CanonicalHeaderKey(name) == "Authorization" {
		all := []string{strings.TrimSpace(rest)}
		if strings.EqualFold(scheme, "Basic") {
			if pair, err := base64.StdEncoding.DecodeString(all[0]); err == nil {
				_, password, _ := strings.Cut(string(pair), ":")
				all = append(all, password)
			}
		}
		return all
	}
	return []string{value}
}

// secretsOf returns what of a URL may be a secret: a password, and long values of its
// query.
func secretsOf(raw string) (all []string) {
	parsed, err := url.Parse(raw)
	if err != nil {
		return nil
	}
	if password, ok := parsed.User.Password(); ok {
		all = append(all, password)
	}
	for _, values := range parsed.Query() {
		for _, value := range values {
			if len(value) >= leastParameter {
				all = append(all, value)
			}
		}
	}
	return all
}
