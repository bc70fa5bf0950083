package chaos

import (
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/handstamp/handstamp/bridge"
)

// maxMessage bounds a message in these runs, in bytes.
const maxMessage = 256 << 10

var quiet = log.New(io.Discard, "", 0)

// report is what came of a run.
type report struct {
	seed     uint64
	plan     string
	findings []string
	lines    []string // the transcript
	requests int      // at the server
	asked    int      // by the host
}

func (r *report) String() string {
	return fmt.Sprintf("run %d: %s\n%s\n--- %s\nRepeat it with: CHAOS_SEED=%d go test -v ./bridge/chaos", r.seed, r.plan,
		strings.Join(r.lines, "\n"), strings.Join(r.findings, "\n--- "), r.seed)
}

// run makes the run of a seed.
func run(t *testing.T, seed uint64) (r *report) {
	t.Helper()
	watchdog := time.AfterFunc(*timeout, func() {
		stacks := make([]byte, 4<<20)
		fmt.Printf("run %d does not end\nRepeat it with: CHAOS_SEED=%d go test -v ./bridge/chaos\n%s\n", seed, seed, stacks[:runtime.Stack(stacks, true)])
		os.Exit(1)
	})
	defer watchdog.Stop()
	synctest.Test(t, func(*testing.T) {
		r = bubble(drawPlan(seed))
	})
	return r
}

// bubble makes a run, inside a bubble of time.
func bubble(p *plan) *report {
	l := newLedger()
	l.pings, l.healthy = p.ping, p.healthy()
	n := &network{conns: map[*conn]bool{}, reset: p.dice("reset").IntN(2) == 0, foreign: func(address string) {
		l.find("the bridge connects to %s", address)
	}}
	s := newServer(p, l, n)
	if p.host == "modern" || p.host == "probing" {
		l.reasons++ // the bridge may have to begin a session in the host's place
	}
	inR, inW := io.Pipe()
	h := newHost(p, l, inW)
	transport := &http.Transport{DialContext: n.DialContext, MaxIdleConnsPerHost: 16, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!p.http2)
	transport.Protocols.SetUnencryptedHTTP2(p.http2)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- bridge.Run(ctx, bridge.Options{
			URL: "http://" + serverHost + "/mcp", HTTP: &http.Client{Transport: transport}, Stdin: inR, Stdout: h,
			Wire: bridge.Wire(p.wire), Ping: p.ping, MaxMessage: maxMessage, Header: http.Header{"X-Secret": {"s"}},
		})
	}()
	h.act(func(dice *rand.Rand) { s.quake(dice) })
	end(p, l, h, ended, cancel)
	inR.CloseWithError(io.ErrClosedPipe)
	h.close()
	l.leftOver(s)
	close(s.over)
	s.away.Wait()
	n.vanish()
	s.mu.Lock()
	s.http.Close()
	s.mu.Unlock()
	transport.CloseIdleConnections()
	l.mu.Lock()
	defer l.mu.Unlock()
	return &report{seed: p.seed, plan: p.String(), findings: l.findings, lines: l.lines, requests: len(l.arrived), asked: len(l.asked)}
}

// end ends the bridge in the way that is planned, and checks how it ends.
func end(p *plan, l *ledger, h *host, ended <-chan error, cancel context.CancelFunc) {
	switch p.ending {
	case "decided":
		_, overdue := l.open()
		h.await(respondsWithin+time.Minute, func() bool {
			var n int
			n, overdue = l.open()
			return n == 0 || len(overdue) > 0
		})
		if len(overdue) > 0 {
			l.find("%d requests have no response within %v: %v", len(overdue), respondsWithin, overdue[:min(len(overdue), 5)])
		}
		h.close()
		<-h.wrote
	case "abrupt":
		h.close()
		<-h.wrote
	case "cancelled":
		l.mu.Lock()
		l.inputEnd = true
		l.mu.Unlock()
		l.note("the context ends")
		cancel()
	case "broken":
		h.mu.Lock()
		h.broken = true
		h.mu.Unlock()
		l.note("standard output breaks")
		h.ask(p.dice("broken"), "ping", "")
		h.send(line{text: "{"})
		<-h.failed
	}
	exactly := p.ending == "decided" || p.ending == "abrupt"
	began := time.Now()
	select {
	case err := <-ended:
		l.note("the bridge has ended after %v: %v", time.Since(began), err)
		if (err == nil) != (p.ending != "broken") {
			l.find("the bridge ended with %v", err)
		}
	case <-time.After(endsWithin):
		l.find("the bridge has not ended %v after it should", endsWithin)
		cancel()
		select {
		case <-ended:
		case <-time.After(time.Hour):
			fatal(p, l, "the bridge does not end at all: "+strings.Join(goroutines(), "\n\n"))
		}
	}
	l.final(exactly)
}

// leftOver checks that nothing of the bridge is left.
func (l *ledger) leftOver(s *server) {
	time.Sleep(time.Second) // in the bubble
	synctest.Wait()
	s.mu.Lock()
	open := s.open
	s.mu.Unlock()
	if open > 0 {
		l.find("%d requests are still open at the server", open)
	}
	if left := goroutines(); len(left) > 0 {
		fatal(s.plan, l, "goroutines of the bridge are left: "+strings.Join(left, "\n\n"))
	}
}

// goroutines returns the stacks of the bridge's goroutines in this bubble.
func goroutines() (found []string) {
	stacks := make([]byte, 1<<20)
	all := string(stacks[:runtime.Stack(stacks, true)])
	mine := bubbleID.FindString(all) // the caller is the first
	for stack := range strings.SplitSeq(all, "\n\n") {
		if strings.Contains(stack, mine+"]") && strings.Contains(stack, "handstamp/bridge.") {
			found = append(found, stack)
		}
	}
	return found
}

var bubbleID = regexp.MustCompile(`synctest bubble \d+`)

// fatal ends the process: a bubble in which something goes on cannot be left.
func fatal(p *plan, l *ledger, finding string) {
	l.find("%s", finding)
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Println(&report{seed: p.seed, plan: p.String(), findings: l.findings, lines: l.lines})
	os.Exit(1)
}

// quake is an event at the server that no request brings about.
func (s *server) quake(dice *rand.Rand) {
	kind := pick(dice, "forgets", "streams end", "connections are cut", "restart", "restart")
	if s.gentle {
		kind = "forgets"
	}
	switch kind {
	case "forgets":
		s.note("server: forgets all sessions")
		s.forget()
	case "streams end":
		s.note("server: ends all streams")
		s.endStreams()
	case "connections are cut":
		s.note("server: cuts all connections")
		s.doubtful()
		s.breaks()
		s.net.cut()
	default:
		down := time.Duration(dice.IntN(9000)) * time.Millisecond
		s.away.Go(func() { s.restart(down) })
	}
}
