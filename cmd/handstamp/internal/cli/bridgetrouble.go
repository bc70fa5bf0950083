package cli

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/bridge"
)

// bareErrors hands the network errors of the MCP server itself to the bridge as they
// are: it decides what they mean for a request.
type bareErrors struct{ http.RoundTripper }

func (b bareErrors) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(req)
	if e, ok := errors.AsType[*handstamp.Error](err); ok &&
		e.Kind == handstamp.ErrServerUnreachable && e.Err != nil {
		err = e.Err
	}
	return resp, err
}

// explain returns what explains errors of the library to the MCP host. What the user has to
// act on is also written to the host's log, in one line and once.
func (b *bridgeCommand) explain(t *target) func(error) *bridge.Trouble {
	var mu sync.Mutex
	var last string
	return func(err error) *bridge.Trouble {
		tr := trouble(err, t)
		ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
			errors.Is(err, handstamp.ErrClosed)
		if tr == nil || b.direct || ended || tr.Code == bridge.CodeUnreachable {
			return tr
		}
		line := tr.Message
		if tr.Command != "" {
			line += "; run: " + tr.Command
		}
		mu.Lock()
		defer mu.Unlock()
		if line != last {
			b.err.line("handstamp: %s", line)
		}
		last = line
		return tr
	}
}

// trouble returns what an error of the library means to an MCP host. It returns nil for
// what is about the MCP server itself.
func trouble(err error, t *target) *bridge.Trouble {
	e, ok := errors.AsType[*handstamp.Error](err)
	if !ok {
		return nil
	}
	k := kindOf(err)
	r := explain(context.Background(), err)
	if r.Setting != "" {
		r.Message += "; " + r.Hint
	}
	tr := &bridge.Trouble{Code: bridge.CodeSignIn, Reason: k.code, Message: r.Message}
	switch k.exit {
	case exitLogin, exitDenied:
		tr.Command = t.command("login")
		if k.code == "registration_required" || k.code == "client_rejected" {
			tr.Command += " --client-id ID"
		}
	case exitUnreachable:
		tr.Code, tr.Retry = bridge.CodeUnreachable, true
		if !e.RetryAt.IsZero() {
			tr.RetryAfter = max(0, time.Until(e.RetryAt)).Round(time.Millisecond)
		}
	case exitProtocol:
		tr.Code, tr.Command = bridge.CodeProtocol, t.command("doctor")
		if r.Setting == "" && r.Hint != "" {
			tr.Message += "; " + r.Hint
		}
	default:
		tr.Code = bridge.CodeUnreachable
	}
	return tr
}
