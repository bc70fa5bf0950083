package loopback

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxHeld is how many tabs may wait for Finish. More than one is the same
// response, loaded again.
const maxHeld = 8

// ServeHTTP implements http.Handler.
//
// The checks come from the least to the most that a request may tell: whose name
// it has used for us (against DNS rebinding), which page sent it, what for, and
// only then what it says.
func (l *Listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !l.enter() {
		write(w, http.StatusServiceUnavailable, expiredView)
		return
	}
	defer l.leave()
	path, _, _ := strings.Cut(r.RequestURI, "?")
	posted := r.Method == http.MethodPost && path == l.path
	if r.Body != nil && r.Body != http.NoBody && !posted {
		// It is not read, neither by us nor afterwards by net/http.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now())
	}
	switch start := l.startOf(path); {
	case !l.isHost(r):
		write(w, http.StatusForbidden, forbiddenView)
	case l.isScripted(r):
		write(w, http.StatusForbidden, forbiddenView)
	case path != l.path && start == "":
		write(w, http.StatusNotFound, notFoundView)
	case r.Method != http.MethodGet && !posted:
		w.Header().Set("Allow", l.methods(path))
		write(w, http.StatusMethodNotAllowed, methodView)
	case isPrefetch(r):
		write(w, http.StatusNotFound, notFoundView)
	case start != "":
		l.redirect(w, start)
	default:
		l.callback(w, r)
	}
}

// methods returns the methods that a path takes, as the Allow header lists them.
func (l *Listener) methods(path string) string {
	if path == l.path {
		return http.MethodGet + ", " + http.MethodPost
	}
	return http.MethodGet
}

// callback responds to a request to the redirect URI.
func (l *Listener) callback(w http.ResponseWriter, r *http.Request) {
	params, err := parameters(w, r)
	verdict := notAwaited
	if err == nil {
		verdict, err = l.offer(params)
	} else {
		l.ignore()
	}
	switch verdict {
	case notAwaited:
		v := notAwaitedView
		if unbound, ok := errors.AsType[*UnboundError](err); ok {
			v = unbound.view()
		}
		write(w, http.StatusBadRequest, v)
	case tooLate:
		write(w, http.StatusGone, expiredView)
	case repeated:
		l.hold(w, r, true)
	case awaited:
		l.hold(w, r, false)
	}
}

// verdict is what became of a callback's parameters.
type outcome int

const (
	notAwaited outcome = iota // not what is awaited
	tooLate                   // nothing is awaited any more
	awaited                   // the awaited response
	repeated                  // the awaited response once more
)

// offer has Accept decide about params, unless the response is there already. The
// error is Accept's, for a stranger.
func (l *Listener) offer(params url.Values) (outcome, error) {
	digest := sha256.Sum256([]byte(params.Encode()))
	l.accepting.Lock()
	defer l.accepting.Unlock()
	if v, decided := l.known(digest); decided {
		return v, nil
	}
	err := l.accept(params)
	if errors.Is(err, ErrIgnore) {
		l.ignore()
		return notAwaited, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended { // while Accept was asked
		return tooLate, nil
	}
	l.response = &response{params: params, err: err, digest: digest}
	close(l.received)
	return awaited, nil
}

// known returns the verdict on parameters for which Accept is not needed.
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

func (l *Listener) ignore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ignored++
}

// hold keeps a browser that has brought the response waiting until it is known
// what became of it.
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
		write(w, http.StatusOK, pendingView)
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
	case <-l.finished: // before closing: Close may have come right after
		l.mu.Lock()
		p := l.page
		l.mu.Unlock()
		write(w, http.StatusOK, l.result(p, again))
		return
	default:
	}
	select {
	case <-l.closing:
		write(w, http.StatusOK, unfinishedView)
	default:
		write(w, http.StatusOK, pendingView)
	}
}

// redirect sends a browser that came by the short URL on to target.
func (l *Listener) redirect(w http.ResponseWriter, target string) {
	l.mu.Lock()
	over := l.response != nil || l.ended
	l.mu.Unlock()
	if over {
		write(w, http.StatusGone, expiredView)
		return
	}
	w.Header().Set("Location", target)
	write(w, http.StatusFound, redirectView)
}

// startOf returns where path, as the path of the short URL, leads; "" if it is
// not that path.
func (l *Listener) startOf(path string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.startPath == "" || subtle.ConstantTimeCompare([]byte(path), []byte(l.startPath)) == 0 {
		return ""
	}
	return l.startTarget
}

// isHost reports whether r was sent to the name in the redirect URI and to no
// other, by which a rebound DNS name would have led here.
func (l *Listener) isHost(r *http.Request) bool {
	if r.URL.Host != "" || r.URL.Scheme != "" {
		return false // a request to a proxy, which this is not
	}
	host := strings.ToLower(r.Host)
	return host == l.host || host+":80" == l.host // browsers leave the default port out
}

// isScripted reports whether a page has sent r by script, or embeds it. Browsers
// name no origin when they follow a redirect by GET. After a form that was posted
// some name "null", and all name the page's origin where both are plain http
// (Fetch Standard, "append a request Origin header").
func (l *Listener) isScripted(r *http.Request) bool {
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return true
	}
	for _, origin := range r.Header.Values("Origin") {
		if origin != "null" && (r.Method != http.MethodPost || l.formOrigin == "" || origin != l.formOrigin) {
			return true
		}
	}
	return false
}

// isPrefetch reports whether a browser only guesses that the person might go
// here. It comes back, with another code, if that is so.
func isPrefetch(r *http.Request) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Moz"} {
		if strings.Contains(strings.ToLower(r.Header.Get(name)), "prefetch") {
			return true
		}
	}
	return false
}

// enter counts a request in, unless the Listener is closed.
func (l *Listener) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.serving++
	return true
}

// leave counts a request out. Its page has left this process by then.
func (l *Listener) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serving--
	if l.closed && l.serving == 0 {
		close(l.idle)
	}
}
