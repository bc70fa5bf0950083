package handstamp

import (
	"context"
	"sync"
)

// underWay counts work that Close waits for. Unlike a [sync.WaitGroup] it can be waited for with a
// context, and where nothing is under way, one that has ended makes no difference: the caller has
// nothing to fear.
type underWay struct {
	mu   sync.Mutex // guards the fields below
	n    int
	idle chan struct{} // closed once n is 0; nil: it is not waited for
}

func (u *underWay) begin() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.n++
}

func (u *underWay) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n--; u.n == 0 && u.idle != nil {
		close(u.idle)
		u.idle = nil
	}
}

// wait waits until nothing is under way; its error is that of the context.
func (u *underWay) wait(ctx context.Context) error {
	u.mu.Lock()
	if u.n == 0 {
		u.mu.Unlock()
		return nil
	}
	if u.idle == nil {
		u.idle = make(chan struct{})
	}
	idle := u.idle
	u.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
