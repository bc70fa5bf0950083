package handstamp

import (
	"context"
	"log/slog"
)

// level returns how important an event is to a log: what users should know is Info, what failed of
// the store or a lock Warn, all else Debug.
func (e *Event) level() slog.Level {
	switch {
	case e.Step == StepNotice:
		return slog.LevelInfo
	case e.Error != "" && (e.Step == StepStore || e.Step == StepLock):
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// log writes the event as a record of a log.
func (e *Event) log(to *slog.Logger) {
	level := e.level()
	if !to.Enabled(context.Background(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("server", addressOf(e.Server)), slog.String("profile", e.Profile),
		slog.String("step", string(e.Step)),
	}
	if r := e.Request; r != nil {
		attrs = append(attrs, slog.Group("request",
			slog.String("method", r.Method), slog.String("url", r.URL),
			slog.Group("params", fieldAttrs(r.Params)...), slog.String("auth_method", r.AuthMethod),
			slog.Int("status", r.Status), slog.String("code", r.Code), slog.Duration("duration", r.Duration),
			slog.Group("response", fieldAttrs(r.Response)...)))
	}
	if len(e.Details) > 0 {
		attrs = append(attrs, slog.Group("details", fieldAttrs(e.Details)...))
	}
	if e.Error != "" {
		attrs = append(attrs, slog.String("error", e.Error))
	}
	to.LogAttrs(context.Background(), level, e.Message, attrs...)
}

func fieldAttrs(fields []EventField) (all []any) {
	for _, f := range fields {
		all = append(all, slog.String(f.Name, f.Value))
	}
	return all
}
