//go:build unix && !darwin

package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// openSystem opens url by the desktop's opener.
func openSystem(ctx context.Context, url string, o Opener) error {
	path, err := systemOpener()
	if err != nil {
		return fmt.Errorf("browser: %w", err)
	}
	return o.start(ctx, []string{path, url}, openTimeout)
}

// available returns the reason why the system's opener cannot be used, or nil. It reads DISPLAY,
// WAYLAND_DISPLAY, SSH_CONNECTION, SSH_TTY and WSL_DISTRO_NAME, and starts nothing.
func available() error {
	_, err := systemOpener()
	return err
}

// systemOpener returns the path of the program that opens URLs. Without a display it returns none,
// although xdg-open would run: it would fall back to a browser in the terminal.
func systemOpener() (string, error) {
	remote := isRemote()
	// Under WSL the user's browser is that of Windows, even where there is a Linux display.
	if os.Getenv("WSL_DISTRO_NAME") != "" && !remote {
		if path, err := program("wslview"); err == nil {
			return path, nil
		}
	}
	if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		if remote {
			return "", errors.New("this is a remote session without a display")
		}
		return "", errors.New("there is no display (DISPLAY and WAYLAND_DISPLAY are not set)")
	}
	dot := false
	for _, name := range []string{"xdg-open", "x-www-browser", "www-browser"} {
		path, err := program(name)
		if err == nil {
			return path, nil
		}
		dot = dot || errors.Is(err, exec.ErrDot)
	}
	if dot {
		return "", errors.New("xdg-open is only in the current directory, and nothing is started from there")
	}
	return "", errors.New("no program that opens URLs is installed (xdg-open)")
}
