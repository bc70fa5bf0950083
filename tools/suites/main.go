// Command suites runs everything that "make test" is: each suite to its end, three at a time,
// for most of them wait as much as they compute. It prints a line when a suite begins and one
// when it ends, with the output of what failed, and at the end a table. The exit code is 1 if
// a suite failed.
//
//	suites [-at-once N] [-busy N] [SUITE...]
//	suites flaky
//
// With names it runs these suites and what they need. Each suite's whole output is in
// bin/test/SUITE.log. -busy runs it beside N loops that do nothing but compute.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "suites:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("suites", flag.ExitOnError)
	atOnce := flags.Int("at-once", 3, "how many suites run at once")
	busy := flags.Int("busy", 0, "how many busy loops run beside")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.Arg(0) == "spin" { // one busy loop, until its parent ends it
		for start := time.Now(); time.Since(start) < 2*time.Hour; {
		}
		return nil
	}
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return err
	}
	if flags.Arg(0) == "flaky" {
		return flaky(ctx)
	}
	if err := buildAlike(); err != nil {
		return err
	}
	chosen, err := choose(everything(), flags.Args())
	if err != nil {
		return err
	}
	stopLoops, err := spin(ctx, *busy)
	if err != nil {
		return err
	}
	defer stopLoops()
	begin := time.Now()
	results := runAll(ctx, chosen, *atOnce)
	return conclude(results, time.Since(begin))
}

// buildAlike lets everything that is built without the race detector be built as a release is, so
// that each package is compiled once.
func buildAlike() error {
	if err := os.Setenv("GOFLAGS", strings.TrimSpace(os.Getenv("GOFLAGS")+" -trimpath")); err != nil {
		return err
	}
	return os.Setenv("CGO_ENABLED", "0")
}

// conclude prints the table and returns an error if something failed.
func conclude(results []result, took time.Duration) error {
	if printTable(os.Stdout, results, took) > 0 {
		return errors.New("failed")
	}
	return nil
}
