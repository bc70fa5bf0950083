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

	// goneAfter is how long the server may take after a login before the host is notified that the
	// sign-in placeholder has ended.
	placeholderEndWait = 4 * time.Second

	// longestWatch bounds the pauses, which double, between tries to reach a server, and
	// longestRetryAfter those that the server wants.
	longestWatch      = 30 * time.Second
	longestRetryAfter = 10 * time.Minute

	// attendedFor is how long the user who has started the host is taken to be there. Tries after
	// that need the user only if the host wants them.
	attendedFor = time.Minute
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
	absence *absence   // nil: the server is there
	greeted bool       // the host was greeted here, with more capabilities than the server may have
	shown   bool       // the host may still believe in the sign-in placeholder
	level   *message   // the host's logging/setLevel, for the server to come; nil: none
}

// absence is a time in which the server is not there. Its fields are guarded by placeholder.mu, but
// for the channels that are made with it.
type absence struct {
	began          time.Time
	modern         []byte        // _meta of a modern host's first request; nil: the host is of before
	greeted        chan struct{} // closed when the host's first request has its response
	over           chan struct{} // closed when the server is there, or the host starts again
	retryRequested chan struct{} // holds one value when the host wants another try
	signInNews     chan struct{} // holds one value when the host is to list the tools again

	signIn        bool          // the user has to sign in: the host is shown the placeholder
	denied        bool          // the last try ended because the user is not signed in
	signInChanged chan struct{} // closed when signIn changes
	failure       *Trouble      // how the last try ended; nil: none has
	trying        bool
	unattended    bool          // it does without the user
	tryEnded      chan struct{} // closed when the try under way has failed
	subscriptions []*call       // subscriptions/listen that wait for the server
}

// active reports whether the host is served here.
func (p *placeholder) active() bool { return p.current() != nil }

// current returns the absence under way, or nil.
func (p *placeholder) current() *absence {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.absence
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

// begin handles the host's first request. done is false if that is the server's
// after all, which has come meanwhile; entered is, if the request is a probe and the host
// has gone on to initialize.
func (p *placeholder) begin(c *call, f *firstContact) (done, entered bool) {
	modern := modernVersion(c.message) != ""
	p.mu.Lock()
	if modern && p.era.now().hello != nil {
		p.mu.Unlock()
		return false, false
	}
	a := p.absence
	if a == nil {
		a = &absence{
			began: time.Now(), greeted: make(chan struct{}), over: make(chan struct{}), signInChanged: make(chan struct{}),
			retryRequested: make(chan struct{}, 1), signInNews: make(chan struct{}, 1),
		}
		a.beginTry()
		a.signIn, _ = p.User.status()
		if modern {
			a.modern = c.meta
		}
		p.absence, p.greeted, p.shown = a, true, a.signIn
		defer close(a.greeted)
		p.do(func() { p.run(a, f) })
	}
	signIn := a.signIn
	p.mu.Unlock()
	if !c.is("initialize") {
		return p.reply(c, a), true
	}
	p.Logger.Debug("responding in the server's place", "sign_in", signIn)
	c.reply(object("protocolVersion", legacyVersion(c.params), "capabilities", offers,
		"serverInfo", p.itself()))
	return true, true
}

// leave ends the absence because the host starts again.
func (p *placeholder) leave() {
	if a := p.current(); a != nil {
		p.release(a, func() {})
	}
}

// release ends an absence and passes what waited in it to the server. It reports false if
// that has ended already.
func (p *placeholder) release(a *absence, announce func()) bool {
	p.mu.Lock()
	if p.absence != a {
		p.mu.Unlock()
		return false
	}
	p.absence = nil
	p.mu.Unlock()
	announce()
	close(a.over)
	for _, c := range a.subscriptions { // complete, as only an absence under way is added to
		c.quiet = true // it was acknowledged here
		close(c.resumed)
	}
	return true
}

// offers are the capabilities that a server may turn out to have. Those that it has not
// handled by emptyIfMissing.
var offers = []byte(`{"logging":{},"completions":{},"prompts":{"listChanged":true},` +
	`"resources":{"subscribe":true,"listChanged":true},"tools":{"listChanged":true}}`)

// updateSignIn corrects what the host was shown when the user begins or ceases to be needed.
func (p *placeholder) updateSignIn() {
	awaited, _ := p.User.status()
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.absence
	if a == nil {
		return
	}
	a.denied = a.denied && !awaited
	if signIn := awaited || a.denied; signIn != a.signIn {
		a.signIn = signIn
		p.shown = p.shown || signIn
		close(a.signInChanged)
		a.signInChanged = make(chan struct{})
		select {
		case a.signInNews <- struct{}{}:
		default:
		}
	}
}

// run waits until the server is there.
func (p *placeholder) run(a *absence, f *firstContact) {
	select {
	case <-a.greeted:
	case <-p.life.Done():
		return
	}
	var stored storedLogin
	var ended <-chan time.Time // when the host is notified that the placeholder has ended
	for failures := 0; ; {
		select {
		case <-f.done:
		case <-a.signInNews:
			ended = nil
			if signIn, _ := p.state(a); signIn {
				p.announce(a, "tools")
			} else {
				// The user has signed in: the server's own tools are likely to come in a moment.
				ended = time.After(placeholderEndWait)
			}
			continue
		case <-ended:
			ended = nil
			p.announce(a, "tools")
			continue
		case <-a.over:
			return
		case <-p.life.Done():
			return
		}
		if p.handOver(a, f) {
			return
		}
		if f = p.waitForRetry(a, f, failures, &stored); f == nil {
			return
		}
		failures++
	}
}

// state reports whether the host is shown the sign-in placeholder, and how the last try ended.
func (p *placeholder) state(a *absence) (signIn bool, failure *Trouble) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return a.signIn, a.failure
}

