package bridge

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// retryResultWait is how long a call of the sign-in placeholder waits for what a new
	// try comes to at once.
	retryResultWait = 700 * time.Millisecond

	// watchInterval is how often it is looked whether a login was done elsewhere, and
	// the first pause before a server that could not be reached is tried again.
	watchInterval = 2 * time.Second

	// goneAfter is how long the server may take after a login before the host is notified of that the
	// sign-in placeholder is gone.
	goneAfter = 4 * time.Second

	// longestWatch bounds the pauses, which double, between tries to reach a server, and
	// longestRetryAfter those that the server wants.
	longestWatch      = 30 * time.Second
	longestRetryAfter = 10 * time.Minute
)

// signInTool is the name of the sign-in placeholder, the tool that a host is offered
// while the user has to sign in.
const signInTool = "sign_in"

// placeholder responds to the host in the server's place while the server is not there: while the
// user has to sign in, with the sign-in placeholder, and while the server is slow to
// wake, without any tool. When the server is there, the host is notified that the lists have
// changed.
type placeholder struct {
	*bridge

	mu      sync.Mutex // guards what follows
	absence *absence   // nil: the host has no response here
	greeted bool       // the host was greeted here, with more capabilities than the server may have
	shown   bool       // the host may still believe in the sign-in placeholder
	level   *message   // the host's logging/setLevel, for the server to come; nil: none
}

// absence is one stay of the host's in the placeholder. Its fields are guarded by room.mu, but
// for the channels that are made with it.
type absence struct {
	modern         []byte        // _meta of a modern host's first request; nil: the host is of before
	greeted        chan struct{} // closed when the host's first request has its response
	over           chan struct{} // closed when the server is there, or the host begins anew
	retryRequested chan struct{} // holds one value when the host wants another try
	signInNews     chan struct{} // holds one value when the host is to list the tools again

	signIn        bool          // the user has to sign in: the host is shown the placeholder
	denied        bool          // the last try ended because the user is not signed in
	signInChanged chan struct{} // closed when signIn changes
	failure       *Trouble      // how the last try ended; nil: none has
	trying        bool
	tryEnded      chan struct{} // closed when the try under way has failed
	subscriptions []*call       // subscriptions/listen that wait for the server
}

// active reports whether the host is served here.
func (r *placeholder) active() bool { return r.current() != nil }

// current returns the visit under way, or nil.
func (r *placeholder) current() *absence {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.absence
}

// initialize responds to the host's initialize: as the server does, or in its place where
// the server is not there in time or the user has to sign in first.
func (b *bridge) initialize(c *call) {
	if b.before != nil {
		<-b.before
	}
	f := b.era.contact(initializing, b.era.connectPatiently)
	met := b.placeholder.waitForContact(c, f, b.era.initializeWait())
	switch {
	case met == callOver:
	case met != serverResponded, f.err != nil && b.InitializeWait >= 0 && unreachableYet(f.err):
		b.placeholder.begin(c, f)
	case f.response == nil:
		c.fail(b.explain(f.err))
	default:
		b.deliverResponse(c, f.response, false)
	}
}

// begin lets the host in with its first request. done is false if that is the server's
// after all, which has come meanwhile; entered is, if the request is a probe and the host
// has gone on to initialize.
func (r *placeholder) begin(c *call, f *firstContact) (done, entered bool) {
	modern := modernVersion(c.message) != ""
	r.mu.Lock()
	if modern && r.era.initializeSent() != nil {
		r.mu.Unlock()
		return false, false
	}
	v := r.absence
	if v == nil {
		v = &absence{
			greeted: make(chan struct{}), over: make(chan struct{}), signInChanged: make(chan struct{}),
			retryRequested: make(chan struct{}, 1), signInNews: make(chan struct{}, 1),
		}
		v.beginTry()
		v.signIn, _ = r.User.status()
		if modern {
			v.modern = c.meta
		}
		r.absence, r.greeted, r.shown = v, true, v.signIn
		defer close(v.greeted)
		r.do(func() { r.run(v, f) })
	}
	signIn := v.signIn
	r.mu.Unlock()
	if !c.is("initialize") {
		return r.reply(c, v), true
	}
	r.Logger.Debug("responding in the server's place", "sign_in", signIn)
	version := text(member(c.params, "protocolVersion"))
	if version == "" || version >= firstModern {
		version = "2025-11-25"
	}
	c.reply(object("protocolVersion", version, "capabilities", offers,
		"serverInfo", object("name", r.Name, "version", r.Version)))
	return true, true
}

