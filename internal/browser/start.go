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

// openTimeout is how long to wait for an opener: long enough for most failures to be reported,
// short enough for the user not to notice.
const openTimeout = 2 * time.Second

// start runs argv and waits for it for at most wait. The process is reaped when it ends.
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

// connect connects the output of cmd to output. The command's end is always a file: with a pipe of
// os/exec, Wait would also wait for the browser, which inherits it. The returned function closes
// our copy.
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
		// Keep reading after an error of output: a full or broken pipe would stop the browser.
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
