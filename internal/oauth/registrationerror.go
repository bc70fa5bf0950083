package oauth

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Members of a registration request that a rejection can name (RFC 7591 section 2). OfflineAccess
// is the only scope among them.
const (
	MemberScope           = "scope"
	OfflineAccess         = "offline_access"
	MemberGrantTypes      = "grant_types"
	MemberAuthMethod      = "token_endpoint_auth_method"
	MemberApplicationType = "application_type"
	MemberRedirectURIs    = "redirect_uris"
)

// memberWords are the words with which servers name a member, in the order in which members are
// left out of the next request. They are compared with texts reduced to letters and digits, so
// that "grant_types", "grantTypes" and "grant type" are the same.
var memberWords = []struct {
	member string
	words  []string
}{
	{OfflineAccess, []string{"offlineaccess", "offlinetoken", "offlinescope"}},
	{MemberScope, []string{"scope"}},
	{MemberGrantTypes, []string{"granttype", "unsupportedgrant", "refreshtoken"}},
	{MemberAuthMethod, []string{"authmethod", "authenticationmethod", "clientsecretbasic", "clientsecretpost",
		"publicclient", "confidentialclient", "unsupportedmethod", "methodnone"}},
	{MemberApplicationType, []string{"applicationtype", "nativeclient", "webclient", "nativeapp", "webapp",
		"weburi", "nativeuri"}},
	{MemberRedirectURIs, []string{"redirect", "callback", "localhost", "127001", "loopback",
		"trusteddomain", "uridoesntmatch", "uridoesnotmatch"}},
}

// RegistrationError is a server's rejection of a registration (RFC 7591 section 3.2.2).
// Its text is that of Err.
type RegistrationError struct {
	Err *Error

	text string // all texts of the response, for NamedMembers and NarrowScope; never shown
}

// Error returns the text of Err.
func (e *RegistrationError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *RegistrationError) Unwrap() error { return e.Err }

// Equal reports whether two rejections have the same status, code and texts.
func (e *RegistrationError) Equal(other *RegistrationError) bool {
	return other != nil && e.Err.Status == other.Err.Status && e.Err.Code == other.Err.Code &&
		e.text == other.text
}

// NamedMembers returns the members of the request that the rejection names, in the order in which
// to leave them out. The texts of the response count first, then the error code. It returns none
// for a rejection that is not about the request's members: an allow-list, a disabled
// registration, a missing initial access token.
//
// With guess, the rejection reports only that something in the request is wrong, and the members
// are all of them.
func (e *RegistrationError) NamedMembers() (members []string, guess bool) {
	members = membersIn(e.text)
	if len(members) == 0 {
		members = membersIn(e.Err.Code) // unsupported_token_endpoint_auth_method
	}
	code := strings.ToLower(e.Err.Code)
	if code == "invalid_redirect_uri" {
		// The allowed redirect URIs depend on the application type.
		for _, member := range []string{MemberRedirectURIs, MemberApplicationType} {
			if !slices.Contains(members, member) {
				members = append(members, member)
			}
		}
	}
	if len(members) > 0 {
		return members, false
	}
	if code == "invalid_client_metadata" {
		if slices.Contains([]int{401, 403, 404}, e.Err.Status) {
			return nil, false // not about the members, whatever the code
		}
		for _, b := range memberWords {
			members = append(members, b.member)
		}
		return members, true
	}
	return nil, false
}

// membersIn returns the members that a text or a code names.
func membersIn(text string) (members []string) {
	squashed := squash(text)
	for _, b := range memberWords {
		if containsAny(squashed, b.words...) ||
			b.member == MemberApplicationType && namesScope(strings.ToLower(text), "native") {
			members = append(members, b.member)
		}
	}
	return members
}

// NarrowScope returns the scopes without those that the rejection names; or, where it names the
// only ones that the server accepts, just these. It returns nil where the rejection names none of
// them, or all would remain or be left out.
func (e *RegistrationError) NarrowScope(scopes []string) []string {
	named := func(scope string) bool { return namesScope(e.text, scope) }
	accepts := containsAny(e.text, "only ", "supported scopes", "allowed scopes", "valid scopes",
		"accepted scopes", "must be one of", "expected one of", "available scopes", "permitted scopes")
	less := slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool {
		return named(scope) != accepts
	})
	if len(less) == 0 || len(less) == len(scopes) {
		return nil
	}
	return less
}

// NamesOfflineAccess reports whether an error of any endpoint names the scope offline_access, as
// Keycloak does at the code exchange with not_allowed.
func (e *Error) NamesOfflineAccess() bool {
	return containsAny(squash(e.Code+" "+e.Description), memberWords[0].words...)
}

// squash returns the letters and digits of a text, in lower case.
func squash(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		}
		return -1
	}, text)
}

// namesScope reports whether a text has the scope as a word of its own: "read" is not
// in "mcp:read".
func namesScope(text, scope string) bool {
	for from := 0; ; {
		i := strings.Index(text[from:], scope)
		if i < 0 {
			return false
		}
		begin, end := from+i, from+i+len(scope)
		if !joins(text, begin-1, -1) && !joins(text, end, 1) {
			return true
		}
		from = begin + 1
	}
}

// joins reports whether the byte at i continues a word in the direction of step: it is a letter or
// digit, or punctuation of scopes with a letter or digit next to it.
func joins(text string, i, step int) bool {
	word := func(i int) bool {
		return i >= 0 && i < len(text) && (text[i] >= 'a' && text[i] <= 'z' ||
			text[i] >= 'A' && text[i] <= 'Z' ||
			text[i] >= '0' && text[i] <= '9' || text[i] == '_' || text[i] == '-' || text[i] == '*')
	}
	return word(i) || i >= 0 && i < len(text) && strings.IndexByte(":./",
		text[i]) >= 0 && word(i+step)
}

// maxRejectionText bounds how much of a rejection is searched, in bytes.
const maxRejectionText = 16 << 10

// rejectionText returns the texts of all members of a rejection, or its plain text, without the
// members that repeat the request.
func rejectionText(r reply, body []byte) string {
	if r.html {
		return ""
	}
	body = body[:min(len(body), maxRejectionText)]
	var document any
	if json.Unmarshal(trimBOM(body), &document) != nil {
		if r.parsed {
			return r.rejection().description
		}
		return string(body)
	}
	var b strings.Builder
	writeTexts(&b, document, r.rejection().code, 0)
	return b.String()
}

// writeTexts writes every text in a document, and the names of the members around them: several
// frameworks list errors by member. The error code is left out, since it is not a sentence.
func writeTexts(b *strings.Builder, document any, code string, depth int) {
	switch v := document.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			text, isText := v[name].(string)
			switch {
			case slices.Contains(repeatsRequest, name), isText && text == code:
				continue
			case depth > 0 || !isText:
				b.WriteString(name + " ")
			}
			writeTexts(b, v[name], code, depth+1)
		}
	case []any:
		for _, element := range v {
			writeTexts(b, element, code, depth+1)
		}
	case string:
		b.WriteString(v + " ")
	}
}

// repeatsRequest are members in which validators repeat the request, or link to documentation.
var repeatsRequest = []string{
	"input", "received", "request", "error_uri", "documentation_url", "type", "url",
}
