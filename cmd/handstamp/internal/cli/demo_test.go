package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/handstamp/handstamp/lab"
)

func TestCostCheck(t *testing.T) {
	want := cost{"server_metadata": 1, "authorize": 1, "token:code": 1}
	if failures := want.check(want); failures != nil {
		t.Errorf("the same cost failed: %q", failures)
	}
	got := cost{"server_metadata": 1, "authorize": 2, "token:code": 1, "token:refresh": 1}.check(want)
	if len(got) != 2 || got[0] != "browser openings: 2 requests instead of 1" || got[1] != "refresh: 1 requests instead of 0" {
		t.Errorf("got %q", got)
	}
}

// Each scene states its cost, and only the first needs a user.
func TestScenes(t *testing.T) {
	for i, s := range scenes(false) {
		if opens := s.want["authorize"]; (i == 0) != (opens == 1) {
			t.Errorf("scene %d opens %d browsers", i+1, opens)
		}
		if s.visible {
			t.Errorf("scene %d shows its prompts although no user takes part", i+1)
		}
		if row := row("5 "+s.name, s.stored, "", "", "", "", "", "1"); len(row) > 78 {
			t.Errorf("scene %d needs %d columns", i+1, len(row)+2)
		}
	}
}

// A session that failed is marked, says why, and is in the last word.
func TestDemoTableFailure(t *testing.T) {
	server, err := lab.New(lab.NoneFirst(), lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	var out bytes.Buffer
	table := &demoTable{p: &printer{w: &out}}
	table.title(server)
	bad := &sessionOutcome{Number: 2, Name: "second session", Stored: "valid token", Browser: 1,
		Requests: map[string]int{"authorize": 1}, Failures: []string{"browser openings: 1 requests instead of 0"}}
	table.session(bad)
	table.summary(&demoOutput{Sessions: []*sessionOutcome{bad}})
	for _, want := range []string{"X 2 second session", "      browser openings: 1 requests instead of 0", "X The demo did not go as it should"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "✓") {
		t.Errorf("something is marked as good in\n%s", out.String())
	}
}

// A demo whose sessions cannot run fails, and says which.
func TestDemoFails(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var stdout, stderr bytes.Buffer
	code := Run(t.Context(), []string{"demo"}, Process{Stdout: &stdout, Stderr: &stderr, Executable: "/no/such/program"})
	if code == exitOK {
		t.Errorf("the demo of nothing succeeded:\n%s", stdout.String())
	}
}
