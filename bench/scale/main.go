//go:build unix

// Command scale measures what many credentials cost: a million of them in PostgreSQL, with the cache
// of a replica, its memory and its refreshes, and ten thousand in files. Everything is measured
// beside the least that it can cost, in the same run. It prints ratios first, writes them down as a
// page and a plot, and ends with status 1 if a bound is missed.
//
//	go run ./bench/scale
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// size is how much is measured.
type size struct {
	rows     int           // in PostgreSQL, at the end
	cache    int           // of a replica
	due      int           // refreshes
	files    int           // in the file store
	rounds   int           // of lookups, in which the contestants take turns
	round    time.Duration // of one contestant
	refresh  time.Duration // how long refreshes are counted
	programs int           // new processes of each command
}

// command runs the benchmark, or one of the parts that are processes of their own.
func command(ctx context.Context) error {
	full := size{cache: 10_000, due: 100_000, files: 10_000, rounds: 7, round: 2 * time.Second,
		refresh: time.Minute, programs: 7}
	flag.IntVar(&full.rows, "rows", 1_000_000, "how many credentials PostgreSQL has in the end")
	flag.IntVar(&full.files, "files", full.files, "how many the file store has")
	flag.DurationVar(&full.refresh, "refresh", full.refresh, "how long refreshes are counted")
	write := flag.String("write", "docs", "the folder below the module's that the page and the plot "+
		"are written to; empty means none")
	flag.Parse()
	full.due, full.cache = min(full.due, full.rows/2), min(full.cache, full.rows/2)
	switch flag.Arg(0) {
	case "":
		r, err := run(ctx, full)
		if err != nil {
			return err
		}
		return r.publish(*write)
	case "replica":
		return replica(ctx, os.Stdin, os.Stdout)
	case "read":
		return readFolder(flag.Arg(1))
	}
	return fmt.Errorf("there is no %q", flag.Arg(0))
}

// run measures everything.
func run(ctx context.Context, n size) (r *report, err error) {
	r = &report{size: n, day: time.Now()}
	if r.root, err = moduleFolder(ctx); err != nil {
		return nil, err
	}
	if r.dir, err = os.MkdirTemp("", "bench-scale-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(r.dir)
	if r.self, err = os.Executable(); err != nil {
		return nil, err
	}
	for _, part := range []func(context.Context, *report) error{measureFiles, measureDatabase} {
		if err := part(ctx, r); err != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
	}
	return r, nil
}

// moduleFolder returns the folder of the library's module.
func moduleFolder(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}",
		"github.com/handstamp/handstamp").Output()
	if err != nil {
		return "", fmt.Errorf("go list -m: %w", err)
	}
	return filepath.Clean(strings.TrimSpace(string(out))), nil
}

// progress reports what is under way, to the terminal.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
