package bridge

import (
	"context"
	"errors"
)

// introduce sends a host's server/discover and notes what the answer says of the
// server.
func (e *eras) introduce(ctx context.Context, raw []byte) (*message, error) {
	answer, err := e.up.ask(ctx, raw)
	refused, isRefusal := errors.AsType[*refusal](err)
	switch {
	case err == nil && answer.result != nil:
		e.setServer(modernEra)
	case err == nil && errorCode(answer) == codeVersion && supportsModern(answer):
		e.setServer(modernEra)
	case err == nil:
		e.setServer(legacyEra)
	case isRefusal && refused.old():
		e.setServer(legacyEra)
		if refused.body == nil {
			return nil, noDiscover
		}
	case isRefusal && refused.body != nil:
		e.setServer(modernEra)
	}
	return answer, err
}

// probe asks in a host's name what the server is.
func (e *eras) probe(ctx context.Context, meta []byte) (*message, error) {
	return e.introduce(ctx, object("jsonrpc", "2.0", "id", e.nextID(), "method", "server/discover", "params", object("_meta", meta)))
}
