package bridge

import (
	"context"
	"errors"
	"maps"
	"net/http"
)

// endings is how often the end of a session is sent.
const endings = 2

// endPrevious notifies the server that the session so far is over, as another one takes its
// place: it may have forgotten that one, or only one of its instances has. The caller holds mu.
func (u *upstream) endPrevious(next string) {
	session, version := u.session, u.version
	if session == "" || session == next {
		return
	}
	u.do(func() {
		// The end of the bridge waits for it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(u.life), endSessionTimeout)
		defer cancel()
		u.endSession(ctx, session, version)
	})
}

// endSession ends a session at the server (2025-11-25, "Session Management", 5).
func (u *upstream) endSession(ctx context.Context, session, version string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, u.URL, nil)
	if err != nil {
		return
	}
	maps.Copy(req.Header, u.Header)
	nameSession(req.Header, session, version)
	// A request that is cancelled while its response arrives may take the connection with
	// it that this one has just been given.
	for range endings {
		resp, err := u.HTTP.Do(req)
		if err == nil {
			discard(resp)
		}
		if !errors.Is(err, context.Canceled) || ctx.Err() != nil {
			return
		}
	}
}
