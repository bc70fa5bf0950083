// Package redact removes secrets from texts of servers, in whatever encoding they are repeated
// there. It does not hold secrets: the type of their values is in the public package secret.
package redact

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

const (
	// leastPiece is the length of the shortest piece of a secret, or of an encoding
	// of it, that is removed. Eight random characters of a secret are of no use;
	// shorter pieces occur in words that have nothing to do with it. A [piece] has as many.
	leastPiece = 8

	// leastSecret is the length of the shortest secret that is looked for. One that
	// is shorter than leastPiece must stand alone.
	leastSecret = 4

	// maxText is how much of a text is looked at, in bytes; a few hundred are shown.
	maxText = 4 << 10

	// maxTwiceEncoded bounds the secrets, in bytes, whose encodings are looked for
	// in a second encoding, too.
	maxTwiceEncoded = 2 << 10
)

const redacted = "[redacted]"

// Text replaces each piece of a secret in a remote text by "[redacted]", whatever
// common encoding it is in, in either case, and also where spaces or punctuation
// were put into it or changed. It keeps at most 4 KiB of the text. Words of the
// OAuth protocol stay, even if a secret begins with them.
func Text(text string, secrets ...string) string {
	return Whole(text[:min(len(text), maxText)], secrets...)
}

// Whole is Text for a text whose length the caller has bounded: it keeps all of it. One call for
// several texts together costs less than one for each, since most of the time goes into the encodings
// of the secrets.
func Whole(text string, secrets ...string) string {
	marked := make([]bool, len(text))
	exact, words, numbers := newTextView(text, &anyByte), newTextView(text,
		&lettersAndDigits), newTextView(text, &numberBytes)
	for _, secret := range secrets {
		if len(secret) < leastSecret || len(text) < leastPiece {
			continue // no piece is as short as that
		}
		all := encodings(secret)
		exact.mark(all, false, marked)
		words.mark(all, false, marked)
		numbers.mark(numberEncodings(secret), len(secret) >= leastPiece, marked)
	}
	for _, secret := range secrets {
		if len(secret) >= leastSecret && len(secret) < leastPiece {
			markWord(text, secret, marked)
		}
	}
	return replaceMarked(text, marked, secrets)
}

// replaceMarked replaces the marked bytes, unless they say no more than words of
// the protocol: a token may begin with "refresh_token-", and an error has to keep
// those words, which tell what it means.
func replaceMarked(text string, marked []bool, secrets []string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		end := i
		for end < len(text) && marked[end] == marked[i] {
			end++
		}
		switch run := text[i:end]; {
		case marked[i] && (hasWhole(run, secrets) || !isVocabulary(run) && !isVocabulary(wordsAround(text, i, end))):
			b.WriteString(redacted)
		default:
			b.WriteString(run)
		}
		i = end
	}
	return b.String()
}

// wordsAround returns a part of a text with the rest of the words that it begins and ends in: a piece
// of a secret may be one of "client_secret_post", too.
func wordsAround(text string, start, end int) string {
	for start > 0 && isWordByte(text[start-1]) {
		start--
	}
	for end < len(text) && isWordByte(text[end]) {
		end++
	}
	return text[start:end]
}

// hasWhole reports whether a text contains a whole secret.
func hasWhole(text string, secrets []string) bool {
	return slices.ContainsFunc(secrets, func(secret string) bool {
		return len(secret) >= leastSecret && strings.Contains(text, secret)
	})
}

// textView is a text as it is searched: in lower case, and perhaps without all
// that is neither a letter nor a digit, or no digit of a number.
type textView struct {
	fold   *folding
	at     []int           // where each byte that is kept is in the text
	pieces map[piece][]int // where each piece begins, as an index of at
	filter [64]uint64      // has a bit of each piece: most that are looked for are not there
}

// piece is leastPiece bytes of a text.
type piece uint64

// next returns the piece that ends with c, after the one that ends before it.
func (p piece) next(c byte) piece { return p<<8 | piece(c) }

