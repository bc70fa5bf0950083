// Package browser opens a URL in the user's browser. The URL comes from a server that may be
// hostile, so it passes [Check] first and reaches the opener as one argument, without a shell.
//
// Call [Preferred] for the user's choice of a browser, then [Opener.Open]. Show the URL as well: no
// program can know whether a browser appeared, and on which screen.
//
// The package knows nothing of OAuth, and does not wait for what happens in the browser.
package browser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Opener opens URLs. The zero value uses the system's opener: xdg-open, x-www-browser or
// www-browser on Linux, preceded by wslview under WSL, /usr/bin/open on macOS, ShellExecute on
// Windows.
type Opener struct {
	// Command is a program and its arguments, as [Preferred] reads them from the environment.
	// Empty means the system's opener.
	Command []string

	// Env is the environment of the opener and the browser that it starts, in the form of
	// [os.Environ]. Nil means that of this process. HANDSTAMP_ variables are removed from both.
	Env []string

	// Stderr receives what the opener writes to its standard output and error. Nil discards it. A
	// Writer other than [*os.File] is written to by another goroutine, even after [Opener.Open]
	// has returned.
	Stderr io.Writer
}

// Open checks rawurl with [Check] and opens it. It returns nil when the opener has succeeded, or
// still runs after two seconds (some run as long as the browser does). It returns the error of
// Check, an error with the reason where no browser can be opened, or the opener's own failure
// within that time.
//
// When ctx ends, Open returns at once and leaves the opener running. The authorization response can
// arrive before Open returns.
//
// The opener runs in a session of its own and in the root directory, so that Ctrl-C does not close
// the browser, and without the HANDSTAMP_ variables, which may hold secrets. On Windows a Command
// keeps the current directory.
func (o Opener) Open(ctx context.Context, rawurl string) error {
	url, err := canonical(rawurl)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(o.Command) == 0 {
		return openSystem(ctx, url, o)
	}
	path, err := program(o.Command[0])
	if err != nil {
		return err
	}
	argv := arguments(o.Command, url)
	argv[0] = path
	return o.start(ctx, argv, openTimeout)
}

// Preferred returns the [Opener] that the user's environment selects: the command in
// HANDSTAMP_BROWSER, else that in BROWSER, else the system's opener. getenv returns the value of a
// variable, as [os.Getenv] does. Nothing is started.
//
// It returns an error with a reason for the user if HANDSTAMP_NO_BROWSER is set, if the command
// cannot be used, or if none is set and no browser can be opened: in CI, without a display, in a
// remote session.
func Preferred(getenv func(string) string) (Opener, error) {
	if isOn(getenv("HANDSTAMP_NO_BROWSER")) {
		return Opener{}, errors.New("HANDSTAMP_NO_BROWSER is set")
	}
	for _, name := range []string{"HANDSTAMP_BROWSER", "BROWSER"} {
		value := getenv(name)
		if value == "" {
			continue
		}
		command, err := parseCommand(value)
		if err != nil {
			return Opener{}, fmt.Errorf("%s cannot be used: %w", name, err)
		}
		if len(command) > 0 {
			return Opener{Command: command}, nil
		}
	}
	if isOn(getenv("CI")) {
		return Opener{}, errors.New("CI is set")
	}
	return Opener{}, available()
}

// isOn reports whether a variable that is a switch is on.
func isOn(value string) bool {
	switch strings.ToLower(value) {
	case "", "0", "false", "no":
		return false
	}
	return true
}

// isRemote reports whether we run in a session over SSH.
func isRemote() bool {
	return os.Getenv("SSH_CONNECTION") != "" || os.Getenv("SSH_TTY") != ""
}
