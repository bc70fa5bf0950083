package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/handstamp/handstamp/lab"
)

// demoTable prints the demo as it goes: the table is its own progress.
type demoTable struct{ p *printer }

// title describes the servers, and begins the table.
func (d *demoTable) title(s *lab.Server) {
	d.p.raw(d.p.styled(styleBold, "Log in once, and every later session just walks back in."))
	d.p.line("Two servers run on this machine now, and each session is a process of its own.")
	d.p.line("")
	d.p.line("  MCP server            %s", s.MCPURL())
	d.p.line("  Authorization server  %s", s.Issuer())
	d.p.line("    it lists            %s", strings.Join(s.Habits().Methods, ", "))
	d.p.line("    it registers        %s, and accepts nothing else", s.Habits().RegisterMethod)
	d.p.line("")
	d.p.raw(d.p.styled(styleFaint, "  "+row("SESSION", "STORED BEFORE", "METADATA", "REGISTER", "CODE",
		"REFRESH", "MCP", "BROWSER")))
}

// row lays cells out in the table's columns.
func row(cells ...any) string { return fmt.Sprintf("%-18s%-14s%9s%9s%6s%8s%5s%8s", cells...) }

// session prints a row: what was stored, the requests, and below it the method
// with its reason and the result.
func (d *demoTable) session(o *sessionOutcome) {
	requests := o.Requests
	line := row(fmt.Sprintf("%d %s", o.Number, o.Name), o.Stored,
		number(requests["resource_metadata"]+requests["server_metadata"]), number(requests["register"]),
		number(requests["token:code"]), number(requests["token:refresh"]), number(requests["mcp"]),
		number(o.Browser))
	if len(o.Failures) > 0 {
		d.p.bad("", "%s", line)
		for _, f := range o.Failures {
			d.p.line("      %s", f)
		}
		return
	}
	d.p.ok("", "%s", line)
	d.p.raw(d.p.styled(styleFaint,
		fmt.Sprintf("    %s (%s); the tool returned: %s", o.Method, o.Reason, o.Result)))
}

// number shows nothing as a dot, so that the rest stands out.
func number(n int) string {
	if n == 0 {
		return "·"
	}
	return strconv.Itoa(n)
}

// first shows the client that forgot its method.
func (d *demoTable) first(f *firstListed) {
	d.p.line("")
	d.p.raw(d.p.styled(styleBold,
		"And a client that takes the first method of the list in its second session:"))
	d.p.line("")
	d.p.line("    POST /token  %s", f.Request)
	d.p.bad("  ", "%d  %s", f.Status, f.Response)
	d.p.line("    It was registered for %s, took %s, and its login is lost.", f.Registered, f.Method)
	if f.Failure != "" {
		d.p.bad("", "This is not what the demo expects: %s", f.Failure)
	}
}

// summary prints the result of the whole demo.
func (d *demoTable) summary(out *demoOutput) {
	d.p.line("")
	if !out.OK {
		d.p.bad("", "The demo did not go as it should: see the lines marked X")
		return
	}
	browser, processes := 0, 0
	for _, s := range out.Sessions {
		browser += s.Browser
		processes += s.Processes
	}
	d.p.ok("", "%d sessions, %d processes, and the browser opened %s.",
		len(out.Sessions), processes, times(browser))
	d.p.line("  Requests to the authorization server: none while the token was valid, and one")
	d.p.line("  to refresh it when it had expired or was rejected, for eight processes, too.")
	d.p.note("", "Now yours: handstamp login <server>")
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}
