package browser

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/windows"
)

// openSystem opens url with the shell API. It starts no process of ours, so there is no command
// line to be misread, and no output.
func openSystem(ctx context.Context, url string, _ Opener) error {
	if err := available(); err != nil {
		return fmt.Errorf("browser: %w", err)
	}
	opened := make(chan error, 1)
	go func() { opened <- shellExecute(url) }()
	timer := time.NewTimer(openTimeout)
	defer timer.Stop()
	select {
	case err := <-opened:
		return err
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// shellExecute calls ShellExecuteW. The handlers that it loads may need COM,
// which belongs to a thread.
func shellExecute(url string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if windows.CoInitializeEx(0, windows.COINIT_APARTMENTTHREADED|windows.COINIT_DISABLE_OLE1DDE) == nil {
		defer windows.CoUninitialize()
	}
	file, err := windows.UTF16PtrFromString(url)
	if err != nil {
		return fmt.Errorf("browser: %w", err)
	}
	verb, err := windows.UTF16PtrFromString("open")
	if err != nil {
		return fmt.Errorf("browser: %w", err)
	}
	if err := windows.ShellExecute(0, verb, file, nil, nil, windows.SW_SHOWNORMAL); err != nil {
		return fmt.Errorf("browser: ShellExecute failed: %w", err)
	}
	return nil
}

// available returns an error in an SSH session, which has no desktop.
func available() error {
	if isRemote() {
		return errors.New("this is a remote session")
	}
	return nil
}
