package bridge

import "sync"

// Person is somebody who has to act before requests can go through. Whatever
// signs in tells here what it waits for; the bridge then answers the host in the
// server's place, instead of leaving it without a word. The zero value is
// nobody. All methods are safe for concurrent use.
type Person struct {
	mu       sync.Mutex
	expected bool
	awaited  bool
	text     string
	wake     chan struct{} // closed while somebody is awaited
	told     func()        // called when somebody begins to be awaited; nil: nobody is told
}

// Expect says that somebody will be needed, as far as is known: nothing that is
// stored can be used.
func (p *Person) Expect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = true
}

// Await says what somebody has to do now, in a sentence or two.
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

// Done says that nobody is waited for any more.
func (p *Person) Done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.awaited {
		p.wake = nil
	}
	p.expected, p.awaited, p.text = false, false, ""
}

// listen has f called when somebody begins to be awaited.
func (p *Person) listen(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = f
}

// status returns whether somebody is expected, or awaited and for what.
func (p *Person) status() (expected, awaited bool, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.expected, p.awaited, p.text
}

// awaiting returns a channel that is closed once somebody is awaited.
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
