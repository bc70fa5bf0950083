package doctor

import (
	"slices"
	"sync"

	"github.com/handstamp/handstamp"
)

// maxEvents bounds what a Recorder keeps.
const maxEvents = 1000

// Recorder keeps the events of a Client. It is safe for concurrent use.
type Recorder struct {
	mu     sync.Mutex
	events []handstamp.Event // guarded by mu
}

// Record has a Recorder receive the events of a Client that has not been used yet, beside the hook
// that it has.
func Record(c *handstamp.Client) *Recorder {
	r, next := &Recorder{}, c.Hooks.Event
	c.Hooks.Event = func(e handstamp.Event) {
		r.add(e)
		if next != nil {
			next(e)
		}
	}
	return r
}

func (r *Recorder) add(e handstamp.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) < maxEvents {
		r.events = append(r.events, e)
	}
}

// since returns the events after the first n; none of a nil Recorder.
func (r *Recorder) since(n int) []handstamp.Event {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events[min(n, len(r.events)):])
}

// requests has the steps of the walk whose requests are part of their evidence, by the step of the
// events: where a document was looked for shows what the server lacks.
var requests = map[handstamp.EventStep]string{
	handstamp.StepResourceMetadata: stepResource,
	handstamp.StepServerMetadata:   stepServerMetadata,
}

// withRequests adds to a step what was sent for it, and what came back.
func (s Step) withRequests(name string, events []handstamp.Event) Step {
	for _, e := range events {
		if e.Request != nil && requests[e.Step] == name {
			s = s.with("%s", e)
		}
	}
	return s
}