// waitForRetry waits for a reason to try again: the host wants it, the user has signed in
// elsewhere, or the server may be back. It returns nil if the host is not here any more.
func (p *placeholder) waitForRetry(
	a *absence, f *firstContact, failures int, stored *storedLogin,
) *firstContact {
	failure := p.era.failed(f)
	p.mu.Lock()
	select {
	case <-a.retryRequested: // while a try did without the user
		p.mu.Unlock()
		return p.retry(a, false)
	default:
	}
	a.trying, a.failure, a.denied = false, failure, failure.Code == CodeSignIn || failure.fromSignIn
	close(a.tryEnded)
	p.mu.Unlock()
	p.updateSignIn()
	// What the server rejects for good is not requested again unless the host does that.
	passes := failure.Code != CodeSignIn && (failure.Retry || unreachableYet(f.err))
	failed := time.Now()
	backoff := min(watchInterval<<min(failures, 8), longestWatch)
	next := time.Now().Add(max(backoff, min(failure.RetryAfter, longestRetryAfter)))
	watch := time.NewTicker(watchInterval)
	defer watch.Stop()
	for {
		select {
		case <-a.retryRequested:
			return p.retry(a, false)
		case <-a.signInNews:
			p.announce(a, "tools")
			continue
		case <-watch.C:
		case <-a.over:
			return nil
		case <-p.life.Done():
			return nil
		}
		elsewhere := failure.Code == CodeSignIn && p.SignedIn != nil &&
			stored.due(p.SignedIn(p.life), time.Since(failed))
		if elsewhere || passes && !time.Now().Before(next) {
			return p.retry(a, time.Since(a.began) > attendedFor)
		}
	}
}

// beginTry notes that a try is under way, and reports whether it begins with that. The
// caller holds placeholder.mu.
func (a *absence) beginTry() bool {
	if a.trying {
		return false
	}
	a.trying, a.tryEnded = true, make(chan struct{})
	return true
}

// requestRetry has another try begin, unless one is under way that the user may be needed for, and
// returns what is closed when that has failed.
func (p *placeholder) requestRetry(a *absence) (ended <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.beginTry() || a.unattended {
		select {
		case a.retryRequested <- struct{}{}:
		default: // it holds one, and nothing else is wanted
		}
	}
	return a.tryEnded
}

