package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// logs is where the whole output of each suite is kept.
const logs = "bin/test"

// result is what came of a suite.
type result struct {
	name   string
	counts counts
	took   time.Duration
	cpu    time.Duration // that its processes computed
	failed bool
	output []byte // what to show of a failure
}

// runAll runs the suites in their order, as far as what they come after is done: what sets up at
// once, and of the others no more than atOnce at a time.
func runAll(ctx context.Context, suites []suite, atOnce int) []result {
	var (
		mu      sync.Mutex
		wake    = sync.NewCond(&mu)
		begun   = make([]bool, len(suites))
		done    = make(map[string]bool)
		results = make([]result, len(suites))
		workers sync.WaitGroup
	)
	// next returns the first suite that can begin, and false when there are no more.
	next := func(setup bool) (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		for {
			left := false
			for i, s := range suites {
				if begun[i] || s.setup != setup {
					continue
				}
				left = true
				if ready(s, done) {
					begun[i] = true
					return i, true
				}
			}
			if !left {
				return 0, false
			}
			wake.Wait()
		}
	}
	work := func(setup bool) {
		for {
			i, ok := next(setup)
			if !ok {
				return
			}
			say("begins  %-12s %s", suites[i].name, suites[i].about)
			r := runSuite(ctx, suites[i])
			mu.Lock()
			results[i] = r
			done[r.name] = true
			report(r)
			mu.Unlock()
			wake.Broadcast()
		}
	}
	for _, s := range suites {
		if s.setup {
			workers.Go(func() { work(true) })
		}
	}
	for range atOnce {
		workers.Go(func() { work(false) })
	}
	workers.Wait()
	return results
}

func ready(s suite, done map[string]bool) bool {
	for _, name := range s.after {
		if !done[name] {
			return false
		}
	}
	return true
}

func say(format string, args ...any) {
	fmt.Printf("%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// report prints the line of a suite's end, and what failed.
func report(r result) {
	if !r.failed {
		say("passed  %-12s %.0f s", r.name, r.took.Seconds())
		return
	}
	say("FAILED  %-12s %.0f s", r.name, r.took.Seconds())
	os.Stdout.Write(r.output)
	fmt.Printf("the whole output of %s: %s\n", r.name, filepath.Join(logs, r.name+".log"))
}

// runSuite runs the steps of a suite.
func runSuite(ctx context.Context, s suite) result {
	r := result{name: s.name}
	begin := time.Now()
	defer func() { r.took = time.Since(begin) }()
	log, err := os.Create(filepath.Join(logs, s.name+".log"))
	if err != nil {
		r.fail(err)
		return r
	}
	defer log.Close()
	for _, st := range s.steps {
		if err := runStep(ctx, s, st, log, &r); err != nil {
			r.fail(err)
			break
		}
	}
	if r.counts.empty() {
		r.counts.passed = 1 // a suite of commands alone is one check
	}
	r.took = time.Since(begin)
	return r
}

func (r *result) fail(err error) {
	r.failed = true
	if r.counts.failed == 0 {
		r.counts.failed = 1
	}
	r.output = fmt.Appendf(r.output, "%v\n", err)
}

// computed adds what a command computed, with the processes that it waited for.
func (r *result) computed(cmd *exec.Cmd) {
	if s := cmd.ProcessState; s != nil {
		r.cpu += s.UserTime() + s.SystemTime()
	}
}

// runStep runs one command, and counts its tests.
func runStep(ctx context.Context, s suite, st step, log io.Writer, r *result) error {
	cmd := exec.CommandContext(ctx, st.args[0], st.args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), s.env...)
	if slices.Contains(st.args, "-race") {
		// The detector is C. What tests make with it is soon garbage, of which little memory is
		// full all the time.
		cmd.Env = append(cmd.Env, "CGO_ENABLED=1", "GOGC=400")
	}
	if st.tests {
		c := newCounter(log)
		cmd.Stdout, cmd.Stderr = c, c.plain()
		err := cmd.Run()
		r.computed(cmd)
		c.finish()
		r.counts.add(c.counts)
		r.output = append(r.output, c.failures()...)
		return err
	}
	var out bytes.Buffer
	cmd.Stdout = io.MultiWriter(log, &out)
	cmd.Stderr = cmd.Stdout
	err := cmd.Run()
	r.computed(cmd)
	if err != nil {
		r.output = append(r.output, out.Bytes()...)
	}
	if st.junit != "" {
		counted, junitErr := readJUnit(st.junit)
		r.counts.add(counted)
		if err == nil {
			err = junitErr
		}
	}
	return err
}

func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	return string(out), err
}
