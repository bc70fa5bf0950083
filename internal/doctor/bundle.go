package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"html"
	"net/url"
	"strings"

	"github.com/handstamp/handstamp/internal/diagram"
	"github.com/handstamp/handstamp/internal/lazyregexp"
)

// ErrSecret reports that something that is to be written for others has a secret, or what looks
// like one.
var ErrSecret = errors.New("doctor: there is a secret in it")

// secretPatterns are what secrets look like, whoever issued them.
var secretPatterns = []lazyregexp.Regexp{
	lazyregexp.New(`\beyJ[\w-]{8,}\.[\w-]{8,}`), // a JWT
	// Credentials of a request: a word with a digit, which no parameter's name has.
	lazyregexp.New(`(?i)\b(bearer|dpop|basic)[ +]([\w.~+/-]{8,}\d|[\w.~+/-]{1,8}\d[\w.~+/-]{8}|\d[\w.~+/-]{12})`),
	lazyregexp.New(`-----BEGIN [A-Z ]*PRIVATE KEY-----`),                                           // a key
	lazyregexp.New(`\b(gh[pousr]_|github_pat_|xox[abprs]-|glpat-|ya29\.|AKIA|AIza|sk-)[\w-]{10,}`), // of well-known issuers
	lazyregexp.New(`(?i)(access_token|refresh_token|id_token|client_secret|code_verifier|registration_access_token|` +
		`client_assertion|password|passwd|api[_-]?key)\\?"?\s*[=:]\s*\\?"?[^\s"\\\[,&}]{6,}`),
	lazyregexp.New(`(?i)[?&#](code|state|token|key|sig|signature|secret)=[^\s"&\[]{6,}`),
	lazyregexp.New(`://[^/\s"@]+:[^/\s"@]+@`), // a password in a URL
}

// HasSecret reports whether a text has a secret that the client knows, or what looks like one.
func (r *Report) HasSecret(text string) bool {
	for _, pattern := range secretPatterns {
		if pattern.Get().MatchString(text) {
			return true
		}
	}
	return r.inspection.ContainsSecret(text)
}

// Bundle returns the report and what else describes the system as JSON that can be given to
// others. It fails with [ErrSecret] rather than return a secret.
func (r *Report) Bundle(about map[string]any) ([]byte, error) {
	raw, err := json.MarshalIndent(struct {
		About  map[string]any `json:"about"`
		Report *Report        `json:"report"`
	}{about, r}, "", "  ")
	if err != nil {
		return nil, err
	}
	text := withoutQuery(string(raw), r.Server)
	if r.HasSecret(text) {
		return nil, ErrSecret
	}
	return append([]byte(text), '\n'), nil
}

// Diagram returns what happened on the walk as an HTML document. It fails with [ErrSecret], too.
func (r *Report) Diagram(title string) ([]byte, error) {
	var page bytes.Buffer
	if err := diagram.Write(&page, withoutQuery(title, r.Server), r.Events); err != nil {
		return nil, err
	}
	if r.HasSecret(html.UnescapeString(page.String())) {
		return nil, ErrSecret
	}
	return page.Bytes(), nil
}

// withoutQuery removes the query of the server's URL, which may hold a key, from a text.
func withoutQuery(text, serverURL string) string {
	u, err := url.Parse(serverURL)
	if err != nil || len(u.RawQuery) < 3 {
		return text
	}
	quoted, _ := json.Marshal(u.RawQuery)
	for _, query := range []string{u.RawQuery, strings.Trim(string(quoted), `"`), url.QueryEscape(u.RawQuery)} {
		text = strings.ReplaceAll(text, query, "[redacted]")
	}
	return text
}
