// Package browser opens a URL in the person's browser, and nothing else: the URL
// comes from a server that may be hostile, so it passes Check first, reaches the
// opener as one argument, and no shell is started on the way.
//
// Say Opener{}.Open(ctx, url). Show the URL as well: whether a browser appeared,
// and in front of whom, no program can know.
package browser

import (
	"context"
	"errors"
	"io"
)

// ErrUnavailable is what the errors of Available are.
var ErrUnavailable = errors.New("browser: none can be opened here")

// unavailable is a reason, said as people say it. It is ErrUnavailable.
type unavailable string

func (u unavailable) Error() string        { return string(u) }
func (u unavailable) Is(target error) bool { return target == ErrUnavailable }

// Available returns nil if the system's opener is there and has a screen to open
// a browser on, and otherwise an error that is ErrUnavailable, whose text is the
// reason in plain words. It looks at the environment variables that tell (DISPLAY,
// WAYLAND_DISPLAY, SSH_CONNECTION, SSH_TTY, WSL_DISTRO_NAME) and starts nothing. It says
// nothing about an Opener that has a Command.
func Available() error {
	return available()
}

// Opener opens URLs. The zero value uses the system's opener: xdg-open,
// x-www-browser or www-browser on Linux, preceded by wslview under WSL, /usr/bin/open
// on macOS, ShellExecute on Windows.
type Opener struct {
	// Command is a program and its arguments; see ParseCommand for what they may
	// be. Empty means the system's opener.
	Command []string

	// Env is the environment of the opener and, through it, of the browser, as
	// os.Environ gives it. Nil is this process's. The HANDSTAMP_ variables are left
	// out of either.
	Env []string

	// Stderr gets what the opener writes to its standard output and error. Nil
	// discards it. A Writer that is no *os.File is written to by another
	// goroutine, even after Open has returned.
	Stderr io.Writer
}

// Open checks rawurl and opens it. It returns nil when a browser is on its way:
// when the opener has ended well, or still runs after two seconds (some stay as
// long as the browser does). It returns an error that is ErrRefused for a URL
// that is not to be opened, one that is ErrUnavailable where there is nothing to
// open it with, and the opener's own failure if it comes within that time.
//
// When ctx ends Open returns at once, but does not end what it has started. Be
// ready for the browser's answer before Open returns.
//
// The opener runs in a session and a directory (the root) of its own, so that
// Ctrl-C does not close the browser, and without the HANDSTAMP_ variables, which
// may hold secrets. On Windows a Command keeps the directory.
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
