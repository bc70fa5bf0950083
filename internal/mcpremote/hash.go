package mcpremote

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Server is a server as mcp-remote is started for it: the parts of its command line
// that the names of the files are made from. All are as they were typed.
type Server struct {
	URL               string
	Resource          string            // --resource
	Headers           map[string]string // --header and --header-file, placeholders not replaced
	AuthorizeParams   map[string]string // --authorize-param
	ClientMetadataURL string            // --client-metadata-url
	TokenEndpoint     string            // --token-endpoint
}

// Hashes returns what the server's files may begin with, that of the newest
// version first. Older versions knew fewer parts.
func (s Server) Hashes() []string {
	var hashes []string
	add := func(s Server) {
		parts := []string{s.URL}
		for _, part := range []string{s.Resource, stringify(s.AuthorizeParams), stringify(s.Headers),
			s.ClientMetadataURL, s.TokenEndpoint} {
			if part != "" {
				parts = append(parts, part)
			}
		}
		sum := md5.Sum([]byte(strings.Join(parts, "|")))
		if hash := hex.EncodeToString(sum[:]); !slices.Contains(hashes, hash) {
			hashes = append(hashes, hash)
		}
	}
	add(s) // 0.14
	s.TokenEndpoint = ""
	add(s) // 0.7
	s.ClientMetadataURL = ""
	add(s) // 0.6
	s.AuthorizeParams = nil
	add(s) // 0.1.33
	add(Server{URL: s.URL})
	return hashes
}

// stringify writes an object as JSON.stringify does with its keys in order; "" if
// it is empty.
func stringify(object map[string]string) string {
	if len(object) == 0 {
		return ""
	}
	members := make([]string, 0, len(object))
	for _, name := range slices.Sorted(maps.Keys(object)) {
		members = append(members, quote(name)+":"+quote(object[name]))
	}
	return "{" + strings.Join(members, ",") + "}"
}

// quote writes a string as JSON.stringify does, which escapes less than
// encoding/json.
func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil {
		return `""`
	}
	unescape := strings.NewReplacer(`\\`, `\\`, `\u2028`, "\u2028", `\u2029`, "\u2029")
	return unescape.Replace(strings.TrimSuffix(b.String(), "\n"))
}
