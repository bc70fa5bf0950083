package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// flaky looks for tests that fail now and then: the short tests ten times, and the library,
// the stores and the bridge with the race detector three times, at once, beside twenty busy loops.
func flaky(ctx context.Context) error {
	begin := time.Now()
	results := runAll(ctx, []suite{{
		name: "short", about: "go test -short of all modules, ten times, load " + load(),
		steps: []step{goTest("-short", "-count=10", "-parallel", "8", "-timeout", "60m", "work")},
	}}, 1)
	stop, err := spin(ctx, 20)
	if err != nil {
		return err
	}
	defer stop()
	var busy []suite
	for i := range 3 {
		busy = append(busy, suite{
			name: fmt.Sprintf("busy-%d", i+1), about: "go test -race of root, store and bridge, load " + load(),
			steps: []step{goTest("-race", "-count=1", "-timeout", "90m", ".", "./store/...", "./bridge")},
		})
	}
	results = append(results, runAll(ctx, busy, len(busy))...)
	say("load at the end: %s", load())
	return conclude(results, time.Since(begin))
}

// spin starts n busy loops, each a process of its own; the returned function ends them.
func spin(ctx context.Context, n int) (stop func(), err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var loops []*exec.Cmd
	stop = func() {
		for _, loop := range loops {
			_ = loop.Process.Kill()
			_ = loop.Wait()
		}
	}
	for range n {
		loop := exec.CommandContext(ctx, program, "spin")
		loop.Env = append(os.Environ(), "GOMAXPROCS=1")
		if err := loop.Start(); err != nil {
			stop()
			return nil, err
		}
		loops = append(loops, loop)
	}
	return stop, nil
}

// load returns the machine's load averages, where the system has them.
func load() string {
	out, err := output("uptime")
	if _, averages, ok := strings.Cut(out, "load average"); err == nil && ok {
		return strings.Trim(averages, "s: \n")
	}
	return "unknown"
}
