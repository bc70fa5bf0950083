package oauth

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// echo holds what a request carried that must not be repeated. Some servers put
// the token, the secret or the whole Authorization header that they rejected into
// their error, as it came or in another encoding.
type echo []string

const (
	// echoPiece is the length of the shortest piece of a secret, or of an encoding
	// of it, that is removed. Eight random characters of a secret are of no use;
	// shorter pieces occur in words that have nothing to do with it.
	echoPiece = 8

	// shortestEcho is the length of the shortest secret that is looked for. One
	// that is shorter than echoPiece must stand alone.
	shortestEcho = 4

	// maxEchoText is how much of a remote text is looked at, in bytes; no more than
	// 256 are ever shown.
	maxEchoText = 4 << 10

	// maxTwiceEncoded bounds the secrets, in bytes, whose encodings are looked for
	// in a second encoding, too.
	maxTwiceEncoded = 2 << 10

	redacted = "[redacted]"
)

// publicParams are the form parameters that an error may repeat.
var publicParams = []string{
	"audience", "client_assertion_type", "client_id", "grant_type", "redirect_uri", "resource", "scope", "token_type_hint",
}

// echoOf returns the secrets of a form request: its parameters that are not public
// and the credentials of its Authorization header.
func echoOf(form url.Values, header http.Header) echo {
	var e echo
	for name, values := range form {
		if !slices.Contains(publicParams, name) {
			e = append(e, values...)
		}
	}
	for _, value := range header["Authorization"] {
		_, credentials, _ := strings.Cut(value, " ")
		e = append(e, credentials)
		// The id is not a secret, and an error that names it is a good one.
		if pair, err := base64.StdEncoding.DecodeString(credentials); err == nil {
			_, encoded, _ := strings.Cut(string(pair), ":")
			e = append(e, encoded)
			if secret, err := url.QueryUnescape(encoded); err == nil {
				e = append(e, secret)
			}
		}
	}
	return e
}

// secretMembers are the members of a response that an error about the same
// response must not repeat either.
var secretMembers = []string{
	"access_token", "client_secret", "id_token", "refresh_token", "registration_access_token",
}

// with returns the echo with the secrets of a response added.
func (e echo) with(o object) echo {
	e = slices.Clip(e)
	for _, name := range secretMembers {
		e = append(e, o.text(name))
	}
	return e
}

// remove replaces each piece of a secret in a text by "[redacted]", whatever
// common encoding it is in, in either case, and also where spaces or punctuation
// were put into it or changed. It keeps at most 4 KiB of the text.
func (e echo) remove(text string) string {
	text = text[:min(len(text), maxEchoText)]
	marked := make([]bool, len(text))
	for _, v := range []*echoView{newEchoView(text, true), newEchoView(text, false)} {
		for _, secret := range e {
			if len(secret) >= shortestEcho {
				v.mark(secret, marked)
			}
		}
	}
	for _, secret := range e {
		if len(secret) >= shortestEcho && len(secret) < echoPiece {
			markWord(text, secret, marked)
		}
	}
	return e.replaceMarked(text, marked)
}

// replaceMarked replaces the marked bytes, unless they say no more than words of
// the protocol: a token may begin with "refresh_token-", and an error has to keep
// those words, which tell what it means.
func (e echo) replaceMarked(text string, marked []bool) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		end := i
		for end < len(text) && marked[end] == marked[i] {
			end++
		}
		switch run := text[i:end]; {
		case marked[i] && (!isVocabulary(run) || e.isWhole(run)):
			b.WriteString(redacted)
		default:
			b.WriteString(run)
		}
		i = end
	}
	return b.String()
}

// isWhole reports whether a text contains a whole secret.
func (e echo) isWhole(text string) bool {
	return slices.ContainsFunc(e, func(secret string) bool {
		return len(secret) >= shortestEcho && strings.Contains(text, secret)
	})
}

