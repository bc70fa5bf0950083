// Command field plays what servers, networks and MCP hosts were seen to do, with the bridge of
// this tree and with mcp-remote, and writes what came of it to docs/field.md. It is run
// at the root of the repository, by make field-table.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"sync"
)

func main() {
	out := flag.String("o", "docs/field.md", "the page with the table to write; empty: results on standard output")
	only := flag.String("only", "", "the one contestant that plays, handstamp or mcp-remote")
	which := flag.String("run", "", "a regular expression of the behaviours to play")
	program := flag.String("handstamp", "", "a program to play with in place of this tree's")
	parallel := flag.Int("parallel", 8, "how many plays there are at once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *out, *only, *which, *program, *parallel); err != nil {
		fmt.Fprintln(os.Stderr, "field:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out, only, which, program string, parallel int) error {
	wanted, err := regexp.Compile(which)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bridge-field-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var contestants []*contestant
	if only != "mcp-remote" {
		c, err := own(ctx, ".", dir, program)
		if err != nil {
			return err
		}
		contestants = append(contestants, c)
	}
	if only != "handstamp" {
		c, err := mcpRemote(ctx, ".")
		if err != nil {
			return err
		}
		contestants = append(contestants, c)
	}
	results, err := playAll(ctx, contestants, wanted, parallel)
	if err != nil {
		return err
	}
	if out != "" {
		return writePage(out, contestants, results)
	}
	for _, c := range contestants {
		for _, part := range chapters() {
			for _, b := range part.behaviours {
				if v, played := results[c.name][b.name]; played {
					fmt.Printf("%s\t%s\t%s\n", c.name, b.name, v)
				}
			}
		}
	}
	return nil
}

// outcomes are those of a contestant, by the name of the behaviour.
type outcomes map[string]outcome

// playAll plays all wanted behaviours with all contestants, side by side.
func playAll(ctx context.Context, contestants []*contestant, wanted *regexp.Regexp, parallel int) (map[string]outcomes, error) {
	results := make(map[string]outcomes)
	slots := make(chan struct{}, parallel)
	var playing sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for _, c := range contestants {
		results[c.name] = make(outcomes)
	}
	for _, part := range chapters() {
		for _, b := range part.behaviours {
			if !wanted.MatchString(b.name) {
				continue
			}
			for _, c := range contestants {
				playing.Go(func() {
					slots <- struct{}{}
					defer func() { <-slots }()
					v, err := b.perform(ctx, c)
					mu.Lock()
					defer mu.Unlock()
					results[c.name][b.name] = v
					if err != nil {
						failed = errors.Join(failed, fmt.Errorf("%s with %s: %w", b.name, c.name, err))
					}
				})
			}
		}
	}
	playing.Wait()
	return results, failed
}
