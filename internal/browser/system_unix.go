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

func available() error {
	_, err := systemOpener()
	return err
}

// systemOpener returns the path of the program that opens URLs here. Without a
// display there is none, although xdg-open would run: it falls back to browsers
// that take the terminal, which is not theirs.
func systemOpener() (string, error) {
	remote := isRemote()
	// Under WSL the person's browser is the one of Windows, even where a Linux
	// display is there too.
	if os.Getenv("WSL_DISTRO_NAME") != "" && !remote {
		if path, err := program("wslview"); err == nil {
			return path, nil
		}
	}
	if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		if remote {
			return "", unavailable("this is a remote session without a display")
		}
		return "", unavailable("there is no display (DISPLAY and WAYLAND_DISPLAY are not set)")
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
		return "", unavailable("xdg-open is only in the current directory, and nothing is started from there")
	}
	return "", unavailable("no program that opens URLs is installed (xdg-open)")
}
