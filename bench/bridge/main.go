// Command bridge measures "handstamp bridge" beside the least that a bridge can
// be, the official Go SDK's client and mcp-remote, in one run against one
// server process. It prints the figures and the bounds, writes them down as a
// page and a plot, and ends with status 1 if a bound is missed.
//
//	go run ./bench/bridge
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Files of a report.
const (
	pageName = "bridge-bench.md"
	plotName = "bridge-bench.svg"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// command runs the benchmark, or one of the parts that are processes of their
// own.
func command(ctx context.Context) error {
	write := flag.String("write", "docs", "the folder below the module's that the page and the plot are written to; empty means none")
	flag.Parse()
	switch flag.Arg(0) {
	case "":
		return run(ctx, *write, os.Stdout, os.Stderr)
	case "serve":
		return serve(os.Stdin, os.Stdout)
	case "consent":
		return consent(ctx, flag.Args()[1:])
	}
	return fmt.Errorf("there is no %q", flag.Arg(0))
}

func run(ctx context.Context, write string, out, progress io.Writer) (err error) {
	s := &stage{}
	if s.self, err = os.Executable(); err != nil {
		return err
	}
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/handstamp/handstamp").Output()
	if err != nil {
		return fmt.Errorf("go list -m: %w", err)
	}
	s.root = strings.TrimSpace(string(root))
	if s.dir, err = os.MkdirTemp("", "bench-bridge-"); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)

	fmt.Fprintln(progress, "building, and signing all contestants in")
	stopServer, err := s.startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopServer()) }()
	if err := rejected(ctx, s.target); err != nil {
		return err
	}
	if s.token, err = signIn(ctx, s.target); err != nil {
		return err
	}
	all, err := s.contestants(ctx, progress)
	if err != nil {
		return err
	}

	r := &report{figures: make(figures), all: all, day: time.Now()}
	fmt.Fprintln(progress, "start-up")
	if err := startUps(ctx, all, r.figures); err != nil {
		return err
	}
	fmt.Fprintln(progress, "one call")
	if err := calls(ctx, all, r.figures); err != nil {
		return err
	}
	if err := loads(ctx, s, all, r.figures, progress); err != nil {
		return err
	}
	missed := 0
	for _, b := range bounds {
		v := b.check(r.figures)
		r.results = append(r.results, v)
		if v.missed() {
			missed++
		}
	}
	if err := r.print(out); err != nil {
		return err
	}
	// A page about a bridge that took no part would be a page about nothing.
	if write != "" && all[0].missing == nil {
		if err := r.save(filepath.Join(s.root, write)); err != nil {
			return err
		}
	}
	if missed > 0 {
		return fmt.Errorf("bounds missed: %d", missed)
	}
	return nil
}

// contestants are all of them, ready to start, the bridge first. One whose trial call
// fails takes no part, and the report says so.
func (s *stage) contestants(ctx context.Context, progress io.Writer) ([]*contestant, error) {
	own, err := s.ownBridge(ctx)
	if err != nil {
		return nil, err
	}
	least, err := s.floorBridge(ctx)
	if err != nil {
		return nil, err
	}
	peer, err := s.remoteBridge(ctx)
	if err != nil {
		return nil, err
	}
	client, err := s.sdkClient(ctx)
	if err != nil {
		return nil, err
	}
	all := []*contestant{own, least, client, peer}
	for _, c := range all {
		if c.missing == nil && c.start != nil {
			c.missing = c.try(ctx)
		}
		if c.missing != nil {
			fmt.Fprintf(progress, "%s is not available: %v\n", c.name, c.missing)
		}
	}
	return all, ctx.Err()
}

// startServer starts the server as a process of its own, which ends with its
// input.
func (s *stage) startServer(ctx context.Context) (stop func() error, err error) {
	cmd := exec.CommandContext(ctx, s.self, "serve")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	s.target = strings.TrimSpace(line)
	stop = func() error {
		_ = in.Close()
		return cmd.Wait()
	}
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return stop, nil
}

func (r *report) save(folder string) error {
	var page, plot strings.Builder
	r.markdown(&page)
	r.plot(&plot)
	return errors.Join(
		os.WriteFile(filepath.Join(folder, pageName), []byte(page.String()), 0o644),
		os.WriteFile(filepath.Join(folder, plotName), []byte(plot.String()), 0o644),
	)
}
