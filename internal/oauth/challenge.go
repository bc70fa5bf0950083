package oauth

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
)

// Bounds of what is kept of the challenges of one response.
const (
	maxChallengeBytes = 16 << 10 // of each header field
	maxChallenges     = 32
	maxParams         = 32 // of each challenge
)

// Challenge is one challenge of a WWW-Authenticate header (RFC 9110 section
// 11.6.1).
type Challenge struct {
	Scheme  string            // as written
	Params  map[string]string // names in lower case; the first value of a repeated one
	Token68 string            // in place of parameters
}

// ParseChallenges parses the values of a WWW-Authenticate header. It accepts what servers send:
// missing commas, unquoted values with any characters, empty and unterminated strings. It skips
// what it cannot parse and keeps the rest. Its time is linear in the length of the header.
func ParseChallenges(headers []string) []Challenge {
	var p challengeParser
	for _, h := range headers {
		if len(h) > maxChallengeBytes {
			h = h[:maxChallengeBytes]
		}
		p.s, p.i, p.current = h, 0, -1
		p.parse()
	}
	return p.found
}

type challengeParser struct {
	s       string
	i       int
	found   []Challenge
	current int // index in found of the challenge that parameters belong to, -1 before the first
}

// unquoted is a parameter whose value may continue after a space.
type unquoted struct {
	name  string // "" for none
	start int    // of the value
}

func (p *challengeParser) parse() {
	comma := true // since the last item there was a comma, or there was no item
	var open unquoted
	for p.i < len(p.s) {
		if p.skip(" \t"); p.i == len(p.s) {
			return
		}
		if p.s[p.i] == ',' {
			p.i++
			comma, open = true, unquoted{}
			continue
		}
		word := p.word()
		if word == "" {
			if p.i++; p.s[p.i-1] == '"' {
				p.quoted() // a string that belongs to nothing
			}
			continue
		}
		if value, quoted, ok := p.value(); ok {
			comma, open = false, unquoted{}
			if p.addParam(word, value) && !quoted {
				open = unquoted{name: strings.ToLower(word), start: p.i - len(value)}
			}
			continue
		}
		if !comma && open.name != "" {
			p.found[p.current].Params[open.name] = p.s[open.start:p.i] // scope=a b c, without the quotes
			continue
		}
		p.addScheme(word)
		comma, open = false, unquoted{}
	}
}

func (p *challengeParser) skip(set string) {
	for p.i < len(p.s) && strings.IndexByte(set, p.s[p.i]) >= 0 {
		p.i++
	}
}

// word reads a token (RFC 9110 section 5.6.2), and nothing if none is there.
func (p *challengeParser) word() string {
	start := p.i
	for p.i < len(p.s) && isTokenByte(p.s[p.i]) {
		p.i++
	}
	return p.s[start:p.i]
}

func isTokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		strings.IndexByte("!#$%&'*+-.^_`|~:/", c) >= 0 // ':' and '/' so that a stray URL is one word
}

// value reads "=" and the value after it. If there is no "=", ok is false and nothing is consumed.
func (p *challengeParser) value() (value string, quoted, ok bool) {
	start := p.i
	p.skip(" \t")
	if p.i == len(p.s) || p.s[p.i] != '=' {
		p.i = start
		return "", false, false
	}
	p.i++
	p.skip(" \t")
	if p.i < len(p.s) && p.s[p.i] == '"' {
		p.i++
		return p.quoted(), true, true
	}
	start = p.i
	for p.i < len(p.s) && strings.IndexByte(", \t", p.s[p.i]) < 0 {
		p.i++
	}
	return p.s[start:p.i], false, true
}

