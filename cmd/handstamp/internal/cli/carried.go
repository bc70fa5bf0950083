package cli

import (
	"encoding/base64"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"

	"github.com/handstamp/handstamp/internal/redact"
)

// maxCarried bounds the credentials that are remembered: an old token is worth
// nothing.
const maxCarried = 16

// carriedSecrets is a RoundTripper that remembers the credentials which its requests
// were sent with: the Authorization header, and the headers that the user gave. The
// server's texts are cleared of them before a user sees them.
type carriedSecrets struct {
	http.RoundTripper
	header http.Header // the user's

	mu     sync.Mutex
	values []string // guarded by mu
}

func (c *carriedSecrets) RoundTrip(req *http.Request) (*http.Response, error) {
	trace := &httptrace.ClientTrace{WroteHeaderField: c.wrote}
	return c.RoundTripper.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
}

// wrote is called for each header field of each request, as it is sent.
func (c *carriedSecrets) wrote(name string, values []string) {
	name = http.CanonicalHeaderKey(name)
	if _, given := c.header[name]; !given && name != "Authorization" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, value := range values {
		if _, credentials, ok := strings.Cut(value, " "); ok && name == "Authorization" {
			value = credentials
		}
		c.add(value)
		// A server may repeat the password alone, which is in the value as base64.
		encoded := value[strings.LastIndexByte(value, ' ')+1:]
		if pair, err := base64.StdEncoding.DecodeString(encoded); err == nil {
			if _, password, ok := strings.Cut(string(pair), ":"); ok {
				c.add(password)
			}
		}
	}
	if more := len(c.values) - maxCarried; more > 0 {
		c.values = slices.Delete(c.values, 0, more)
	}
}

// add remembers a value. The caller holds c.mu.
func (c *carriedSecrets) add(value string) {
	if !slices.Contains(c.values, value) {
		c.values = append(c.values, value)
	}
}

// redact takes the credentials out of a server's text. A nil c has none.
func (c *carriedSecrets) redact(text string) string {
	if c == nil {
		return text
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return redact.Text(text, c.values...)
}
