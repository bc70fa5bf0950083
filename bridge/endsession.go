package bridge

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"sync"
)

// endings is how often the end of a session is sent.
const endings = 2

// use counts a request as one of the present session's until the function that it returns is
// called.
func (u *upstream) use() (done func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.users.Add(1)
	return u.users.Done
}

// endPrevious notifies the server that the session so far is over, as another one takes its
// place: it may have forgotten that one, or only one of its instances has. What is under way on it
// may still have its response before that. The caller holds mu.
func (u *upstream) endPrevious(next string) {
	session, version, users := u.session, u.version, u.users
	if session == "" || session == next {
		return
	}
	u.users = new(sync.WaitGroup)
	u.do(func() {
		users.Wait()
		// The end of the bridge waits for it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(u.life), endSessionTimeout)
		defer cancel()
		u.endSession(ctx, session, version)
	})
}

// endSession ends a session at the server (2025-11-25, "Session Management", 5).
func (u *upstream) endSession(ctx context.Context, session, version string) {
	req, err := http.NewRequestWithContext(u.background(ctx), http.MethodDelete, u.URL, nil)
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
