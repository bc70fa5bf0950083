//go:build unix

package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/handstamp/handstamp/internal/proctest"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab/suite"
)

// TestLab runs our library and our bridge through a few of the suite's cells: "make lab", which is
// a part of "make test", has all of them.
func TestLab(t *testing.T) {
	testenv.Heavy(t, "it plays the cells of two clients")
	args := []string{"lab", "run", "--json", "--processes", "3", "--personality", "none-first,step-up"}
	raw, err := exec.CommandContext(t.Context(), "handstamp", args...).Output()
	if err != nil {
		t.Error(err)
	}
	var played struct{ Reports suite.Reports }
	if err := json.Unmarshal(raw, &played); err != nil {
		t.Fatal(err)
	}
	if len(played.Reports) != 2 {
		t.Fatalf("%d clients", len(played.Reports))
	}
	for _, r := range played.Reports {
		t.Log(r)
		for _, c := range r.Cells {
			if !c.Passed() {
				t.Errorf("%s: %s: %s\n%s", r.Client, c.Name(), strings.Join(c.Failures, "; "), strings.Join(c.Requests, "\n"))
			}
		}
	}
}

// TestLabServe says where its servers are, serves until it is interrupted, and is
// gone then.
func TestLabServe(t *testing.T) {
	c := newCommand(t)
	cmd, _, stdout, _ := c.start("lab", "serve", "--personality", "no-dcr", "--json")
	line, err := stdout.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var got served
	if err := json.Unmarshal(line, &got); err != nil || got.Personality != "no-dcr" {
		t.Fatalf("it says %s: %v", line, err)
	}
	for _, target := range []string{got.MCP, got.Page} {
		if !reachable(target) {
			t.Errorf("%s does not respond", target)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := c.wait(cmd); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if reachable(got.Page) {
		t.Error("the page is still there")
	}
}

// TestLabInterrupted ends a run in the middle: its clients are ended, and the
// reports have the cells that were played.
func TestLabInterrupted(t *testing.T) {
	t.Parallel()
	c := newCommand(t)
	dir := t.TempDir()
	junit, pid := filepath.Join(dir, "report.xml"), filepath.Join(dir, "pid")
	// The first process fails at once; the second one stays.
	script := fmt.Sprintf(`if mkdir %[1]s/begun; then exit 1; fi; sleep 600 & echo $! >%[1]s/pid; wait`, dir)
	program := filepath.Join(dir, "client")
	if err := syscall.Mkfifo(pid, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd, _, stdout, _ := c.start("lab", "run", "--client-http", program, "--personality", "none-first",
		"--processes", "1", "--parallel", "1", "--junit", junit, "--json")
	raw, err := os.ReadFile(pid) // it waits for the client
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	var played struct{ Reports suite.Reports }
	if err := json.NewDecoder(stdout).Decode(&played); err != nil || len(played.Reports) != 1 || len(played.Reports[0].Cells) != 1 {
		t.Errorf("it reports %+v: %v", played, err)
	}
	if code := c.wait(cmd); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	raw, err = os.ReadFile(junit)
	if err != nil || strings.Count(string(raw), "<testcase ") != 1 {
		t.Errorf("the report: %v\n%s", err, raw)
	}
	// A process that was killed ends when the kernel gets to it.
	ended := func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		return err != nil || strings.Contains(string(stat), ") Z ")
	}
	if !proctest.Holds(testenv.Timeout, ended) {
		t.Error("what the client has started is still there")
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
}

// reachable reports whether a server responds at a URL.
func reachable(target string) bool {
	r, err := http.Get(target)
	if err != nil {
		return false
	}
	r.Body.Close()
	return true
}
