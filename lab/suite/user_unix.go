//go:build unix

package suite

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// listen opens a tab for every line that comes through a pipe in dir, and
// returns a shell script that sends its arguments there. The script starts no
// program, and a line that is shorter than PIPE_BUF is not mixed with others.
func (p *user) listen(dir string) (script string, err error) {
	pipe := filepath.Join(dir, "tabs")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		return "", fmt.Errorf("suite: %w", err)
	}
	// Opened for writing as well: it never ends while no process writes.
	f, err := os.OpenFile(pipe, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("suite: %w", err)
	}
	context.AfterFunc(p.ctx, func() { f.Close() })
	p.work.Go(func() {
		for lines := bufio.NewScanner(f); lines.Scan(); {
			p.open(lines.Text())
		}
	})
	quoted := "'" + strings.ReplaceAll(pipe, "'", `'\''`) + "'"
	return "#!/bin/sh\nfor url; do case $url in *:*) printf '%s\\n' \"$url\" >" + quoted + ";; esac; done\n", nil
}