// bit returns a number of 12 bits that differs for most pieces.
func (p piece) bit() (word int, mask uint64) {
	hash := uint64(p) * 0x9e3779b97f4a7c15 >> 52
	return int(hash >> 6), 1 << (hash & 63)
}

func newTextView(text string, fold *folding) *textView {
	v := &textView{fold: fold, at: make([]int, 0, len(text)), pieces: make(map[piece][]int, len(text))}
	var p piece
	for i := range len(text) {
		c := fold[text[i]]
		if c == dropped {
			continue
		}
		p, v.at = p.next(byte(c)), append(v.at, i)
		if start := len(v.at) - leastPiece; start >= 0 {
			v.pieces[p] = append(v.pieces[p], start)
			word, mask := p.bit()
			v.filter[word] |= mask
		}
	}
	return v
}

// folding has each byte in lower case, or dropped. It is a table since the encodings of a secret, whose
// every byte is looked up, are long.
type folding [256]int16

const dropped = -1

var anyByte, lettersAndDigits, numberBytes = newFolding(isAny), newFolding(isLetterOrDigit), newFolding(isNumberByte)

func newFolding(keep func(c byte) bool) (f folding) {
	for i := range f {
		c := byte(i)
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if f[i] = dropped; keep(c) {
			f[i] = int16(c)
		}
	}
	return f
}

func isAny(byte) bool { return true }

func isLetterOrDigit(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// isNumberByte keeps what the many ways to write a list of numbers have in common:
// neither a prefix such as "0x" or "&#x" nor a leading zero.
func isNumberByte(c byte) bool { return c >= 'a' && c <= 'f' || c >= '1' && c <= '9' }

// mark marks the pieces of a secret in its encodings. Twice means two pieces in a row: a number has
// two digits or more for each byte, and where a text has eight digits of a secret's numbers, which is
// as little as three bytes of it, they may be those of a time.
func (v *textView) mark(encodings []string, twice bool, marked []bool) {
	if len(v.pieces) == 0 {
		return
	}
	var pieces []piece
	for _, encoded := range encodings {
		pieces = pieces[:0]
		var p piece
		kept := 0
		for i := range len(encoded) {
			c := v.fold[encoded[i]]
			if c == dropped {
				continue
			}
			p, kept = p.next(byte(c)), kept+1
			if kept >= leastPiece {
				pieces = append(pieces, p)
			}
		}
		if twice {
			v.markTwice(pieces, marked)
		} else {
			v.markEach(pieces, marked)
		}
	}
}

// markEach marks where the pieces are in the text.
func (v *textView) markEach(pieces []piece, marked []bool) {
	for _, p := range pieces {
		if starts := v.starts(p); starts != nil {
			for _, start := range starts {
				v.markAt(start, leastPiece, marked)
			}
			delete(v.pieces, p) // they are marked once and for all
		}
	}
}

// markTwice marks where two pieces, one behind the other, are in the text likewise.
func (v *textView) markTwice(pieces []piece, marked []bool) {
	done := make(map[[2]piece]bool) // a server may make both a text and a secret of one character
	for i := leastPiece; i < len(pieces); i++ {
		pair := [2]piece{pieces[i-leastPiece], pieces[i]}
		firsts, seconds := v.starts(pair[0]), v.starts(pair[1])
		if firsts == nil || seconds == nil || done[pair] {
			continue
		}
		done[pair] = true
		for _, first := range firsts {
			if _, found := slices.BinarySearch(seconds, first+leastPiece); found {
				v.markAt(first, 2*leastPiece, marked)
			}
		}
	}
}

// markAt marks a number of the bytes that are kept, and all between them.
func (v *textView) markAt(start, n int, marked []bool) {
	for i := v.at[start]; i <= v.at[start+n-1]; i++ {
		marked[i] = true
	}
}

// starts returns where a piece begins in the text.
func (v *textView) starts(p piece) []int {
	if word, mask := p.bit(); v.filter[word]&mask == 0 {
		return nil
	}
	return v.pieces[p]
}

// encodings returns what a secret looks like in the encodings that servers and
// their logs use, and in two of the usual ones at once: the secret of a Basic
// header is form-encoded, and then in base64. See also numberEncodings.
func encodings(secret string) []string {
	all := append([]string{secret}, usualEncodings(secret)...)
	if len(secret) <= maxTwiceEncoded {
		for _, once := range all[1:] {
			all = append(all, usualEncodings(once)...)
		}
		all = append(all, base64Encodings(hex.EncodeToString([]byte(secret)))...)
	}
	if len(secret) < 2*leastPiece { // else its numbers are found by two pieces in a row, without zeros
		all = append(all, hex.EncodeToString([]byte(secret)))
	}
	// In base32 five bytes are eight characters.
	for before, own := range []int{0, 2, 4, 5, 7} {
		encoded := base32.StdEncoding.EncodeToString(append(make([]byte, before), secret...))
		all = append(all, strings.TrimRight(encoded[own:], "="))
	}
	return append(all, url.PathEscape(secret), html.EscapeString(secret))
}

// numberEncodings returns the bytes of a secret as hexadecimal and decimal numbers, as
// in "6b39", "%6b", "&#x6b;", "\u006b" and "&#107;", and those of its usual encodings as hexadecimal
// ones.
func numberEncodings(secret string) []string {
	all := []string{hex.EncodeToString([]byte(secret))}
	if len(secret) <= maxTwiceEncoded {
		for _, once := range usualEncodings(secret) {
			all = append(all, hex.EncodeToString([]byte(once)))
		}
	}
	var decimal strings.Builder
	for i := range len(secret) {
		fmt.Fprintf(&decimal, "%d ", secret[i])
	}
	return append(all, decimal.String())
}

func usualEncodings(s string) []string {
	quoted, _ := json.Marshal(s) // of a string: never fails
	return append(base64Encodings(s), url.QueryEscape(s), string(quoted[1:len(quoted)-1]))
}

// base64Encodings returns what a text looks like within a longer one in base64, where three bytes are
// four characters: which they are depends on how many bytes come before.
func base64Encodings(s string) (all []string) {
	for before, own := range []int{0, 2, 3} {
		encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, before), s...))
		all = append(all, encoded[min(own, len(encoded)):])
	}
	return all
}

