package bridge

import "sync"

// Person is the user who has to act before requests can go through. Whatever signs in
// reports here what it waits for; the bridge then shows the host the sign-in placeholder
// in the server's place, instead of leaving it without a response. The zero value waits
// for nothing. All methods are safe for concurrent use.
type Person struct {
	mu      sync.Mutex
	awaited bool
	text    string
	wake    chan struct{} // closed while the user is awaited
	told    func()        // called when the user begins or ceases to be awaited; may be nil
}

// Await says what the user has to do now, in a sentence or two.
func (p *Person) Await(text string) {
	p.mu.Lock()
	begins, told := !p.awaited, p.told
	if begins {
		close(p.channel())
	}
	p.awaited, p.text = true, text
	p.mu.Unlock()
	if begins && told != nil {
		told()
	}
}

// Done says that the user is not waited for any more.
func (p *Person) Done() {
	p.mu.Lock()
	ends, told := p.awaited, p.told
	if ends {
		p.wake = nil
	}
	p.awaited, p.text = false, ""
	p.mu.Unlock()
	if ends && told != nil {
		told()
	}
}

// listen has f called when the user begins or ceases to be awaited, in the place of
// what listened before.
func (p *Person) listen(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = f
}

// status returns whether the user is awaited, and for what.
func (p *Person) status() (awaited bool, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.awaited, p.text
}

// awaiting returns a channel that is closed once the user is awaited.
func (p *Person) awaiting() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.channel()
}

// channel returns wake. The caller holds mu.
func (p *Person) channel() chan struct{} {
	if p.wake == nil {
		p.wake = make(chan struct{})
	}
	return p.wake
}
