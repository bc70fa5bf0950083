package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	startRounds = 25 // new processes of each contestant
	callRounds  = 40 // new processes that make one call
	lives       = 6  // processes of each contestant that bear all of the load
	turns       = 2  // turns of each in a scenario and a life

	// turnLimit ends a turn in which a contestant hangs.
	turnLimit = 60 * time.Second
)

// figures are measurements by metric and contestant, one a round. Only what is
// of the same round is ever compared.
type figures map[metric]map[string][]float64

func (f figures) add(m metric, name string, value float64) {
	if f[m] == nil {
		f[m] = make(map[string][]float64)
	}
	f[m][name] = append(f[m][name], value)
}

// A scenario is a kind of load.
type scenario struct {
	size     int // of the text, in bytes
	inFlight int
	turn     time.Duration
	rate     metric // what it measures: calls a second
	median   metric // and the time of a call, where it is wanted
	p99      metric
}

var scenarios = []scenario{
	{size: 1 << 10, inFlight: 1, turn: 500 * time.Millisecond, rate: smallOne, median: smallMedian, p99: smallP99},
	{size: 1 << 10, inFlight: 32, turn: 400 * time.Millisecond, rate: smallMany},
	{size: 1 << 20, inFlight: 1, turn: 400 * time.Millisecond, rate: largeOne},
	{size: 1 << 20, inFlight: 32, turn: 800 * time.Millisecond, rate: largeMany},
}

// A caller makes calls and waits for their responses.
type caller interface {
	call(context.Context, payload) error  // a text echoed, its length checked
	check(context.Context, payload) error // the same, every byte checked
}

// inTurn calls f for each contestant that takes part, in each round, in another
// order each time: who comes after a heavy one finds cold caches.
func inTurn(ctx context.Context, rounds int, all []*contestant, f func(round int, c *contestant) error) error {
	for round := range rounds {
		for _, i := range rand.Perm(len(all)) {
			c := all[i]
			if c.missing != nil {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := f(round, c); err != nil {
				return fmt.Errorf("%s, round %d: %w", c.name, round+1, err)
			}
		}
	}
	return nil
}

// startUps measures new processes up to their first response to tools/list. The
// first round fills the caches of the system and does not count.
func startUps(ctx context.Context, all []*contestant, f figures) error {
	return inTurn(ctx, startRounds+1, all, func(round int, c *contestant) error {
		if c.start == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, turnLimit)
		defer cancel()
		runtime.GC()
		var said bytes.Buffer
		began := time.Now()
		h, err := launch(c.start(ctx), &said)
		if err != nil {
			return err
		}
		err = h.handshake(ctx)
		took := time.Since(began)
		peak, peakErr := h.peak()
		used, closeErr := h.close()
		if err := errors.Join(err, peakErr, closeErr); err != nil {
			return fmt.Errorf("%w\n%s", err, said.Bytes())
		}
		if round > 0 {
			f.add(startTime, c.name, milliseconds(took))
			f.add(startCPU, c.name, milliseconds(used.UserTime()+used.SystemTime()))
			f.add(restMemory, c.name, mebibytes(peak))
		}
		return nil
	})
}

// callText is what processes that make one call have echoed.
const callText = "hello"

// calls measures processes that make one call, to their end.
func calls(ctx context.Context, all []*contestant, f figures) error {
	return inTurn(ctx, callRounds+1, all, func(round int, c *contestant) error {
		if c.call == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, turnLimit)
		defer cancel()
		runtime.GC()
		cmd := c.call(ctx)
		var said bytes.Buffer
		cmd.Stderr = &said
		began := time.Now()
		out, err := cmd.Output()
		took := time.Since(began)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, said.Bytes())
		}
		if text := strings.TrimSpace(string(out)); text != callText {
			return fmt.Errorf("%q came back", text)
		}
		if round > 0 {
			f.add(callTime, c.name, milliseconds(took))
			f.add(callCPU, c.name, milliseconds(cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()))
		}
		return nil
	})
}

// loads measures all scenarios, and at the end of each life what memory that
// took. It takes several lives because a process keeps the luck that it began
// with, such as where its heap has come to stand.
func loads(ctx context.Context, s *stage, all []*contestant, f figures, progress io.Writer) error {
	for life := range lives {
		fmt.Fprintf(progress, "load: %d of %d\n", life+1, lives)
		if err := s.live(ctx, all, f); err != nil {
			return err
		}
	}
	return nil
}

// live is one life of each contestant.
func (s *stage) live(ctx context.Context, all []*contestant, f figures) error {
	callers := make(map[string]caller)
	hosts := make(map[string]*host)
	for _, c := range all {
		switch {
		case c.missing != nil:
		case c.start == nil:
			client, err := connectSDK(ctx, s.target, s.token)
			if err != nil {
				return err
			}
			defer client.close()
			callers[c.name] = client
		default:
			h, err := launch(c.start(ctx), io.Discard)
			if err != nil {
				return err
			}
			defer h.close()
			if err := h.handshake(ctx); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			callers[c.name], hosts[c.name] = h, h
		}
	}
	for _, scenario := range scenarios {
		text := newPayload(scenario.size)
		// The first round warms up and does not count.
		err := inTurn(ctx, turns+1, all, func(round int, c *contestant) error {
			runtime.GC()
			if err := callers[c.name].check(ctx, text); err != nil {
				return err
			}
			times, rate, err := scenario.run(ctx, callers[c.name], text)
			if err != nil || round == 0 {
				return err
			}
			f.add(scenario.rate, c.name, rate)
			if scenario.median != "" {
				f.add(scenario.median, c.name, milliseconds(quantile(times, 0.5)))
				f.add(scenario.p99, c.name, milliseconds(quantile(times, 0.99)))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for name, h := range hosts {
		peak, err := h.peak()
		if err != nil {
			return err
		}
		f.add(loadMemory, name, mebibytes(peak))
	}
	return nil
}

// run is one turn: calls for as long as it lasts, and the time until the response to the
// last of them.
func (s scenario) run(ctx context.Context, c caller, text payload) (times []time.Duration, rate float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, turnLimit)
	defer cancel()
	var failed atomic.Pointer[error]
	var workers sync.WaitGroup
	each := make([][]time.Duration, s.inFlight)
	began := time.Now()
	for i := range each {
		workers.Go(func() {
			for now := began; now.Sub(began) < s.turn && failed.Load() == nil; {
				if err := c.call(ctx, text); err != nil {
					failed.Store(&err)
					return
				}
				after := time.Now()
				each[i] = append(each[i], after.Sub(now))
				now = after
			}
		})
	}
	workers.Wait()
	took := time.Since(began)
	if err := failed.Load(); err != nil {
		return nil, 0, *err
	}
	times = slices.Concat(each...)
	return times, float64(len(times)) / took.Seconds(), nil
}

// quantile is the value that a part q of the times does not exceed.
func quantile(times []time.Duration, q float64) time.Duration {
	times = slices.Sorted(slices.Values(times))
	return times[min(int(q*float64(len(times))), len(times)-1)]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func mebibytes(n int) float64 { return float64(n) / (1 << 20) }
