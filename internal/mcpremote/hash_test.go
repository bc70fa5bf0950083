package mcpremote

import (
	"crypto/md5"
	"encoding/hex"
	"slices"
	"testing"
)

// The wanted hashes were made by the function of mcp-remote 0.15.1.
func TestHashes(t *testing.T) {
	const u = "https://mcp.example.com/mcp"
	for _, test := range []struct {
		server Server
		want   string
	}{
		{Server{URL: u}, "94baabe3c3fadb285b26c035e4e86046"},
		{Server{URL: u, Resource: "https://r.example.com/"}, "5e7dd4f847e8b1834f0b63ed52ba7fad"},
		{Server{URL: u, Headers: map[string]string{"X-B": "<b>&\"\\ \u2028é", "X-A": "${TOKEN}\t\b"}}, "3f1130f94b01f26be03026b4526371b3"},
		{Server{URL: u, Resource: "https://r.example.com/", Headers: map[string]string{"A": "1"},
			AuthorizeParams: map[string]string{"prompt": "consent", "access_type": "offline"}}, "09099869cd2d5bec2c4500786769e91d"},
		{Server{URL: u, ClientMetadataURL: "https://c.example.com/c.json"}, "34ef54a11bc95689f83014378df05054"},
		{Server{URL: u, Resource: "https://r.example.com/", Headers: map[string]string{"A": "1"}, AuthorizeParams: map[string]string{"p": "q"},
			ClientMetadataURL: "https://c.example.com/c.json", TokenEndpoint: "https://as.example.com/token"}, "d3885e3125cd0143d57df7faf66b5243"},
	} {
		hashes := test.server.Hashes()
		if hashes[0] != test.want {
			t.Errorf("%+v: %s, want %s", test.server, hashes[0], test.want)
		}
		// Every version that knew the URL alone.
		sum := md5.Sum([]byte(u))
		if !slices.Contains(hashes, hex.EncodeToString(sum[:])) {
			t.Errorf("%+v: the hash of the URL alone is not among %v", test.server, hashes)
		}
	}
}