// leave lets the host out because it begins anew.
func (r *placeholder) leave() {
	if v := r.current(); v != nil {
		r.release(v, func() {})
	}
}

// release ends a visit and hands what waited in it to the server. It reports false if
// that has ended already.
func (r *placeholder) release(v *absence, announce func()) bool {
	r.mu.Lock()
	if r.absence != v {
		r.mu.Unlock()
		return false
	}
	r.absence = nil
	r.mu.Unlock()
	announce()
	close(v.over)
	for _, c := range v.subscriptions { // complete, as only a visit under way is added to
		c.quiet = true // it was acknowledged here
		close(c.resumed)
	}
	return true
}

// offers are the capabilities that a server may turn out to have. Those that it has not
// have their responses for by soften.
var offers = []byte(`{"logging":{},"completions":{},"prompts":{"listChanged":true},` +
	`"resources":{"subscribe":true,"listChanged":true},"tools":{"listChanged":true}}`)

// updateSignIn corrects what the host was shown when the user begins or ceases to be needed.
func (r *placeholder) updateSignIn() {
	awaited, _ := r.User.status()
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.absence
	if v == nil {
		return
	}
	v.denied = v.denied && !awaited
	if signIn := awaited || v.denied; signIn != v.signIn {
		v.signIn = signIn
		r.shown = r.shown || signIn
		close(v.signInChanged)
		v.signInChanged = make(chan struct{})
		select {
		case v.signInNews <- struct{}{}:
		default:
		}
	}
}

// run waits until the server is there.
func (r *placeholder) run(v *absence, f *firstContact) {
	select {
	case <-v.greeted:
	case <-r.life.Done():
		return
	}
	var stored storedLogin
	var gone <-chan time.Time // when the host is notified of that the placeholder is gone
	for failures := 0; ; {
		select {
		case <-f.done:
		case <-v.signInNews:
			if gone = nil; r.showsSignIn(v) {
				r.announce(v, "tools")
			} else {
				// The user has signed in: the server's own tools are likely to come in a moment.
				gone = time.After(goneAfter)
			}
			continue
		case <-gone:
			gone = nil
			r.announce(v, "tools")
			continue
		case <-v.over:
			return
		case <-r.life.Done():
			return
		}
		if r.handOver(v, f) {
			return
		}
		if f = r.waitForRetry(v, f, failures, &stored); f == nil {
			return
		}
		failures++
	}
}

// showsSignIn reports whether the host is shown the sign-in placeholder.
func (r *placeholder) showsSignIn(v *absence) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return v.signIn
}

// waitForRetry waits for a reason to try again: the host wants it, the user has signed in
// elsewhere, or the server may be back. It returns nil if the host is not here any more.
func (r *placeholder) waitForRetry(v *absence, f *firstContact, failures int, stored *storedLogin) *firstContact {
	failure := r.era.failed(f)
	r.mu.Lock()
	v.trying, v.failure, v.denied = false, failure, failure.Code == CodeSignIn || failure.fromSignIn
	close(v.tryEnded)
	r.mu.Unlock()
	r.updateSignIn()
	// What the server rejects for good is not requested again unless the host does that.
	passes := failure.Code != CodeSignIn && (failure.Retry || unreachableYet(f.err))
	failed := time.Now()
	backoff := min(watchInterval<<min(failures, 8), longestWatch)
	next := time.Now().Add(max(backoff, min(failure.RetryAfter, longestRetryAfter)))
	watch := time.NewTicker(watchInterval)
	defer watch.Stop()
	for {
		select {
		case <-v.retryRequested:
			return r.retry(v)
		case <-v.signInNews:
			r.announce(v, "tools")
			continue
		case <-watch.C:
		case <-v.over:
			return nil
		case <-r.life.Done():
			return nil
		}
		elsewhere := failure.Code == CodeSignIn && r.SignedIn != nil &&
			stored.due(r.SignedIn(r.life), time.Since(failed))
		if elsewhere || passes && !time.Now().Before(next) {
			return r.retry(v)
		}
	}
}

// beginTry notes that a try is under way, and reports whether it begins with that. The
// caller holds room.mu.
func (v *absence) beginTry() bool {
	if v.trying {
		return false
	}
	v.trying, v.tryEnded = true, make(chan struct{})
	return true
}

