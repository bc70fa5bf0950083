package mcpremote

import (
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/handstamp/handstamp/internal/lazyregexp"
)

// webAddress is what may be a URL in any text.
var webAddress = lazyregexp.New(`https?://[^\s"'<>\\^` + "`" + `{}|()\[\],;]+`)

// maxURLs bounds how many URLs are taken from one text, and maxURL the length of
// one in bytes.
const (
	maxURLs = 2000
	maxURL  = 2048
)

// URLs returns the URLs in a text, each once.
func URLs(text []byte) []string {
	var urls []string
	seen := make(map[string]bool)
	for _, match := range webAddress.Get().FindAll(text, 20*maxURLs) {
		u := strings.TrimRight(string(match), ".:!?*")
		if !seen[u] && len(u) <= maxURL && len(urls) < maxURLs {
			seen[u] = true
			urls = append(urls, u)
		}
	}
	return urls
}

// usualPaths are where MCP servers are on their hosts.
var usualPaths = []string{
	"", "/", "/mcp", "/mcp/", "/sse", "/sse/", "/v1/mcp", "/v1/sse", "/api/mcp", "/mcp/sse", "/mcp/v1",
}

// Spellings returns how a user may have typed the URL of a server of which a
// URL is known: as it is, with a slash at its end or without, and the places on its
// host where such servers usually are. Which of them it was, a hash proves.
func Spellings(rawURL string) []string {
	spellings := []string{rawURL}
	bare := strings.TrimRight(rawURL, "/")
	spellings = append(spellings, bare, bare+"/")
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return spellings
	}
	for _, path := range usualPaths {
		spellings = append(spellings, u.Scheme+"://"+strings.ToLower(u.Host)+path)
	}
	return spellings
}

// claimURLs returns the URLs in a token that is a JWT (RFC 7519): its audience is
// the server, at many. They are only tried, never believed.
func claimURLs(token string) []string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	claims, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return nil
	}
	return URLs([]byte(strings.ReplaceAll(string(claims), `\/`, "/")))
}
