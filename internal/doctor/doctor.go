// Package doctor explains why a login at an MCP server fails: it walks through everything that a
// login needs, shows at each step what was sent and what came back, and names the cause and the
// command that helps. It changes nothing; see [handstamp.Client.Inspect] for what it sends.
package doctor

import (
	"context"
	"time"

	"github.com/handstamp/handstamp"
	"github.com/handstamp/handstamp/internal/shellword"
)

// Result is how a step went.
type Result string

// Values of [Result].
const (
	OK      Result = "ok"
	Warning Result = "warning" // it may be a cause of trouble, or was worked around
	Failed  Result = "failed"
	Skipped Result = "skipped" // there was nothing to look at
)

// Step is one step of the walk.
type Step struct {
	Number   int      `json:"number"`
	Name     string   `json:"name"`
	Result   Result   `json:"result"`
	Finding  string   `json:"finding"`            // one sentence without a period
	Evidence []string `json:"evidence,omitempty"` // what was sent, and what came back
	Command  string   `json:"command,omitempty"`  // what to run next, where this step alone shows it
}

// Report is the result of one walk. It contains no secret.
type Report struct {
	Server  string    `json:"server"`
	Profile string    `json:"profile"`
	At      time.Time `json:"at"`
	Steps   []Step    `json:"steps"`
	Cause   Cause     `json:"cause"`

	// Fixed is what was changed, one sentence each; see [handstamp.Client.Repair].
	Fixed []string `json:"fixed,omitempty"`

	// Events are what happened on the walk, in its order.
	Events []handstamp.Event `json:"events,omitempty"`

	inspection *handstamp.Inspection
}

// Repair fixes what needs no user, and notes it in the report; see [handstamp.Client.Repair].
func (r *Report) Repair(ctx context.Context, c *handstamp.Client) error {
	done, err := c.Repair(ctx, r.Server, r.inspection)
	r.Fixed = append(r.Fixed, done...)
	return err
}

// Options are the options of [Examine].
type Options struct {
	// Command returns the command line of a verb, such as login, for the server. Nil returns one
	// with the server's URL.
	Command func(verb string) string

	// Recorder receives the Client's events; see [Record]. Nil: the report has none.
	Recorder *Recorder
}

// Examine walks through what a login at a server needs. The error is one of
// [handstamp.Client.Inspect]; what is wrong with the server is in the report.
func Examine(ctx context.Context, c *handstamp.Client, serverURL string, o Options) (*Report, error) {
	if o.Command == nil {
		o.Command = func(verb string) string { return "handstamp " + verb + " " + shellword.Quote(serverURL) }
	}
	connections, before := &connections{}, len(o.Recorder.since(0))
	in, err := c.Inspect(connections.trace(ctx), serverURL)
	if err != nil {
		return nil, err
	}
	x := &examination{Inspection: in, connections: connections, command: o.Command, now: time.Now()}
	r := &Report{Server: serverURL, Profile: in.Status.Profile, At: x.now.UTC().Truncate(time.Second),
		Events: presentEvents(o.Recorder.since(before), serverURL), inspection: in}
	for i, step := range walk {
		s := step.look(x).withRequests(step.name, r.Events)
		s.Number, s.Name = i+1, step.name
		s.present(serverURL)
		r.Steps = append(r.Steps, s)
	}
	r.Cause = x.cause()
	r.Cause.Message, r.Cause.Hint = presentable(r.Cause.Message, serverURL), presentable(r.Cause.Hint, serverURL)
	return r, nil
}

// examination is what the steps and the cause are derived from.
type examination struct {
	*handstamp.Inspection
	connections *connections
	command     func(verb string) string
	now         time.Time
}

// Names of steps.
const (
	stepResource       = "Resource metadata"
	stepServerMetadata = "Authorization server metadata"
)

// walk has the steps in their order.
var walk = []struct {
	name string
	look func(*examination) Step
}{
	{"DNS and TLS", (*examination).connection},
	{"Challenge", (*examination).challenge},
	{stepResource, (*examination).resource},
	{stepServerMetadata, (*examination).serverMetadata},
	{"PKCE", (*examination).pkce},
	{"iss", (*examination).iss},
	{"Registration", (*examination).registration},
	{"Token endpoint auth method", (*examination).method},
	{"Stored login", (*examination).stored},
	{"Dry run", (*examination).dryRun},
	{"MCP", (*examination).mcp},
}
