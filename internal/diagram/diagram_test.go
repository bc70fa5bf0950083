package diagram_test

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/diagram"
	"github.com/handstamp/handstamp/internal/testenv"
	"github.com/handstamp/handstamp/lab"
)

// page is a diagram as a browser reads it.
type page struct {
	text     string   // of the body, without the tags
	elements []string // their names
	attrs    []xml.Attr
	source   string
}

func draw(t *testing.T, title string, events []handstamp.Event) page {
	t.Helper()
	var b strings.Builder
	if err := diagram.Write(&b, title, events); err != nil {
		t.Fatal(err)
	}
	p := page{source: b.String()}
	d := xml.NewDecoder(strings.NewReader(p.source))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return p
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			p.elements, p.attrs = append(p.elements, token.Name.Local), append(p.attrs, token.Attr...)
		case xml.CharData:
			p.text += string(token)
		}
	}
}

// The diagram is drawn from what really happened: each request of a login is on it, with who sends
// it to whom, and each decision with its reason.
func TestDiagramOfALogin(t *testing.T) {
	h := lab.NoneFirst()
	h.PAR, h.DPoP = lab.PAROffered, lab.DPoP{Supported: true, Resource: lab.DPoPRequired}
	w := testenv.New(t, h)
	c := w.Session()
	var events []handstamp.Event
	seen := make(chan handstamp.Event, 200)
	c.Hooks.Event = func(e handstamp.Event) { seen <- e }
	w.MustLogin(c)
	close(seen)
	for e := range seen {
		events = append(events, e)
	}
	p := draw(t, "A login", events)
	for _, want := range []string{
		"Application to MCP server: POST " + w.Lab.MCPURL(), "401 Unauthorized",
		"MCP server to Application: 401", "User's browser to Authorization server: GET ",
		"Application to Authorization server: POST ", "User's browser to Application: the user is back",
		"client_secret_post (from the registration", "DPoP (the resource metadata offers DPoP)",
		"Application to Store: the credential is written", "signed in",
	} {
		if !strings.Contains(p.text, want) {
			t.Errorf("the diagram has no %q", want)
		}
	}
	for _, secret := range w.Lab.Secrets() {
		if strings.Contains(p.source, secret) {
			t.Errorf("the diagram has the secret %.8s…", secret)
		}
	}
}

// What a server writes into an event is text on the page, and nothing loads, runs or leads away.
func TestHostileTextInADiagram(t *testing.T) {
	const hostile = `</title></style><script>alert(1)</script><img src=x onerror=alert(1)> " ' onload=x javascript:alert(1) {{.}} &lt;b&gt;`
	field := []handstamp.EventField{{Name: hostile, Value: hostile}}
	e := handstamp.Event{
		Time: time.Now(), Server: hostile, Profile: hostile, Step: hostile, Message: hostile, Error: hostile,
		Details: field,
	}
	request, decision := e, e
	request.Request = &handstamp.EventRequest{
		Method: hostile, URL: hostile, Params: field, Header: field, AuthMethod: hostile, Code: hostile,
		Status: 400, Response: field,
	}
	decision.Decision = &handstamp.EventDecision{About: hostile, Choice: hostile, Reason: hostile}
	p := draw(t, hostile, []handstamp.Event{e, request, decision})
	plain := draw(t, "title", []handstamp.Event{{Message: "plain", Details: []handstamp.EventField{{Name: "a", Value: "b"}}}})
	allowed := append(plain.elements, "dd")
	for _, name := range p.elements {
		if !slices.Contains(allowed, name) {
			t.Errorf("the page has an element %s", name)
		}
	}
	if !strings.Contains(p.text, hostile) {
		t.Error("the text is not shown as it is")
	}
	for _, a := range p.attrs {
		switch name := strings.ToLower(a.Name.Local); {
		case name == "src", name == "href", name == "style", strings.HasPrefix(name, "on"):
			t.Errorf("the page has the attribute %s=%q", name, a.Value)
		case name != "content" && strings.Contains(a.Value, "alert"):
			t.Errorf("the attribute %s has the server's text", name)
		}
	}
	if strings.Contains(p.source, "url(") || strings.Contains(p.source, "@import") {
		t.Error("the style sheet loads something")
	}
}

// Without events there is a page that says so.
func TestDiagramOfNothing(t *testing.T) {
	if p := draw(t, "Nothing", nil); !strings.Contains(p.text, "Nothing happened.") {
		t.Error(p.text)
	}
}
