package bridge

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// Since 2026-07-28 each request repeats in headers what is in its body, so that
// intermediaries can route it ("Request Metadata").

// The members of _meta that make a request one of 2026-07-28 or later.
const (
	metaVersion      = "io.modelcontextprotocol/protocolVersion"
	metaClient       = "io.modelcontextprotocol/clientInfo"
	metaCapabilities = "io.modelcontextprotocol/clientCapabilities"
	metaServer       = "io.modelcontextprotocol/serverInfo"
	metaLogLevel     = "io.modelcontextprotocol/logLevel"
	metaSubscription = "io.modelcontextprotocol/subscriptionId"
)

// firstModern is the first version without sessions. Versions are dates, so that
// they compare as text.
const firstModern = "2026-07-28"

// lastLegacy is the last version with sessions.
const lastLegacy = "2025-11-25"

// legacyVersion returns the version with sessions for a host whose initialize has parameters.
func legacyVersion(params []byte) string {
	version := text(member(params, "protocolVersion"))
	if version == "" || version >= firstModern {
		return lastLegacy
	}
	return version
}

// itself returns what the bridge calls itself in the place of the host or the server.
func (o *Options) itself() []byte { return object("name", o.Name, "version", o.Version) }

// modernVersion returns the version that a message names, if it is
// modern, or "".
func modernVersion(m *message) string {
	if m.meta == nil {
		return ""
	}
	if version := text(member(m.meta, metaVersion)); version >= firstModern {
		return version
	}
	return ""
}

// mirror puts into headers what they repeat of a message.
func (u *upstream) mirror(h http.Header, m *message, version string) {
	h[headerVersion] = []string{headerValue(version)}
	if m.method == nil {
		return
	}
	method := m.name()
	h[headerMethod] = []string{headerValue(method)}
	switch method {
	case "tools/call", "prompts/get":
		if m.target != nil {
			h[headerName] = []string{headerValue(text(m.target))}
		}
	case "resources/read":
		if uri := member(m.params, "uri"); uri != nil {
			h[headerName] = []string{headerValue(text(uri))}
		}
	}
	if method != "tools/call" {
		return
	}
	for _, p := range u.parameters(text(m.target)) {
		if value, ok := p.value(m.params); ok {
			h[http.CanonicalHeaderKey(headerParam+p.header)] = []string{value}
		}
	}
}

// headerValue encodes a text for a header: as it is, or in base64 where a header
// could not hold it ("Value Encoding").
func headerValue(s string) string {
	plain := !strings.HasPrefix(s, "=?base64?") || !strings.HasSuffix(s, "?=")
	if s != strings.Trim(s, " \t") {
		plain = false
	}
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] >= 0x20 && s[i] <= 0x7E
	}
	if plain {
		return s
	}
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
}

// parameter is an argument of a tool that is mirrored into a header.
type parameter struct {
	path   []string
	header string
}

// value returns the header's value for a call, if the argument is there.
func (p parameter) value(params []byte) (string, bool) {
	raw := member(params, append([]string{"arguments"}, p.path...)...)
	switch {
	case raw == nil || string(raw) == "null":
		return "", false
	case raw[0] == '"':
		return headerValue(text(raw)), true
	case string(raw) == "true" || string(raw) == "false":
		return string(raw), true
	}
	return integer(raw)
}

// maxInteger bounds the integers that may be mirrored: beyond it JavaScript
// cannot distinguish them.
const maxInteger = 1<<53 - 1

// integer spells a JSON number as a decimal integer, if it is one.
func integer(raw []byte) (string, bool) {
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return strconv.FormatInt(n, 10), n >= -maxInteger && n <= maxInteger
	}
	var f float64
	if json.Unmarshal(raw, &f) != nil || f != math.Trunc(f) || math.Abs(f) > maxInteger {
		return "", false
	}
	return strconv.FormatInt(int64(f), 10), true
}