// markWord marks a short secret where it stands alone.
func markWord(text, secret string, marked []bool) {
	for from := 0; ; {
		i := strings.Index(text[from:], secret)
		if i < 0 {
			return
		}
		start, end := from+i, from+i+len(secret)
		if (start == 0 || !isWordByte(text[start-1])) && (end == len(text) ||
			!isWordByte(text[end])) {
			for j := start; j < end; j++ {
				marked[j] = true
			}
		}
		from = start + 1
	}
}

func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// vocabulary removes the words that errors of the protocol are made of. Longer
// words come before those that they begin with.
var vocabulary = strings.NewReplacer(
	"access", "", "application", "", "assertion", "", "authentication", "", "authorization", "", "basic", "", "bearer", "",
	"challenge", "", "client", "", "code", "", "credential", "", "endpoint", "", "expired", "", "grant", "", "handstamp", "", "https", "",
	"http", "", "id", "", "invalid", "", "is", "", "jwt", "", "key", "", "localhost", "", "method", "", "not", "", "offline", "", "openid", "", "post", "",
	"private", "", "redirect", "", "refresh", "", "registration", "", "revoked", "", "scope", "", "secret", "", "server", "", "session", "", "the", "",
	"token", "", "type", "", "unknown", "", "verifier", "",
)

// isVocabulary reports whether a text consists of words of the protocol, and beside them of no more
// than is too short for a secret.
func isVocabulary(text string) bool {
	folded := strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII || !isLetterOrDigit(byte(r)) {
			return -1
		}
		return r
	}, strings.ToLower(text))
	return len(vocabulary.Replace(folded)) < leastSecret
}
