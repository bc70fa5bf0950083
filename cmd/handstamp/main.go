// Command handstamp logs in to MCP servers once, so that every later session
// just walks back in. Run handstamp demo to see it, handstamp --help for the
// rest.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/handstamp/handstamp/cmd/handstamp/internal/cli"
	_ "github.com/handstamp/handstamp/cmd/handstamp/internal/mainstack" // before all others
)

func main() {
	harden()
	// Package net/http writes to it what it finds odd of a server, with the server's text.
	log.SetOutput(io.Discard)
	ctx, interrupt := context.WithCancel(context.Background())
	// The runtime takes half a millisecond, which the command line is read in.
	caught := make(chan struct{})
	go func() {
		defer close(caught)
		catchSignals(interrupt)
	}()
	exe, _ := os.Executable() // without it, refreshes are done in this process
	code := cli.Run(ctx, os.Args[1:], cli.Process{
		Stdin:      os.Stdin,
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		Environ:    os.Environ(),
		Executable: exe,
		Ready:      caught,
	})
	os.Exit(code)
}

// catchSignals makes the signals that end a process call interrupt.
func catchSignals(interrupt func()) {
	first := make(chan os.Signal, 1)
	signal.Notify(first, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// A closed pipe is an error of the write then, and not the end of the process
	// in the middle of something that must be finished.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() {
		<-first
		interrupt()
		signal.Stop(first) // the second signal ends the process at once, as if there were no handler
	}()
}
