package proctest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Contains reports whether a secret is in a text: as it is, in part, or in one
// of the encodings in which secrets travel.
func Contains(text, secret string) bool {
	for _, form := range forms(secret) {
		if strings.Contains(text, form) {
			return true
		}
	}
	return false
}

// Searcher finds any of many secrets in one go over a text. It may be used by any
// number of goroutines.
type Searcher struct {
	index map[[leastForm]byte][]needle // by how the form begins
}

// needle is a form of a secret.
type needle struct{ form, secret string }

// leastForm is the length of the shortest form that is searched for, in bytes.
const leastForm = 8

// NewSearcher returns a Searcher for secrets of at least 8 bytes; it does not
// look for shorter ones, which are in many a text by chance.
func NewSearcher(secrets []string) *Searcher {
	s := &Searcher{index: make(map[[leastForm]byte][]needle)}
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

// Find returns the secrets that are in the text, as Contains finds them.
func (s *Searcher) Find(text string) map[string]bool {
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
	slices.Sort(all)
	return slices.Compact(all)
}
