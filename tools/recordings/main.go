// Command recordings runs the command as a user does, against servers of the lab on this machine,
// and draws what the terminal shows: docs/recordings/*.svg. Nothing in them is written by hand.
//
//	go run ./tools/recordings bin/handstamp docs/recordings
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// columns is the width of the terminal.
const columns = "96"

// recording is a terminal session: its commands, run one after the other. The alias notes is a
// server of the lab.
type recording struct {
	name     string
	title    string
	commands []string
}

var recordings = []recording{
	{"demo", "handstamp demo", []string{"handstamp demo"}},
	{"login", "handstamp login, and the sessions after it", []string{
		"handstamp login notes",
		"handstamp tools notes",
		"handstamp call notes echo text=hello",
		"handstamp status",
		"handstamp logout notes",
		"handstamp call notes echo text=hello --login=never",
	}},
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: recordings COMMAND FOLDER")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := run(ctx, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, command, folder string) error {
	for _, r := range recordings {
		text, err := r.record(ctx, command)
		if err != nil {
			return err
		}
		file := filepath.Join(folder, r.name+".svg")
		if err := os.WriteFile(file, draw(r.title, text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// record runs the commands and returns what a terminal shows.
func (r recording) record(ctx context.Context, command string) (string, error) {
	command, err := filepath.Abs(command)
	if err != nil {
		return "", err
	}
	home, err := os.MkdirTemp("", "recording-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(home)
	server, stop, err := serve(ctx, command)
	if err != nil {
		return "", err
	}
	defer stop()
	config := fmt.Sprintf(`{"servers": {"notes": {"url": %q}}}`, server)
	if err := os.WriteFile(filepath.Join(home, "config.json"), []byte(config), 0o600); err != nil {
		return "", err
	}
	var text strings.Builder
	for _, line := range r.commands {
		cmd := exec.CommandContext(ctx, command, strings.Fields(line)[1:]...)
		cmd.Env = []string{"HOME=" + home, "HANDSTAMP_HOME=" + home, "PATH=" + os.Getenv("PATH"), "CLICOLOR_FORCE=1",
			"COLUMNS=" + columns, "LANG=C.UTF-8", "HANDSTAMP_STORE=file", `HANDSTAMP_BROWSER="` + command + `" demo browser`}
		out, err := cmd.CombinedOutput()
		if exited, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exited.ExitCode() != 4) {
			return "", fmt.Errorf("%s: %w\n%s", line, err, out)
		}
		fmt.Fprintf(&text, "$ %s\n%s\n", line, out)
	}
	return steady(strings.TrimSpace(text.String())), nil
}

// serve starts a server of the lab and returns its URL.
func serve(ctx context.Context, command string) (url string, stop func(), err error) {
	cmd := exec.CommandContext(ctx, command, "lab", "serve", "--personality", "none-first")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, rest, ok := strings.Cut(lines.Text(), "MCP server:"); ok {
			return strings.TrimSpace(rest), stop, nil
		}
	}
	stop()
	return "", nil, errors.New("the lab's server did not start")
}

var (
	port  = regexp.MustCompile(`127\.0\.0\.1(:|%3A)\d+`)
	query = regexp.MustCompile(`(/authorize\?)\S+`)
)

// steady replaces what differs from run to run: ports, by the order in which they appear, and the
// parameters of authorization requests.
func steady(text string) string {
	text = query.ReplaceAllString(text, "${1}client_id=…&code_challenge=…&state=…")
	ports := make(map[string]string)
	return port.ReplaceAllStringFunc(text, func(found string) string {
		if ports[found] == "" {
			ports[found] = fmt.Sprintf("127.0.0.1:%d", 8001+len(ports))
		}
		return ports[found]
	})
}