// retry contacts the server again.
func (p *placeholder) retry(a *absence, unattended bool) *firstContact {
	p.mu.Lock()
	a.beginTry() // unless the host has, which wants it
	select {
	case <-a.retryRequested: // this is it
		unattended = false
	default:
	}
	a.unattended = unattended
	p.mu.Unlock()
	kind, begin := initializing, p.era.connect
	if a.modern != nil {
		kind, begin = probing, p.era.probe(a.modern)
	}
	return p.era.contact(kind, func(context.Context) (*message, error) { return begin(p.lifeOf(a)) })
}

// lifeOf returns the session's life for what belongs to the last try.
func (p *placeholder) lifeOf(a *absence) context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.unattended {
		return p.background(p.life)
	}
	return p.life
}

// failed returns why a first contact has come to nothing, for the requests that wait for
// it: none of them has been sent.
func (e *eras) failed(f *firstContact) *Trouble {
	if f.err == nil {
		return rejectedBy("a session", f.response)
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

// handOver passes the host on to the server, if that is there.
func (p *placeholder) handOver(a *absence, f *firstContact) bool {
	there := f.err == nil && f.response.error == nil
	if a.modern != nil {
		there = p.era.serverEra() != unknownEra // whatever it sent
	}
	if !there {
		return false
	}
	p.confirm(a)
	released := p.release(a, func() {
		p.confirm(a) // with a notifications/initialized that came while the host was still here
		p.Logger.Debug("the server is there")
		p.announce(a, p.changedLists(a)...)
	})
	if released {
		p.setLevel(p.lifeOf(a))
	}
	return true
}

// confirm ends the handshake of a host of before 2026-07-28.
func (p *placeholder) confirm(a *absence) {
	if a.modern != nil {
		return
	}
	if err := p.era.confirmOrReplace(p.lifeOf(a)); err != nil {
		p.Logger.Debug("the server could not be notified that the session has begun", "err", err)
	}
}

// setLevel gives the server the log level that the host has set here.
func (p *placeholder) setLevel(ctx context.Context) {
	p.mu.Lock()
	m := p.level
	p.mu.Unlock()
	if m == nil || p.era.capability("logging") == nil {
		return
	}
	if p.era.serverEra() == modernEra {
		p.era.modern.setLevel(m)
	} else if _, err := p.up.request(ctx, set(m.raw, "id", p.nextID())); err != nil {
		p.Logger.Debug("the log level could not be set", "err", err)
	}
}

// changedLists returns which lists the host does not know yet. That of the tools is always one.
func (p *placeholder) changedLists(a *absence) []string {
	all := []string{"tools"}
	for _, kind := range []string{"prompts", "resources"} {
		if a.modern != nil || p.era.capability(kind) != nil {
			all = append(all, kind)
		}
	}
	return all
}

// announce notifies the host that lists have changed.
func (p *placeholder) announce(a *absence, kinds ...string) {
	p.mu.Lock()
	subscriptions := slices.Clone(a.subscriptions)
	p.mu.Unlock()
	for _, kind := range kinds {
		line := []byte(`{"jsonrpc":"2.0","method":"notifications/` + kind + `/list_changed"}`)
		if a.modern == nil {
			p.out.write(line)
			continue
		}
		for _, c := range subscriptions {
			if string(member(c.params, "notifications", kind+"ListChanged")) == "true" {
				p.out.write(setAt(line, c.id, "params", "_meta", metaSubscription))
			}
		}
	}
}

// serve responds to a request while the server is not there.
func (p *placeholder) serve(c *call) (done bool, err error) {
	p.mu.Lock()
	a, stale := p.absence, p.shown
	if a == nil && c.is("tools/list") {
		p.shown = false
	}
	p.mu.Unlock()
	switch {
	case a != nil && c.batch:
		return p.waitForServer(c, a), nil
	case c.batch:
		return false, nil
	case a != nil:
		return p.reply(c, a), nil
	case stale && c.isSignIn():
		c.reply(toolText(c, signedInNow))
		return true, nil
	case c.probe, modernVersion(c.message) != "" && p.era.serverEra() == unknownEra:
		return p.firstContact(c)
	}
	return false, nil
}
