package bridge

import (
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
)

// Trouble is why a request has no response from the server, as the host gets it:
// a JSON-RPC error.
type Trouble struct {
	// Code is the JSON-RPC error code. Zero is CodeUnreachable.
	Code int

	// Message is one sentence for the user.
	Message string

	// Command is what to run against it. Empty: nothing.
	Command string

	// Retry is set if the same request may work later, RetryAfter when.
	Retry      bool
	RetryAfter time.Duration

	// Reason is a word for programs.
	Reason string

	fromSignIn bool // it is trouble of what signs requests in, not of the server itself
}

// The codes of errors that are the bridge's own. The MCP specification leaves
// errors that are local to an implementation without codes and requires that they
// cannot be taken for the peer's: these are outside the range that JSON-RPC
// reserves.
const (
	CodeUnreachable = -31001 // the server, or what signs in to it, could not be reached
	CodeSignIn      = -31002 // the user has to sign in first
	CodeProtocol    = -31003 // the server's response is none
	CodeUncertain   = -31004 // the connection broke: the request may or may not have been carried out
	CodeTranslation = -31005 // host and server are of different eras, and this cannot be translated
	CodeRejected    = -31006 // the server rejected the request over HTTP
)

const (
	codeParse       = -32700
	codeInvalid     = -32600
	codeNoMethod    = -32601
	codeInvalidArgs = -32602
	codeMismatch    = -32020 // HeaderMismatch
	codeCapability  = -32021 // MissingRequiredClientCapability
	codeVersion     = -32022 // UnsupportedProtocolVersion
)

// Error returns the message.
func (t *Trouble) Error() string { return t.Message }

// response returns the error response for a request.
func (t *Trouble) response(id []byte) []byte {
	if id == nil {
		id = []byte("null")
	}
	code := t.Code
	if code == 0 {
		code = CodeUnreachable
	}
	message := t.Message
	if t.Command != "" {
		message += "; run: " + t.Command
	}
	data := []any{"source", "bridge"}
	if t.Reason != "" {
		data = append(data, "reason", t.Reason)
	}
	if t.Command != "" {
		data = append(data, "command", t.Command)
	}
	if t.Retry {
		data = append(data, "retryable", true)
	}
	if t.RetryAfter > 0 {
		data = append(data, "retryAfterMs", t.RetryAfter.Milliseconds())
	}
	return object("jsonrpc", "2.0", "id", id,
		"error", object("code", code, "message", message, "data", object(data...)))
}

// perhapsDone ends the message of a Trouble of [CodeUncertain].
const perhapsDone = "; the request may or may not have been carried out"

func newTrouble(code int, reason, message string) *Trouble {
	return &Trouble{Code: code, Reason: reason, Message: message}
}

// notValid returns the error for what a server sends that is not MCP.
func notValid(message string) *Trouble { return newTrouble(CodeProtocol, "protocol", message) }

// signInFirst returns the error for a request that waits for what the user has to do.
func signInFirst(text string) *Trouble {
	return &Trouble{Code: CodeSignIn, Reason: "auth_required", Retry: true,
		Message: strings.TrimSuffix(text, ".")}
}

// notForwarded returns the error for a message of the MCP host that is not forwarded.
func notForwarded(message string) *Trouble { return newTrouble(codeInvalid, "invalid", message) }

// notParsed returns the error for a message that cannot be read.
func notParsed(message string) *Trouble { return newTrouble(codeParse, "parse", message) }

// rejectedBy returns the error for what a server rejects with a JSON-RPC error.
func rejectedBy(what string, response *message) *Trouble {
	return newTrouble(CodeRejected, "rejected",
		"the server rejects "+what+": "+text(member(response.error, "message")))
}

// explain returns what an error means to the host.
func (b *bridge) explain(err error) *Trouble {
	if t, ok := errtype.As[*Trouble](err); ok {
		return t
	}
	if b.Explain != nil {
		if t := b.Explain(err); t != nil {
			explained := *t
			explained.fromSignIn = true
			return &explained
		}
	}
	return unreachable("the server cannot be reached: " + cause(err))
}

func unreachable(message string) *Trouble {
	return &Trouble{Code: CodeUnreachable, Reason: "unreachable", Retry: true, Message: message}
}
