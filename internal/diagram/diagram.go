// Package diagram draws the events of a login as a sequence diagram: one HTML document that needs
// no script and loads nothing.
package diagram

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"sync"

	"github.com/handstamp/handstamp"
)

var (
	//go:embed page.html
	page string

	//go:embed style.css
	style string
)

// document is parsed once it is needed: most processes draw nothing.
var document = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Parse(page))
})

// ContentSecurityPolicy is the policy of the document, which names it itself: nothing but its own
// style sheet.
var ContentSecurityPolicy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'"
}()

// Write writes the events, in the order in which they came, as an HTML document. They are one
// ordered list, which reads well without the drawing. Texts of servers in them are escaped.
func Write(w io.Writer, title string, events []handstamp.Event) error {
	return document().Execute(w, struct {
		Title, Policy string
		Style         template.CSS
		Participants  []string
		Summary       summary
		Rows          []row
	}{
		title, ContentSecurityPolicy, template.CSS(style), participants[:],
		summarize(events), rows(events),
	})
}

// participant is a lane of the diagram.
type participant int

const (
	store participant = iota
	application
	browser
	mcpServer
	authorizationServer
)

var participants = [...]string{
	"Store", "Application", "User's browser", "MCP server", "Authorization server",
}

func (p participant) String() string { return participants[p] }

// row is one event of the diagram.
type row struct {
	Time   string // since the first event
	Step   string
	Arrows []arrow
	Note   string // in place of arrows
	Class  string // of a note: "decision", "message"
	Error  string
	Fields []handstamp.EventField
}

// arrow is a message from one participant to another.
type arrow struct {
	From, To participant
	Label    string
	Fields   []handstamp.EventField
	Response bool
	Failed   bool // the response is an error
}

// Classes returns the classes that place the arrow.
func (a arrow) Classes() string {
	side, first, last := "right", a.From, a.To
	if first > last {
		side, first, last = "left", last, first
	}
	classes := fmt.Sprintf("%s from%d width%d", side, int(first), int(last-first))
	if a.Response {
		classes += " response"
	}
	if a.Failed {
		classes += " failed"
	}
	return classes
}
