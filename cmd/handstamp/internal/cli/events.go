package cli

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/handstamp/handstamp"
)

// listen has a Client report what it does: with -v its events to standard error, for a user or, with
// --json, as lines of JSON; with HANDSTAMP_LOG records of a log.
func (a *app) listen(c *handstamp.Client) {
	if a.global.verbose {
		c.Hooks.Event = a.narrate
		return
	}
	if level, ok := a.logLevel(); ok {
		c.Logger = slog.New(a.logHandler(level))
	}
}

// logger returns where everything but the library reports what is worth debugging, likewise, under
// its own name.
func (a *app) logger(who handstamp.EventStep) *slog.Logger {
	level, wanted := a.logLevel()
	switch {
	case a.global.verbose:
		return slog.New(narrator{app: a, who: who})
	case wanted:
		return slog.New(a.logHandler(level))
	}
	return slog.New(slog.DiscardHandler)
}

func (a *app) logLevel() (level slog.Level, wanted bool) {
	return level, level.UnmarshalText([]byte(a.env.get("HANDSTAMP_LOG"))) == nil
}

// checkLog returns an error for a level that does not exist.
func (a *app) checkLog() error {
	word := a.env.get("HANDSTAMP_LOG")
	if _, ok := a.logLevel(); !ok && word != "" {
		return usage("HANDSTAMP_LOG is debug, info, warn or error, not %q", word)
	}
	return nil
}

func (a *app) logHandler(level slog.Level) slog.Handler {
	return slog.NewTextHandler(lineWriter{a.err}, &slog.HandlerOptions{Level: level})
}

// lineWriter writes a log's lines through a printer.
type lineWriter struct{ p *printer }

func (w lineWriter) Write(b []byte) (int, error) {
	w.p.line("%s", strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

// shortDetails is how many details of an event fit on its line; more have lines of their own.
const shortDetails = 3

// narrate shows an event. It may be called concurrently.
func (a *app) narrate(e handstamp.Event) {
	if e.Step == handstamp.StepNotice {
		return // which is shown without -v, too
	}
	if a.global.json {
		_ = a.err.json(map[string]any{"event": e}, false)
		return
	}
	details := e.Details
	if len(details) <= shortDetails {
		details = nil
	} else {
		e.Details = nil
	}
	at := e.Time.Local().Format("15:04:05.000")
	var lines []string
	if e.Server != "" {
		if before := a.narrated.Swap(&e.Server); before != nil && *before != e.Server {
			lines = append(lines, strings.Repeat(" ", len(at)+1)+"at "+clean(e.Server)+":")
		}
	}
	lines = append(lines, a.err.styled(styleFaint, at)+" "+clean(e.String()))
	for _, d := range details {
		lines = append(lines, strings.Repeat(" ", len(at)+1)+"  "+clean(d.Name+": "+d.Value))
	}
	a.err.raw(strings.Join(lines, "\n"))
}

// narrator shows the records of a log as events: those of the bridge and of the command itself.
type narrator struct {
	app   *app
	who   handstamp.EventStep
	attrs []slog.Attr
}

// Enabled implements slog.Handler.
func (narrator) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelDebug }

// Handle implements slog.Handler.
func (n narrator) Handle(_ context.Context, r slog.Record) error {
	e := handstamp.Event{Time: r.Time, Step: n.who, Message: r.Message}
	add := func(a slog.Attr) bool {
		e.Details = append(e.Details, handstamp.EventField{Name: a.Key, Value: a.Value.String()})
		return true
	}
	for _, a := range n.attrs {
		add(a)
	}
	r.Attrs(add)
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	n.app.narrate(e)
	return nil
}

// WithAttrs implements slog.Handler.
func (n narrator) WithAttrs(attrs []slog.Attr) slog.Handler {
	n.attrs = append(n.attrs[:len(n.attrs):len(n.attrs)], attrs...)
	return n
}

// WithGroup implements slog.Handler.
func (n narrator) WithGroup(string) slog.Handler { return n }
