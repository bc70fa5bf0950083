package browser

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// placeholder stands for the URL in a command.
const placeholder = "%s"

// parseCommand reads a browser command from the value of HANDSTAMP_BROWSER or BROWSER, and returns
// the argument list for [Opener.Command]. The empty text gives an empty command.
//
// A command is a program and its arguments, separated by spaces. Single or double quotes keep
// spaces together; there is no other syntax, since no shell is involved: no variables, no escapes,
// no redirections. The URL replaces each %s, or is the last argument where there is none. A lone &
// at the end, with which some settings start a program in the background, is dropped.
//
// The text may hold several commands, separated by colons (by semicolons on Windows) outside
// quotes; the first whose program can be started is used. A program is a name in PATH or an
// absolute path. Shells are rejected, because they would interpret the URL.
func parseCommand(s string) ([]string, error) {
	commands, err := split(s)
	if err != nil {
		return nil, err
	}
	var first error
	for _, command := range commands {
		path, err := program(command[0])
		if err == nil {
			command[0] = path
			return command, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// split splits a setting into commands and these into words. Each command has a word.
func split(s string) ([][]string, error) {
	var commands [][]string
	var command []string
	var word strings.Builder
	inWord := false
	endWord := func() {
		if inWord {
			command = append(command, word.String())
		}
		word.Reset()
		inWord = false
	}
	endCommand := func() {
		endWord()
		if n := len(command); n > 1 && command[n-1] == "&" {
			command = command[:n-1]
		}
		if len(command) > 0 {
			commands = append(commands, command)
		}
		command = nil
	}
	quote := byte(0)
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' && c != '\t' || c == 0x7f:
			return nil, errors.New("browser: the command contains a control character")
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(c)
		case c == '"' || c == '\'':
			quote, inWord = c, true // even "" is a word
		case c == ' ' || c == '\t':
			endWord()
		case c == filepath.ListSeparator:
			endCommand()
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errors.New("browser: a quote in the command is not closed")
	}
	endCommand()
	return commands, nil
}

// program returns the absolute path of the program that a command names. Programs in the current
// directory, or in a directory that PATH names relative to it, are rejected: others may be able to
// write there.
func program(name string) (string, error) {
	switch {
	case strings.Contains(name, placeholder):
		return "", errors.New("browser: the command has no program before " + placeholder)
	case strings.ContainsFunc(name, isSeparator) && !filepath.IsAbs(name):
		return "", fmt.Errorf("browser: %q is neither a name nor an absolute path", name)
	}
	path, err := exec.LookPath(name)
	switch {
	case errors.Is(err, exec.ErrDot), err == nil && !filepath.IsAbs(path):
		return "", fmt.Errorf("browser: %q is not started from the current directory: %w", name,
			exec.ErrDot)
	case err != nil:
		return "", fmt.Errorf("browser: %w", err)
	case isShell(name), isShell(path):
		return "", fmt.Errorf("browser: %q is a shell, which would interpret the URL; name the browser itself", name)
	}
	return path, nil
}

// isSeparator reports whether r separates the elements of a path here.
func isSeparator(r rune) bool {
	return r == filepath.Separator || r == '/'
}

// isShell reports whether path is a command interpreter by its name. On Windows
// batch files count: the system starts them through cmd.exe.
func isShell(path string) bool {
	base := strings.ToLower(filepath.Base(path))
	if ext := filepath.Ext(base); runtime.GOOS == "windows" && (ext == ".bat" || ext == ".cmd") {
		return true
	}
	return slices.Contains([]string{
		"sh", "ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "mksh", "tcsh", "zsh", "cmd", "powershell", "pwsh",
	}, strings.TrimSuffix(base, ".exe"))
}

// arguments returns the argument list of command with url in it.
func arguments(command []string, url string) []string {
	argv := slices.Clone(command)
	placed := false
	for i := 1; i < len(argv); i++ {
		if strings.Contains(argv[i], placeholder) {
			argv[i] = strings.ReplaceAll(argv[i], placeholder, url)
			placed = true
		}
	}
	if !placed {
		argv = append(argv, url)
	}
	return argv
}