// hide returns err, or an error of the same kind with another text if its own
// repeats a secret: package net/http quotes what it cannot parse.
func (e echo) hide(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if shown := e.remove(text); shown != text {
		return &hiddenError{text: shown, err: err}
	}
	return err
}

// hiddenError is an error whose own text is not shown. It has no Unwrap, which
// would give that text away.
type hiddenError struct {
	text string
	err  error
}

func (h *hiddenError) Error() string        { return h.text }
func (h *hiddenError) Is(target error) bool { return errors.Is(h.err, target) }
func (h *hiddenError) As(target any) bool   { return errors.As(h.err, target) }

// echoView is a text as it is searched: in lower case, and perhaps without all
// that is neither a letter nor a digit.
type echoView struct {
	all    bool // keep every byte
	folded string
	at     []int            // where each byte of folded is in the text
	pieces map[string][]int // where in folded each piece begins
}

func newEchoView(text string, all bool) *echoView {
	v := &echoView{all: all, pieces: make(map[string][]int)}
	v.folded, v.at = v.fold(text)
	for i := 0; i+echoPiece <= len(v.folded); i++ {
		piece := v.folded[i : i+echoPiece]
		v.pieces[piece] = append(v.pieces[piece], i)
	}
	return v
}

func (v *echoView) fold(s string) (folded string, at []int) {
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if v.all || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			b, at = append(b, c), append(at, i)
		}
	}
	return string(b), at
}

// mark marks the pieces of a secret in all its encodings.
func (v *echoView) mark(secret string, marked []bool) {
	if len(v.pieces) == 0 {
		return
	}
	for _, encoded := range encodings(secret) {
		folded, _ := v.fold(encoded)
		for i := 0; i+echoPiece <= len(folded); i++ {
			piece := folded[i : i+echoPiece]
			places := v.pieces[piece]
			delete(v.pieces, piece) // they are marked once and for all
			for _, start := range places {
				for j := v.at[start]; j <= v.at[start+echoPiece-1]; j++ {
					marked[j] = true
				}
			}
		}
	}
}

// encodings returns what a secret looks like in the encodings that servers and
// their logs use, and in two of the usual ones at once: the secret of a Basic
// header is form-encoded, and then in base64.
func encodings(secret string) []string {
	all := append([]string{secret}, usualEncodings(secret)...)
	if len(secret) <= maxTwiceEncoded {
		for _, once := range all[1:] {
			all = append(all, usualEncodings(once)...)
		}
	}
	var percent, escaped, decimal strings.Builder
	for i := range len(secret) {
		fmt.Fprintf(&percent, "%%%02x", secret[i])
		fmt.Fprintf(&escaped, `\u%04x`, secret[i])
		fmt.Fprintf(&decimal, "%d ", secret[i])
	}
	return append(all, url.PathEscape(secret), html.EscapeString(secret), percent.String(), escaped.String(), decimal.String())
}

func usualEncodings(s string) []string {
	quoted, _ := json.Marshal(s) // of a string: never fails
	all := []string{url.QueryEscape(s), hex.EncodeToString([]byte(s)), string(quoted[1 : len(quoted)-1])}
	// In base64 three bytes are four characters: which they are depends on how many
	// bytes come before.
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
		if (start == 0 || !isWordByte(text[start-1])) && (end == len(text) || !isWordByte(text[end])) {
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
	"challenge", "", "client", "", "code", "", "credential", "", "expired", "", "grant", "", "handstamp", "", "https", "",
	"http", "", "invalid", "", "is", "", "localhost", "", "method", "", "not", "", "offline", "", "openid", "", "redirect", "",
	"refresh", "", "registration", "", "revoked", "", "scope", "", "secret", "", "server", "", "session", "", "the", "",
	"token", "", "unknown", "", "verifier", "",
)

// isVocabulary reports whether a text consists of words of the protocol, give or
// take one character.
func isVocabulary(text string) bool {
	folded, _ := (&echoView{}).fold(text)
	return len(vocabulary.Replace(folded)) < 2
}
