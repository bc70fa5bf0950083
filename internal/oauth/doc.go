// Package oauth implements the protocol: the parts of OAuth that a client of MCP servers needs,
// about one file for each RFC. It parses documents and responses, sends requests and classifies
// errors. It has no store, no prompt and no state, and does not decide when to refresh or log in.
//
// It is liberal in what it parses where real servers differ from the RFCs, and strict where
// strictness protects: the URL that the user's browser opens, the endpoint that a secret is sent
// to, and the issuer that a response comes from. Every function documents the errors that a
// caller can act on; none of them contains a response body, a token or a secret.
//
// The functions and methods of this package may be called concurrently.
package oauth

import "github.com/handstamp/handstamp/secret"

// Secret is a value that must not be shown; it prints as "[redacted]".
type Secret = secret.String
