package handstamp_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// find reports whether a secret is in a text: as it is, in part, or in one of
// the encodings in which secrets travel.
func find(text, secret string) bool {
	for _, form := range forms(secret) {
		if strings.Contains(text, form) {
			return true
		}
	}
	return false
}

// searcher finds any of many secrets in one go over a text.
type searcher struct {
	index map[[leastForm]byte][]needle // by how the form begins
}

// needle is a form of a secret.
type needle struct{ form, secret string }

// leastForm is the length of the shortest form that is searched for.
const leastForm = 8

func newSearcher(secrets []string) *searcher {
	s := &searcher{index: make(map[[leastForm]byte][]needle)}
	for _, secret := range secrets {
		for _, form := range forms(secret) {
			if len(form) >= leastForm {
				begin := [leastForm]byte([]byte(form[:leastForm]))
				s.index[begin] = append(s.index[begin], needle{form, secret})
			}
		}
	}
	return s
}

// find returns the secrets that are in the text.
func (s *searcher) find(text string) map[string]bool {
	found := make(map[string]bool)
	for i := 0; i+leastForm <= len(text); i++ {
		for _, n := range s.index[[leastForm]byte([]byte(text[i:i+leastForm]))] {
			if strings.HasPrefix(text[i:], n.form) {
				found[n.secret] = true
			}
		}
	}
	return found
}

// leastPart is how many characters of a secret tell it from everything else.
const leastPart = 12

// forms returns the texts by which a secret is recognised, wherever it stands in
// what is encoded.
func forms(secret string) []string {
	parts := []string{secret}
	if half := len(secret) / 2; half >= leastPart {
		parts = append(parts, secret[:half], secret[half:]) // a shortened secret is one, too
	}
	var all []string
	for _, part := range parts {
		all = append(all, part, url.QueryEscape(part), url.PathEscape(part), url.QueryEscape(url.QueryEscape(part)))
		all = append(all, hex.EncodeToString([]byte(part)), strings.ToUpper(hex.EncodeToString([]byte(part))))
		quoted, _ := json.Marshal(part)
		all = append(all, strings.Trim(string(quoted), `"`), strings.Trim(strconv.Quote(part), `"`), strings.Trim(strconv.QuoteToASCII(part), `"`))
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			for before := range 3 {
				// What stands before it shifts the letters; those that share
				// their bits with a neighbour are left out.
				encoded := encoding.EncodeToString(append(make([]byte, before), part...))
				first, last := (before*8+5)/6, len(encoded)
				if (before+len(part))%3 != 0 {
					last--
				}
				all = append(all, encoded[first:last])
			}
		}
	}
	return all
}

// The search finds what it is to find, or its silence would mean nothing.
func TestFindSecret(t *testing.T) {
	for _, secret := range []string{"rt-KQ7XJ4B2M5WZ3LNAYC6TDFHGPE", `se:cr%et+ &="x\y/é<>z`} {
		for name, text := range map[string]string{
			"raw":          "token=" + secret + ".",
			"query":        "a=1&b=" + url.QueryEscape(secret),
			"query, twice": url.QueryEscape("https://x/?b=" + url.QueryEscape(secret)),
			"path":         "/" + url.PathEscape(secret) + "/",
			"hex":          "0x" + hex.EncodeToString([]byte(secret)),
			"HEX":          strings.ToUpper(hex.EncodeToString([]byte(secret))),
			"quoted":       strconv.Quote("is " + secret),
			"base64":       base64.StdEncoding.EncodeToString([]byte(secret)),
			"base64, 1":    base64.StdEncoding.EncodeToString([]byte("x" + secret + "yy")),
			"base64, 2":    base64.URLEncoding.EncodeToString([]byte("id:xy" + secret)),
			"base64, 3":    base64.URLEncoding.EncodeToString([]byte("client:" + secret + "!")),
		} {
			if !find(text, secret) || !newSearcher([]string{"another-secret", secret}).find(text)[secret] {
				t.Errorf("%q was not found as %s", secret, name)
			}
		}
		text, err := json.Marshal(map[string]string{"x": "a " + secret})
		if err != nil {
			t.Fatal(err)
		}
		if !find(string(text), secret) {
			t.Errorf("%q was not found in JSON", secret)
		}
		if find("nothing to see here, client_id=client-ABCDEFGHIJKLMNOP, [redacted]", secret) {
			t.Errorf("%q was found where it is not", secret)
		}
	}
	if !find("shortened: KQ7XJ4B2M5WZ3LNA… as "+"rt-KQ7XJ4B2M5W", "rt-KQ7XJ4B2M5WZ3LNAYC6TDFHGPE") {
		t.Error("half of a secret was not found")
	}
}
