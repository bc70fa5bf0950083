// Package oauth is the protocol: the parts of OAuth that a client of MCP servers
// needs, one file for each RFC, with no store, no prompt and no state.
//
// It is liberal in what it reads where real servers differ from the text, and
// strict where strictness protects: the URL that a person's browser is sent to,
// the endpoint that a secret is sent to, and the issuer that an answer is
// believed to come from. Every function says which of its errors a caller can
// act on; none of them contains a body, a token or a secret.
//
// The functions and methods of this package may be called concurrently.
package oauth

import "github.com/handstamp/handstamp/secret"

// Secret is a value that must not be seen; it prints as "[redacted]".
type Secret = secret.String
