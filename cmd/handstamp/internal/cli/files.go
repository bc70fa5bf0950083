package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// readFile reads a file of at most limit bytes. The error does not repeat the path.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("it is larger than %d KiB", limit>>10)
	}
	return b, withoutPath(err)
}

// readRegular is readFile for files that another program names: opening a pipe would wait for
// a writer.
func readRegular(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	return readFile(path, limit)
}

// readInput reads standard input, at most limit bytes.
func (a *app) readInput(limit int64) ([]byte, error) {
	return interruptible(a, func() ([]byte, error) { return io.ReadAll(io.LimitReader(a.in, limit)) })
}

// interruptible reads what the user types, or another program writes. A read waits for as long as
// they take, and knows nothing of the signal that ends the run.
func interruptible[T any](a *app, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-a.interrupted:
		var none T
		return none, context.Canceled
	}
}

// readArgument returns what an argument gives as a text, or as the name of a file after an at
// sign, which is returned, too, and is read with read.
func readArgument(
	text string, limit int64, read func(path string, limit int64) ([]byte, error),
) (raw []byte, file string, err error) {
	file, isFile := strings.CutPrefix(text, "@")
	if !isFile {
		return []byte(text), "", nil
	}
	raw, err = read(file, limit)
	return raw, file, err
}

// withoutPath returns the cause of a file's error.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

// home returns the path of something in the user's home folder, or "".
func (a *app) home(name string) string {
	home := a.env.get("HOME")
	if runtime.GOOS == "windows" {
		home = cmp.Or(a.env.get("USERPROFILE"), home)
	}
	if home == "" {
		return ""
	}
	return filepath.Join(home, name)
}

// inHome puts the user's home folder, if it is known, in place of the ~ that a path begins with.
func (a *app) inHome(path string) string {
	if len(path) > 1 && path[0] == '~' && os.IsPathSeparator(path[1]) {
		return cmp.Or(a.home(path[2:]), path)
	}
	return path
}
