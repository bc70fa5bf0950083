package clientdocument

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"time"
)

const (
	// documentMaxAge is for how long servers keep the document: what it says seldom changes.
	documentMaxAge = "public, max-age=3600"

	// keySetMaxAge is shorter, so that a new key is known soon.
	keySetMaxAge = "public, max-age=300"
)

// Handler serves a document at the path of its client_id, and the JWK set at the path of its
// jwks_uri, if the document has one and keySet is not empty. It responds to GET and HEAD, with an
// ETag, and with 404 at any other path.
func Handler(document Document, keySet []byte) (http.Handler, error) {
	data, err := document.Encode()
	if err != nil {
		return nil, err
	}
	served := make(map[string]http.Handler)
	add := func(location, contentType, cacheControl string, content []byte) error {
		u, err := url.Parse(location)
		if err == nil {
			served[u.Path] = serve(contentType, cacheControl, content)
		}
		return err
	}
	if err := add(document.ClientID, "application/json", documentMaxAge, data); err != nil {
		return nil, err
	}
	if document.JWKSURI != "" && len(keySet) > 0 {
		if err := add(document.JWKSURI, "application/jwk-set+json", keySetMaxAge, keySet); err != nil {
			return nil, err
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handler := served[r.URL.Path]; handler != nil {
			handler.ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	}), nil
}

func serve(contentType, cacheControl string, content []byte) http.Handler {
	content = bytes.Clone(content)
	sum := sha256.Sum256(content)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			header.Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		header.Set("Content-Type", contentType)
		header.Set("Cache-Control", cacheControl)
		header.Set("ETag", tag)
		header.Set("X-Content-Type-Options", "nosniff")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
}