// quoted reads a quoted string behind its first quote. The end of the header
// ends it too.
func (p *challengeParser) quoted() string {
	var b strings.Builder
	for ; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case c == '"':
			p.i++
			return b.String()
		case c == '\\' && p.i+1 < len(p.s):
			p.i++
			b.WriteByte(p.s[p.i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// addScheme begins a challenge, with its token68 if it has one.
func (p *challengeParser) addScheme(scheme string) {
	if len(p.found) == maxChallenges {
		p.current = -1
		return
	}
	c := Challenge{Scheme: scheme}
	start := p.i
	p.skip(" ")
	if p.i > start {
		c.Token68 = p.token68()
	}
	if c.Token68 == "" {
		p.i = start
	}
	p.current = len(p.found)
	p.found = append(p.found, c)
}

// token68 reads a token68 (RFC 9110 section 11.2) that ends the challenge. It returns "" and
// consumes nothing if there is none.
func (p *challengeParser) token68() string {
	start, end := p.i, p.i
	for end < len(p.s) && isBase64Byte(p.s[end]) {
		end++
	}
	if end == start {
		return ""
	}
	for end < len(p.s) && p.s[end] == '=' {
		end++
	}
	rest := strings.TrimLeft(p.s[end:], " \t")
	if rest != "" && rest[0] != ',' {
		return ""
	}
	p.i = end
	return p.s[start:end]
}

func isBase64Byte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		strings.IndexByte("-._~+/", c) >= 0
}

// addParam gives the current challenge a parameter, if it has none of that name.
func (p *challengeParser) addParam(name, value string) bool {
	if p.current < 0 {
		return false
	}
	c := &p.found[p.current]
	name = strings.ToLower(name)
	if _, repeated := c.Params[name]; repeated || len(c.Params) == maxParams {
		return false
	}
	if c.Params == nil {
		c.Params = make(map[string]string)
	}
	c.Params[name] = value
	return true
}

// BearerChallenge holds the parameters of a Bearer challenge (RFC 6750 section 3, RFC 9728 section
// 5.1), or of a DPoP challenge, which has the same (RFC 9449 section 7.1).
type BearerChallenge struct {
	// ResourceMetadata is the URL of the protected resource metadata, unchecked.
	ResourceMetadata string

	Scope string // valid scope tokens, one space between them
	Error string // sanitized

	// ACRValues and MaxAge are how the user has to authenticate (RFC 9470 section 3).
	ACRValues, MaxAge string

	// DPoP reports whether one of the challenges is for tokens that are bound to a key, and Algs
	// are the JWS algorithms that it names.
	DPoP bool
	Algs string // space-separated

	// DPoPError is the error of the DPoP challenge: of several challenges only that one is about
	// a request with a proof (RFC 9449 section 7.2).
	DPoPError string

	// Found reports whether there is such a challenge, and ForDPoP whether it is a DPoP challenge.
	Found   bool
	ForDPoP bool
}

// ParseBearerChallenge returns the Bearer or DPoP challenge in the header of a response: of several
// the first with resource_metadata, else the first. If it has no error, the first error counts.
func ParseBearerChallenge(h http.Header) BearerChallenge {
	var first, failed, proof BearerChallenge
	for _, c := range ParseChallenges(h.Values("WWW-Authenticate")) {
		proved := strings.EqualFold(c.Scheme, "DPoP")
		if !strings.EqualFold(c.Scheme, "Bearer") && !proved {
			continue
		}
		b := BearerChallenge{
			ResourceMetadata: c.Params["resource_metadata"],
			Scope:            cleanScope(c.Params["scope"]),
			Error:            Sanitize(c.Params["error"]),
			ACRValues:        Sanitize(c.Params["acr_values"]),
			MaxAge:           wholeSeconds(c.Params["max_age"]),
			Found:            true,
			ForDPoP:          proved,
		}
		if !first.Found || first.ResourceMetadata == "" && b.ResourceMetadata != "" {
			first = b
		}
		if failed.Error == "" {
			failed = b
		}
		if proved && !proof.DPoP {
			proof = BearerChallenge{DPoP: true, Algs: Sanitize(c.Params["algs"]), DPoPError: b.Error}
		}
	}
	if first.Error == "" && failed.Error != "" {
		failed.ResourceMetadata, failed.Scope = first.ResourceMetadata, cmp.Or(failed.Scope, first.Scope)
		first = failed
	}
	first.DPoP, first.Algs, first.DPoPError = proof.DPoP, proof.Algs, proof.DPoPError
	return first
}

// wholeSeconds returns text if it is a number of seconds that a max_age may be, or "".
func wholeSeconds(text string) string {
	if _, err := strconv.ParseUint(text, 10, 31); err != nil {
		return ""
	}
	return text
}
