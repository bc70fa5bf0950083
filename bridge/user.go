package bridge

import "sync"

// User is the user who has to act before requests can go through. Whatever signs in
// reports here what it waits for; the bridge then shows the MCP host the sign-in placeholder
// in the server's place, instead of leaving it without a response. The zero value waits
// for nothing. All methods are safe for concurrent use.
type User struct {
	mu      sync.Mutex // guards the fields below
	awaited bool
	text    string
	wake    chan struct{} // closed while the user is awaited
	changed func()        // called when the user begins or ceases to be awaited; may be nil
}

// Await reports what the user has to do now, in a sentence or two.
func (p *User) Await(text string) { p.set(true, text) }

// Done reports that the user is not waited for any more.
func (p *User) Done() { p.set(false, "") }

func (p *User) set(awaited bool, text string) {
	p.mu.Lock()
	changes, changed := awaited != p.awaited, p.changed
	switch {
	case changes && awaited:
		close(p.channel())
	case changes:
		p.wake = nil
	}
	p.awaited, p.text = awaited, text
	p.mu.Unlock()
	if changes && changed != nil {
		changed()
	}
}

// listen has f called when the user begins or ceases to be awaited, in the place of
// what listened before.
func (p *User) listen(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed = f
}

// status returns whether the user is awaited, and for what.
func (p *User) status() (awaited bool, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.awaited, p.text
}

// awaiting returns a channel that is closed once the user is awaited.
func (p *User) awaiting() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.channel()
}

// channel returns wake. The caller holds mu.
func (p *User) channel() chan struct{} {
	if p.wake == nil {
		p.wake = make(chan struct{})
	}
	return p.wake
}
