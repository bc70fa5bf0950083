//go:build !unix

package cli

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
)

// runChild runs the command and returns its exit code. An interrupt from the
// console reaches both processes; it is for the command to decide what it means.
func runChild(a *app, path string, argv []string, env environment) error {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)

	cmd := &exec.Cmd{Path: path, Args: argv, Env: env, Stdin: a.in, Stdout: a.out.w, Stderr: a.err.w}
	err := cmd.Run()
	if exited, ok := errors.AsType[*exec.ExitError](err); ok {
		return exitStatus(exited.ExitCode())
	}
	if err != nil {
		return notStarted(argv[0], err)
	}
	return nil
}
