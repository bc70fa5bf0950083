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
)

func main() {
	harden()
	// Package net/http writes to it what it finds odd of a server, with the server's text.
	log.SetOutput(io.Discard)
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	// The second signal ends the process at once, as if there were no handler.
	context.AfterFunc(ctx, stop)
	// A closed pipe is an error of the write then, and not the end of the process
	// in the middle of something that must be finished.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	exe, _ := os.Executable() // without it, refreshes are done in this process
	code := cli.Run(ctx, os.Args[1:], cli.Process{
		Stdin:      os.Stdin,
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		Environ:    os.Environ(),
		Executable: exe,
	})
	os.Exit(code)
}
