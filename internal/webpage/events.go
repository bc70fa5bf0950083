package webpage

import (
	"sync"
	"time"
)

// Event is a line of the page's log. It has no secret.
type Event struct {
	Number int       `json:"number"`
	At     time.Time `json:"at"`
	Server string    `json:"server,omitempty"`
	Text   string    `json:"text"`
	Mark   Mark      `json:"mark,omitempty"` // Good and Bad are also announced by screen readers
}

// maxEvents is how many events a page shows.
const maxEvents = 200

// eventLog has the last events, and the news that there is something to show.
type eventLog struct {
	mu     sync.Mutex // guards the fields below
	count  int
	events []Event
	news   chan struct{} // closed at the next news
}

// Log shows an event on every page that is open, with what the servers have become by then.
func (p *Page) Log(e Event) {
	l := &p.log
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	e.Number = l.count
	if e.At.IsZero() {
		e.At = time.Now()
	}
	if len(l.events) == maxEvents {
		l.events = append(l.events[:0:0], l.events[1:]...)
	}
	l.events = append(l.events, e)
	l.notify()
}

// Changed shows on every page that is open what the servers have become.
func (p *Page) Changed() {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	p.log.notify()
}

// notify wakes the streams. l.mu is held.
func (l *eventLog) notify() {
	close(l.news)
	l.news = make(chan struct{})
}

// after returns the events with a number above n, and what is closed at the next news.
func (l *eventLog) after(n int) ([]Event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, e := range l.events {
		if e.Number > n {
			return append([]Event(nil), l.events[i:]...), l.news
		}
	}
	return nil, l.news
}
