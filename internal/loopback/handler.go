package loopback

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/handstamp/handstamp/internal/errtype"
)

// maxHeld is how many tabs may wait for [Listener.Finish]. The second and later ones have loaded
// the same response again.
const maxHeld = 8

// ServeHTTP implements http.Handler.
//
// The checks come in this order: the Host header (against DNS rebinding), the page that sent
// the request, its path and method, and only then its parameters.
func (l *Listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !l.enter() {
		write(w, http.StatusServiceUnavailable, l.named(expiredView))
		return
	}
	defer l.leave()
	path, _, _ := strings.Cut(r.RequestURI, "?")
	posted := r.Method == http.MethodPost && path == l.path
	if r.Body != nil && r.Body != http.NoBody && !posted {
		// It is not read, neither by us nor afterwards by net/http.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now())
	}
	switch {
	case !l.isHost(r):
		write(w, http.StatusForbidden, l.named(forbiddenView))
	case l.isScripted(r):
		write(w, http.StatusForbidden, l.named(forbiddenView))
	case path != l.path:
		write(w, http.StatusNotFound, l.named(notFoundView))
	case r.Method != http.MethodGet && !posted:
		w.Header().Set("Allow", http.MethodGet+", "+http.MethodPost)
		write(w, http.StatusMethodNotAllowed, l.named(forbiddenView))
	case isPrefetch(r):
		write(w, http.StatusNotFound, l.named(notFoundView))
	default:
		l.callback(w, r)
	}
}

// callback responds to a request to the redirect URI.
func (l *Listener) callback(w http.ResponseWriter, r *http.Request) {
	params, err := parameters(w, r)
	result := notAwaited
	if err == nil {
		result, err = l.offer(params)
	}
	switch result {
	case notAwaited:
		v := notAwaitedView
		if unbound, ok := errtype.As[*UnboundError](err); ok {
			v = unbound.view()
		}
		write(w, http.StatusBadRequest, l.named(v))
	case tooLate:
		write(w, http.StatusGone, l.named(expiredView))
	case repeated:
		l.hold(w, r, true)
	case awaited:
		l.hold(w, r, false)
	}
}

// outcome is what [Listener.offer] did with a callback's parameters.
type outcome int

const (
	notAwaited outcome = iota // not what is awaited
	tooLate                   // nothing is awaited any more
	awaited                   // the awaited response
	repeated                  // the awaited response once more
)

// offer calls Accept with params, unless the awaited response has been received already. The
// error is that of Accept where params are not the awaited response.
func (l *Listener) offer(params url.Values) (outcome, error) {
	digest := sha256.Sum256([]byte(params.Encode()))
	l.accepting.Lock()
	defer l.accepting.Unlock()
	if v, decided := l.known(digest); decided {
		return v, nil
	}
	err := l.accept(params)
	if errors.Is(err, ErrIgnore) {
		return notAwaited, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended { // during the call of Accept
		return tooLate, nil
	}
	l.response = &response{params: params, err: err, digest: digest}
	close(l.received)
	return awaited, nil
}

// known returns the outcome for parameters that Accept need not see.
func (l *Listener) known(digest [sha256.Size]byte) (v outcome, decided bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.response != nil && l.response.digest == digest:
		return repeated, true
	case l.response != nil || l.ended:
		return tooLate, true
	}
	return notAwaited, false
}

// hold keeps the request of a browser that brought the awaited response open until
// [Listener.Finish] tells how the sign-in ended.
func (l *Listener) hold(w http.ResponseWriter, r *http.Request, again bool) {
	l.mu.Lock()
	crowded := l.held >= maxHeld
	l.held++
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.held--
		l.mu.Unlock()
	}()
	if crowded {
		write(w, http.StatusOK, l.bound(pendingView))
		return
	}
	pin(r.Context())
	timer := time.NewTimer(holdTime)
	defer timer.Stop()
	select {
	case <-l.finished:
	case <-l.closing:
	case <-timer.C:
	case <-r.Context().Done():
		return
	}
	select {
	case <-l.finished: // checked before closing: Close may have followed at once
		l.mu.Lock()
		p := l.page
		l.mu.Unlock()
		write(w, http.StatusOK, l.result(p, again))
		return
	default:
	}
	select {
	case <-l.closing:
		write(w, http.StatusOK, l.bound(unfinishedView))
	default:
		write(w, http.StatusOK, l.bound(pendingView))
	}
}

// isHost reports whether r names the host of the redirect URI. A page that rebinds its DNS name
// to this machine sends its own name.
func (l *Listener) isHost(r *http.Request) bool {
	if r.URL.Host != "" || r.URL.Scheme != "" {
		return false // a request to a proxy
	}
	host := strings.ToLower(r.Host)
	return host == l.host || host+":80" == l.host // browsers leave the default port out
}

// isScripted reports whether a page sent r by script, or embeds it. Browsers send no Origin
// header when they follow a redirect by GET. After a posted form some send "null", and all send
// the page's origin where both are plain http (Fetch Standard, "append a request Origin
// header").
func (l *Listener) isScripted(r *http.Request) bool {
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return true
	}
	return slices.ContainsFunc(r.Header.Values("Origin"), func(origin string) bool {
		return origin != "null" && (r.Method != http.MethodPost || l.formOrigin == "" || origin != l.formOrigin)
	})
}

// isPrefetch reports whether a browser loads the page ahead of time. It sends another request,
// with another code, if the user does open the page.
func isPrefetch(r *http.Request) bool {
	return slices.ContainsFunc([]string{"Sec-Purpose", "Purpose", "X-Moz"}, func(name string) bool {
		return strings.Contains(strings.ToLower(r.Header.Get(name)), "prefetch")
	})
}

// enter counts a request that begins. It reports false if the Listener is closed.
func (l *Listener) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.serving++
	return true
}

// leave counts a request that has ended. Its page has been written by then.
func (l *Listener) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serving--
	if l.closed && l.serving == 0 {
		close(l.idle)
	}
}
