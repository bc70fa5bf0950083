package cli

import (
	"strings"
	"testing"
)

// A line that is drawn over is one line on every terminal: of a second one, the first would stay.
func TestProgressIsOneLine(t *testing.T) {
	var screen strings.Builder
	p := &printer{w: &screen, terminal: true, width: 20}
	p.progress("%s left to sign in", "4m59s")
	if got := screen.String(); got != "  4m59s left to sign" {
		t.Errorf("%q", got)
	}
}
