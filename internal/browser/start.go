package browser

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// patience is how long an opener is waited for: long enough to hear of most
// failures, short enough that the person does not notice.
const openTimeout = 2 * time.Second

// start runs argv and waits for it for at most wait. The process is reaped
// whenever it ends.
func (o Opener) start(ctx context.Context, argv []string, wait time.Duration) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	environ := o.Env
	if environ == nil {
		environ = os.Environ()
	}
	cmd.Env = environment(environ)
	detach(cmd)
	closeOutput, err := connect(cmd, o.Stderr)
	if err != nil {
		return fmt.Errorf("browser: %w", err)
	}
	err = cmd.Start()
	closeOutput()
	if err != nil {
		return fmt.Errorf("browser: %w", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case err := <-exited:
		if err != nil {
			return fmt.Errorf("browser: %s failed: %w", filepath.Base(argv[0]), err)
		}
		return nil
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connect gives cmd its output. The command's end of it is always a file: a
// pipe that os/exec made would have Wait wait for the browser, which inherits
// it, and not only for the opener. The function returned closes our copy.
func connect(cmd *exec.Cmd, output io.Writer) (func(), error) {
	if output == nil {
		return func() {}, nil
	}
	if f, ok := output.(*os.File); ok {
		cmd.Stdout, cmd.Stderr = f, f
		return func() {}, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = w, w
	go func() {
		defer r.Close()
		// Read on when output takes no more: a browser must not be stopped by a
		// full or broken pipe.
		if _, err := io.Copy(output, r); err != nil {
			_, _ = io.Copy(io.Discard, r)
		}
	}()
	return func() { w.Close() }, nil
}

// environment returns environ without our own variables.
func environment(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
		return strings.HasPrefix(strings.ToUpper(kv), "HANDSTAMP_")
	})
}
