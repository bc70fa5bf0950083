package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var number = regexp.MustCompile(`\d+`)

// words returns the text of a picture, with every number as one word: counts differ a little from run to
// run.
func words(t *testing.T, svg []byte) string {
	t.Helper()
	var b strings.Builder
	decoder := xml.NewDecoder(strings.NewReader(string(svg)))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := token.(xml.CharData); ok {
			b.Write(text)
		}
	}
	return strings.Join(strings.Fields(number.ReplaceAllString(b.String(), "N")), " ")
}

// The recordings are what the command shows now. To draw them again: make recordings.
func TestRecordingsAreTrue(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the command")
	}
	command := filepath.Join(t.TempDir(), "handstamp")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", command, "../../cmd/handstamp")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, r := range recordings {
		t.Run(r.name, func(t *testing.T) {
			text, err := r.record(t.Context(), command)
			if err != nil {
				t.Fatal(err)
			}
			drawn, err := os.ReadFile(filepath.Join("../../docs/recordings", r.name+".svg"))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := words(t, drawn), words(t, draw(r.title, text)); got != want {
				t.Errorf("the recording shows\n%s\nand the command now\n%s", got, want)
			}
		})
	}
}

// A recording has no port, no parameter of a request and no style that is not drawn.
func TestSteady(t *testing.T) {
	got := steady("http://127.0.0.1:41001/mcp http://127.0.0.1:41002/authorize?client_id=a&state=b\nhttp://127.0.0.1:41001/mcp")
	want := "http://127.0.0.1:8001/mcp http://127.0.0.1:8002/authorize?client_id=…&code_challenge=…&state=…\nhttp://127.0.0.1:8001/mcp"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
	svg := string(draw("a <title>", "$ x & y\n\x1b[32m✓\x1b[0m done \x1b[31mX\x1b[0m"))
	if strings.Contains(svg, "\x1b") || !strings.Contains(svg, "<tspan fill=\"#3fb950\">✓</tspan>\u00a0done") || !strings.Contains(svg, "x\u00a0&amp;\u00a0y") {
		t.Error(svg)
	}
}
