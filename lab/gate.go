package lab

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Event reports that a request has reached a point.
type Event struct {
	// Point is the endpoint and the step, such as "token:received" (the server has read the
	// request), "token:committed" (it has carried the request out, and sent nothing yet) and
	// "token:responded" (the response has been written). Both kinds of token request are "token"
	// here; [Request.Endpoint] distinguishes them.
	Point string
	// Request is the request as far as it is known.
	Request Request
}

// steps of a request, in their order.
var steps = [...]string{"received", "committed", "responded"}

// Gate holds requests at a point until it is released.
type Gate struct {
	point    string
	reached  chan Request
	released chan struct{}
	once     sync.Once
}

// Hold makes every request wait that reaches point, until the gate is released.
// Point is one of Event, or one with the full endpoint, such as
// "token:refresh:committed". A point that does not exist is a panic: it is a
// mistake in a test.
//
// A held request continues when the gate is released, even if its client has disconnected: real
// servers also carry out requests whose response is lost.
func (s *Server) Hold(point string) *Gate {
	cut := strings.LastIndexByte(point, ':')
	if cut < 0 || !slices.Contains(endpoints[:], point[:cut]) ||
		!slices.Contains(steps[:], point[cut+1:]) {
		panic(fmt.Sprintf("lab: there is no point %q", point))
	}
	g := &Gate{point: point, reached: make(chan Request), released: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gates = append(s.gates, g)
	return g
}

// Wait waits for the next request at the gate and returns it, or ctx's error.
// Each request is returned once.
func (g *Gate) Wait(ctx context.Context) (Request, error) {
	select {
	case r := <-g.reached:
		return r, nil
	case <-ctx.Done():
		return Request{}, ctx.Err()
	}
}

// Release opens the gate for good. It may be called twice.
func (g *Gate) Release() { g.once.Do(func() { close(g.released) }) }

func (g *Gate) isReleased() bool {
	select {
	case <-g.released:
		return true
	default:
		return false
	}
}

// reach calls the hook and waits at the gates of a point.
func (s *Server) reach(x *exchange, step string) {
	kind, _, _ := strings.Cut(x.endpoint, ":")
	s.mu.Lock()
	r := x.entry.clone()
	s.gates = slices.DeleteFunc(s.gates, (*Gate).isReleased)
	var here []*Gate
	for _, g := range s.gates {
		if g.point == kind+":"+step || g.point == x.endpoint+":"+step {
			here = append(here, g)
		}
	}
	s.mu.Unlock()

	if s.options.Hook != nil {
		s.options.Hook(Event{Point: kind + ":" + step, Request: r})
	}
	for _, g := range here {
		select {
		case g.reached <- r:
		case <-g.released:
		case <-s.life.Done():
		}
		select {
		case <-g.released:
		case <-s.life.Done():
			panic(http.ErrAbortHandler)
		}
	}
}
