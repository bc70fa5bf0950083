package doctor

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/lazyregexp"
	"github.com/handstamp/handstamp/internal/oauth"
)

// ErrSecret reports that something that is to be written for others has a secret, or what looks
// like one.
var ErrSecret = errors.New("doctor: there is a secret in it")

// redacted stands for what may be a secret; no pattern of a secret takes it for one.
const redacted = "[redacted]"

// secretPatterns are what secrets look like, whoever issued them. What is in the first group, and in
// the second one, is no secret.
var secretPatterns = []lazyregexp.Regexp{
	lazyregexp.New(`()\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]+)*`), // a JWT
	// Credentials of a request: a word with a digit, which no parameter's name has.
	lazyregexp.New(`(?i)\b((?:bearer|dpop|basic)[ +])(?:[\w.~+/-]{8,}\d|[\w.~+/-]{1,8}\d[\w.~+/-]{8}|\d[\w.~+/-]{12})[\w.~+/-]*`),
	lazyregexp.New(`()-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\w+/=-]*`),                                  // a key
	lazyregexp.New(`()\b(?:gh[pousr]_|github_pat_|xox[abprs]-|glpat-|ya29\.|AKIA|AIza|sk-)[\w-]{10,}`), // of well-known issuers
	lazyregexp.New(`(?i)((?:access_token|refresh_token|id_token|client_secret|code_verifier|registration_access_token|` +
		`client_assertion|password|passwd|api[_-]?key)\\?"?\s*(?:[=:]|%3D)\s*\\?"?)[^\s"\\\[,&}]{6,}`),
	lazyregexp.New(`(?i)((?:[?&#]|%3F|%26)(?:code|state|token|key|sig|signature|secret)(?:=|%3D))[^\s"&\[]{6,}`),
	lazyregexp.New(`(://)[^/\s"@\[]+:[^/\s"@]+(@)`), // a password in a URL
}

// looksSecret reports whether a text has what looks like a secret.
func looksSecret(text string) bool {
	return slices.ContainsFunc(secretPatterns, func(p lazyregexp.Regexp) bool { return p.Get().MatchString(text) })
}

// presentable returns a text of a report as anyone may read it, in a terminal, in an issue or on a
// page: a line of bounded length without what hides or reorders text, without what looks like a
// secret, and without the query of the server's URL.
func presentable(text, serverURL string) string {
	if text == "" {
		return text
	}
	text = withoutQuery(text, serverURL)
	for _, pattern := range secretPatterns {
		text = pattern.Get().ReplaceAllString(text, "${1}"+redacted+"${2}")
	}
	return oauth.SanitizeLine(text)
}

// withoutQuery removes the query of the server's URL, which may hold a key, from a text.
func withoutQuery(text, serverURL string) string {
	u, err := url.Parse(serverURL)
	if err != nil || len(u.RawQuery) < 3 {
		return text
	}
	for _, query := range []string{u.RawQuery, url.QueryEscape(u.RawQuery)} {
		text = strings.ReplaceAll(text, query, redacted)
	}
	return text
}

// present makes the texts of a step presentable.
func (s *Step) present(serverURL string) {
	s.Finding = presentable(s.Finding, serverURL)
	s.Evidence = slices.Clone(s.Evidence)
	for i, e := range s.Evidence {
		s.Evidence[i] = presentable(e, serverURL)
	}
}

// presentEvents returns events with presentable texts. Others may keep the events as they are.
func presentEvents(events []handstamp.Event, serverURL string) []handstamp.Event {
	fields := func(all []handstamp.EventField) []handstamp.EventField {
		all = slices.Clone(all)
		for i, f := range all {
			all[i] = handstamp.EventField{Name: presentable(f.Name, serverURL), Value: presentable(f.Value, serverURL)}
		}
		return all
	}
	events = slices.Clone(events)
	for i := range events {
		e := &events[i]
		e.Server = presentable(e.Server, serverURL)
		e.Message, e.Error = presentable(e.Message, serverURL), presentable(e.Error, serverURL)
		e.Details = fields(e.Details)
		if e.Decision != nil {
			d := *e.Decision
			d.Choice, d.Reason = presentable(d.Choice, serverURL), presentable(d.Reason, serverURL)
			e.Decision = &d
		}
		if e.Request != nil {
			r := *e.Request
			r.URL, r.Code = presentable(r.URL, serverURL), presentable(r.Code, serverURL)
			r.Params, r.Header, r.Response = fields(r.Params), fields(r.Header), fields(r.Response)
			e.Request = &r
		}
	}
	return events
}
