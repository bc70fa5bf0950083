package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/handstamp/handstamp/internal/prettyjson"
	"golang.org/x/term"
)

// printer writes lines for users, and JSON for programs, to one stream. Its
// methods are safe for concurrent use.
type printer struct {
	w        io.Writer
	screen   bool // w is a terminal, of whatever kind
	terminal bool // on which lines may be drawn over
	color    bool
	width    int // in columns, that messages are folded to; 0: they are not

	mu   sync.Mutex // guards w and live
	live bool       // the last line is to be drawn over
}

// newPrinter returns a printer on w. Messages are folded on a terminal, or where COLUMNS is set;
// in a pipe a message stays on one line, for whoever searches it.
func newPrinter(w io.Writer, env environment) *printer {
	f, ok := w.(*os.File)
	isTerminal := ok && term.IsTerminal(int(f.Fd()))
	terminal := isTerminal && env.get("TERM") != "dumb"
	return &printer{w: w, screen: isTerminal, terminal: terminal, color: hasColor(terminal, env),
		width: columns(w, env)}
}

// hasColor reports whether to use colours: on a terminal that has them, or where CLICOLOR_FORCE
// is set (https://bixense.com/clicolors), but never if NO_COLOR is (https://no-color.org).
func hasColor(terminal bool, env environment) bool {
	switch {
	case env.get("NO_COLOR") != "":
		return false
	case !slices.Contains([]string{"", "0"}, env.get("CLICOLOR_FORCE")):
		return true
	}
	return terminal && env.get("CLICOLOR") != "0"
}

// shown returns p for what neither --json nor --quiet print, or a printer that discards it.
func (a *app) shown(p *printer) *printer {
	if a.global.json || a.global.quiet {
		return &printer{w: io.Discard}
	}
	return p
}

// print prints the result of a command: v with --json, nothing with --quiet, else what show
// writes.
func (a *app) print(v any, show func()) error {
	switch {
	case a.global.json:
		return a.out.json(v, true)
	case !a.global.quiet:
		show()
	}
	return nil
}

// The styles of a terminal, as parameters of the sequence that selects them.
const (
	styleGreen  = "32"
	styleRed    = "31"
	styleYellow = "33"
	styleBold   = "1"
	styleFaint  = "2"
)

// styled returns s, cleaned, in a style if there are colours.
func (p *printer) styled(style, s string) string {
	s = clean(s)
	if !p.color || s == "" {
		return s
	}
	return "\x1b[" + style + "m" + s + "\x1b[0m"
}

// The marks that begin a status line.
func (p *printer) ok(indent, format string, args ...any) {
	p.marked(indent, p.styled(styleGreen, "✓"), format, args...)
}

func (p *printer) bad(indent, format string, args ...any) {
	p.marked(indent, p.styled(styleRed, "X"), format, args...)
}

func (p *printer) warn(indent, format string, args ...any) {
	p.marked(indent, p.styled(styleYellow, "!"), format, args...)
}

// note writes a line below one with a mark.
func (p *printer) note(indent, format string, args ...any) { p.marked(indent, "-", format, args...) }

// marked writes a text after a mark, folded.
func (p *printer) marked(indent, mark, format string, args ...any) {
	width := max(0, p.width-len(indent)-len("- "))
	lines := fold(clean(fmt.Sprintf(format, args...)), width)
	p.raw(indent + mark + " " + strings.Join(lines, "\n"+indent+"  "))
}

// line writes a line, cleaned.
func (p *printer) line(format string, args ...any) { p.raw(clean(fmt.Sprintf(format, args...))) }

// raw writes a line that is known to be clean, in place of a live one.
func (p *printer) raw(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	fmt.Fprintln(p.w, s)
}

// together writes all that write prints with few system calls.
func (p *printer) together(write func()) {
	p.mu.Lock()
	out := p.w
	buffer := bufio.NewWriterSize(out, 64<<10)
	p.w = buffer
	p.mu.Unlock()
	write()
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = buffer.Flush() // as for each line, where it fails
	p.w = out
}

// progress shows a line that the next one replaces. Where lines cannot be
// replaced nothing is written: the next line has the result.
func (p *printer) progress(format string, args ...any) {
	if !p.terminal {
		return
	}
	text := fold(clean(fmt.Sprintf(format, args...)), max(0, p.width-len("  ")))[0] // a second line would stay
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	fmt.Fprint(p.w, "  ", p.styled(styleFaint, text))
	p.live = true
}

// entered notes that the user has pressed Enter, which the terminal shows as a new line.
func (p *printer) entered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live {
		fmt.Fprint(p.w, "\x1b[1A")
	}
}

// erase removes a live line. p.mu is held.
func (p *printer) erase() {
	if p.live {
		fmt.Fprint(p.w, "\r\x1b[2K")
		p.live = false
	}
}

// json writes v as one line of JSON, or indented for standard output.
func (p *printer) json(v any, indent bool) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("cannot write JSON: %w", err)
	}
	encoded := b.Bytes()
	if indent {
		encoded = prettyjson.Indent(encoded)
	}
	return p.data(escapeJSON(encoded))
}

// data writes data for scripts, byte by byte. A full disk is an error: a script must
// not go on without it. A closed pipe is not reported; the exit code is the one that
// shells give to the end by SIGPIPE.
func (p *printer) data(b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	if _, err := p.w.Write(b); errors.Is(err, syscall.EPIPE) {
		return exitStatus(exitBrokenPipe)
	} else if err != nil {
		return fmt.Errorf("cannot write the output: %w", err)
	}
	return nil
}
