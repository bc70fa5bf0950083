package bridge

import (
	"context"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
)

// longestProbe bounds a server/discover, in which the user may have to sign in. The host
// has its response long before that.
const longestProbe = 10 * time.Minute

// noDiscoverResponse is for a host whose server/discover gets no response from the server: it falls
// back to initialize, as the specification wants of it ("Backward Compatibility").
var noDiscoverResponse = newTrouble(codeNoMethod, "no_response",
	"the server has not responded to server/discover yet: begin with initialize")

// introduce sends a host's server/discover and notes what the response means for the
// server.
func (e *eras) introduce(ctx context.Context, raw []byte) (*message, error) {
	ctx, cancel := context.WithTimeout(ctx, longestProbe)
	defer cancel()
	response, err := e.up.request(ctx, raw)
	rejected, isRejection := errtype.As[*rejection](err)
	switch {
	case err == nil && response.result != nil:
		e.learned(modernEra)
	case err == nil && errorCode(response) == codeVersion && supportsModern(response):
		e.learned(modernEra)
	case err == nil:
		e.learned(legacyEra)
	case isRejection && rejected.fromOlderEra():
		e.learned(legacyEra)
		if rejected.body == nil {
			return nil, noDiscover
		}
	case isRejection && rejected.body != nil:
		e.learned(modernEra)
	}
	return response, err
}

// probe returns what finds out what the server is, in the name of a host that has sent meta.
func (e *eras) probe(meta []byte) opening {
	return func(ctx context.Context) (*message, error) {
		return e.introduce(ctx, e.newRequest("server/discover", "params", object("_meta", meta)))
	}
}

// firstContact makes the first contact for a modern host. It reports whether the request has its
// response, or an error why it gets none.
func (r *placeholder) firstContact(c *call) (done bool, err error) {
	discover := c.is("server/discover")
	var f *firstContact
	if discover {
		f = r.era.startContact(func(ctx context.Context) (*message, error) {
			return r.era.introduce(ctx, c.raw)
		}, func() {})
	} else {
		f = r.era.contact(probing, r.era.probe(c.meta))
	}
	switch r.waitForContact(c, f, r.probeWait()) {
	case userAwaited:
		if modernVersion(c.message) == "" {
			return true, noDiscoverResponse // nothing is shown to a host of before without initialize
		}
		done, entered := r.begin(c, f)
		if !entered && discover {
			return true, noDiscoverResponse
		}
		return done, nil
	case waitOver:
		// A server that does not respond to server/discover is treated as one of before.
		r.era.learned(legacyEra)
		if discover {
			return true, noDiscoverResponse
		}
		return false, nil
	case callOver:
		return true, c.ctx.Err()
	case serverResponded:
	}
	switch {
	case discover && f.response != nil:
		r.deliverResponse(c, f.response, true)
		return true, nil
	case f.err != nil && (discover || r.era.serverEra() == unknownEra):
		return true, f.err
	}
	return false, nil
}
