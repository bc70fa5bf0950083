package oauth

import (
	"encoding/json"
	"slices"
	"strings"
)

// rejection is the code and the description of an error response, from any place in its body. RFC
// 6749 section 5.2 has one member for each; real servers use many.
type rejection struct {
	code        string
	description string

	// reasoned reports whether the body has a member of error responses. A body without one is
	// treated as the page of a gateway.
	reasoned bool
}

// Bounds of the search for a reason.
const (
	maxReasonDepth  = 5
	maxReasonLeaves = 64
	maxCode         = 64 // bytes; a longer one is a text
)

// rejection finds the code and the description in the members of the body.
func (r reply) rejection() rejection {
	s := reasonSearch{}
	s.object(r.members, 0)
	found := rejection{}
	for _, m := range r.members.members {
		switch reasonName(m.name) {
		case "error", "errorcode", "code", "status", "detail", "message", "errors":
			found.reasoned = found.reasoned || !isBlank(m.value) && string(m.value) != "[]"
		case "ok":
			found.reasoned = found.reasoned || string(m.value) == "false"
		}
	}
	found.code = s.bestCode(r.endpoint)
	found.description = s.bestText()
	return found
}

// reasonSearch collects the strings of a body that may be a code or a text.
type reasonSearch struct {
	codes []leaf
	texts []leaf
}

type leaf struct {
	name  string // as reasonName returns it
	value string
	depth int
}

func (s *reasonSearch) object(o object, depth int) {
	for _, m := range o.members {
		s.value(reasonName(m.name), m.value, depth)
	}
}

func (s *reasonSearch) value(name string, v json.RawMessage, depth int) {
	if isBlank(v) || depth > maxReasonDepth || len(s.codes)+len(s.texts) >= maxReasonLeaves {
		return
	}
	switch v[0] {
	case '{':
		if o, err := readObject(v); err == nil {
			s.object(o, depth+1)
		}
	case '[':
		var elements []json.RawMessage
		if json.Unmarshal(v, &elements) == nil {
			for _, e := range elements {
				s.value(name, e, depth+1)
			}
		}
	case '"':
		s.leaf(leaf{name, strings.TrimSpace(textOf(v)), depth})
	}
}

func (s *reasonSearch) leaf(l leaf) {
	if l.value == "" {
		return
	}
	switch l.name {
	case "error", "errorcode", "code", "type", "errortype", "status", "reason", "errors":
		if !strings.ContainsAny(l.value, " \t\r\n") && len(l.value) <= maxCode {
			s.codes = append(s.codes, l)
			return
		}
		s.texts = append(s.texts, l)
	case "errordescription", "message", "msg", "description", "detail", "errormessage", "title", "hint",
		"info", "errmsg", "faultstring":
		s.texts = append(s.texts, l)
	}
}

// bestCode returns the first code with a known class, in its standard spelling, else the code in
// the first of the usual members.
func (s *reasonSearch) bestCode(endpoint string) string {
	for _, l := range s.codes {
		code := canonicalCode(l.value)
		if (&Error{Code: code, Endpoint: endpoint}).classByText() != ClassOther {
			return code
		}
	}
	return firstNamed(s.codes, "error", "errorcode", "code", "status", "type", "errortype")
}

// firstNamed returns the first value of the first of the names that there is.
func firstNamed(leaves []leaf, names ...string) string {
	for _, name := range names {
		if i := slices.IndexFunc(leaves, func(l leaf) bool { return l.name == name }); i >= 0 {
			return leaves[i].value
		}
	}
	return ""
}

// bestText returns the first text that names the grant or the client, else the text in the first of
// the usual members.
func (s *reasonSearch) bestText() string {
	for _, l := range s.texts {
		if namesDeadGrant(l.value) || namesClient(l.value) {
			return l.value
		}
	}
	usual := firstNamed(s.texts, "errordescription", "message", "msg", "description", "detail")
	if usual == "" && len(s.texts) > 0 {
		return s.texts[0].value
	}
	return usual
}

// reasonName returns a member's name in lower case without separators: servers
// write error_code, errorCode and Error-Code.
func reasonName(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(name))
}

// canonicalCode writes an error code as the RFCs write theirs: invalid_grant for
// INVALID_GRANT, invalidGrant, "Invalid-Grant" and InvalidGrantError.
func canonicalCode(code string) string {
	var b strings.Builder
	mixed := strings.ToUpper(code) != code
	for i := 0; i < len(code); i++ {
		switch c := code[i]; {
		case c >= 'A' && c <= 'Z':
			if mixed && i > 0 && code[i-1] >= 'a' && code[i-1] <= 'z' {
				b.WriteByte('_')
			}
			b.WriteByte(c + 'a' - 'A')
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			b.WriteByte(c)
		default:
			if b.Len() > 0 && !strings.HasSuffix(b.String(), "_") {
				b.WriteByte('_')
			}
		}
	}
	s := strings.Trim(b.String(), "_")
	for _, suffix := range []string{"_error", "_exception"} {
		s = strings.TrimSuffix(s, suffix)
	}
	for _, known := range []string{"invalid_grant", "invalid_client"} {
		if strings.HasSuffix(s, "_"+known) {
			return known
		}
	}
	return s
}
