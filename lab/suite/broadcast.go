package suite

import "sync"

// broadcast tells any number of listeners that there is news. The zero value is
// ready.
type broadcast struct {
	mu   sync.Mutex
	next chan struct{} // closed by notify; nil: none waits
}

// wait returns a channel that is closed at the next tell.
func (b *broadcast) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = make(chan struct{})
	}
	return b.next
}

// notify wakes all that wait.
func (b *broadcast) notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}
