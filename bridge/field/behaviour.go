package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// A behaviour is something that a server, a network or an MCP host was seen to do.
type behaviour struct {
	name   string // of its test, TestField/name
	kind   string // what happens
	met    string // where it was met
	now    string // what a bridge makes of it that does right
	before string // what was wrong with ours when the behaviour was first tried; empty: nothing

	play func(p *play) // plays it, and calls [play.wrong] where the bridge is wrong
}

// A chapter is a group of behaviours, with a heading in the table.
type chapter struct {
	title      string
	behaviours []behaviour
}

// chapters returns all behaviours, in the order of the table.
func chapters() []chapter {
	return []chapter{
		{"The machine and the network", slices.Concat(network, slowServers, restarts, logins)},
		{"Sessions and streams", slices.Concat(forgotten, keptSessions, streams, contacts)},
		{"Requests and responses", slices.Concat(pending, misplaced, mended, words)},
		{"Safety", slices.Concat(redirects, names, limits)},
	}
}

// An outcome names what was wrong; it is empty if nothing was.
type outcome string

// A play is one run of a behaviour with one contestant. Its methods are for the goroutine
// that plays; they end the play with an outcome where something is wrong.
type play struct {
	*contestant
	ctx      context.Context // ends with the play
	dir      string          // of this play alone
	env      []string        // added to the contestant's environment
	cleanups []func()
	hosts    []*host
}

// bound is how long a play may take.
const bound = 90 * time.Second

// perform plays a behaviour with a contestant.
func (b *behaviour) perform(ctx context.Context, c *contestant) (v outcome, err error) {
	dir, err := os.MkdirTemp("", "bridge-field-")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, c.limit(bound))
	p := &play{contestant: c, ctx: ctx, dir: dir}
	defer func() {
		cancel()
		for _, clean := range slices.Backward(p.cleanups) {
			clean()
		}
		if rerr := os.RemoveAll(dir); err == nil {
			err = rerr
		}
	}()
	defer func() {
		switch r := recover().(type) {
		case nil:
		case outcome:
			v = r
		case trouble:
			err = r
		default:
			panic(r)
		}
	}()
	b.play(p)
	for _, h := range p.hosts {
		h.audit()
	}
	return "", nil
}

// trouble is what keeps a play from being played.
type trouble struct{ error }

// must ends the play where the harness itself fails.
func (p *play) must(err error) {
	if err != nil {
		panic(trouble{err})
	}
}

// wrong ends the play: the contestant is wrong.
func (p *play) wrong(format string, args ...any) {
	panic(outcome(fmt.Sprintf(format, args...)))
}

func (p *play) cleanup(f func()) { p.cleanups = append(p.cleanups, f) }

// pause lets time pass that is a part of the behaviour.
func (p *play) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.ctx.Done():
		p.over()
	}
}

// over ends a play that takes too long, or that nothing wants any more.
func (p *play) over() {
	if errors.Is(p.ctx.Err(), context.DeadlineExceeded) {
		p.wrong("not done within %s", seconds(p.limit(bound)))
	}
	p.must(p.ctx.Err())
}

// until waits for a condition, and reports whether it came true in time. changed returns a
// channel that is closed when it is worth another look.
func (p *play) until(limit time.Duration, changed func() <-chan struct{}, condition func() bool) bool {
	timer := time.NewTimer(p.limit(limit))
	defer timer.Stop()
	for {
		next := changed()
		if condition() {
			return true
		}
		select {
		case <-next:
		case <-timer.C:
			return condition()
		case <-p.ctx.Done():
			p.over()
		}
	}
}