// requestRetry has another try begin, unless one is under way, and returns what is closed when
// that has failed.
func (r *placeholder) requestRetry(v *absence) (ended <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v.beginTry() {
		v.retryRequested <- struct{}{} // it holds one, and nothing else is wanted
	}
	return v.tryEnded
}

// retry makes contact anew.
func (r *placeholder) retry(v *absence) *firstContact {
	r.mu.Lock()
	v.beginTry() // unless the host has, which wants it
	select {
	case <-v.retryRequested: // this is it
	default:
	}
	r.mu.Unlock()
	if v.modern != nil {
		return r.era.contact(probing, func(ctx context.Context) (*message, error) {
			return r.era.probe(ctx, v.modern)
		})
	}
	return r.era.contact(initializing, r.era.connect)
}

// failed returns why a first contact has come to nothing, for the requests that wait for
// it: none of them has been sent.
func (e *eras) failed(f *firstContact) *Trouble {
	if f.err == nil {
		return &Trouble{Code: CodeRejected, Reason: "rejected",
			Message: "the server rejects a session: " + text(member(f.response.error, "message"))}
	}
	failure := *e.explain(f.err)
	if failure.Code == CodeUncertain {
		failure.Code, failure.Retry = CodeUnreachable, true
		if failure.Reason == lost.Reason {
			failure.Message = "the connection to the server broke before the response to initialize came"
		}
	}
	return &failure
}

// handOver sends the host on to the server, if that is there.
func (r *placeholder) handOver(v *absence, f *firstContact) bool {
	there := f.err == nil && f.response.error == nil
	if v.modern != nil {
		there = r.era.serverEra() != unknownEra // whatever it sent
	}
	if !there {
		return false
	}
	r.confirm(v)
	released := r.release(v, func() {
		r.confirm(v) // with a notifications/initialized that came while the host was still here
		r.Logger.Debug("the server is there")
		r.announce(v, r.changedLists(v)...)
	})
	if released {
		r.setLevel()
	}
	return true
}

// confirm ends the handshake of a host of before 2026-07-28.
func (r *placeholder) confirm(v *absence) {
	if v.modern != nil {
		return
	}
	if err := r.era.confirmOrReplace(r.life); err != nil {
		r.Logger.Debug("the server could not be told that the session has begun", "err", err)
	}
}

// setLevel gives the server the log level that the host has set here.
func (r *placeholder) setLevel() {
	r.mu.Lock()
	m := r.level
	r.mu.Unlock()
	if m == nil || r.era.capability("logging") == nil {
		return
	}
	if r.era.serverEra() == modernEra {
		r.era.modern.setLevel(m)
	} else if _, err := r.up.request(r.life, set(m.raw, "id", r.nextID())); err != nil {
		r.Logger.Debug("the log level could not be set", "err", err)
	}
}

// changedLists returns which lists the host does not know yet. That of the tools is always one.
func (r *placeholder) changedLists(v *absence) []string {
	all := []string{"tools"}
	for _, kind := range []string{"prompts", "resources"} {
		if v.modern != nil || r.era.capability(kind) != nil {
			all = append(all, kind)
		}
	}
	return all
}

// announce notifies the host that lists have changed.
func (r *placeholder) announce(v *absence, kinds ...string) {
	r.mu.Lock()
	heard := slices.Clone(v.subscriptions)
	r.mu.Unlock()
	for _, kind := range kinds {
		line := []byte(`{"jsonrpc":"2.0","method":"notifications/` + kind + `/list_changed"}`)
		if v.modern == nil {
			r.out.write(line)
			continue
		}
		for _, c := range heard {
			if string(member(c.params, "notifications", kind+"ListChanged")) == "true" {
				r.out.write(setAt(line, c.id, "params", "_meta", metaSubscription))
			}
		}
	}
}

// serve responds to a request of a host that is served here.
func (r *placeholder) serve(c *call) (done bool, err error) {
	r.mu.Lock()
	v, stale := r.absence, r.shown
	if v == nil && c.is("tools/list") {
		r.shown = false
	}
	r.mu.Unlock()
	switch {
	case v != nil && c.batch:
		return r.waitForServer(c, v), nil
	case c.batch:
		return false, nil
	case v != nil:
		return r.reply(c, v), nil
	case stale && c.isSignIn():
		c.reply(toolText(c, signedInNow))
		return true, nil
	case c.probe, modernVersion(c.message) != "" && r.era.serverEra() == unknownEra:
		return r.firstContact(c)
	}
	return false, nil
}
